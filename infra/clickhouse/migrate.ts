import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ClickHouseClient } from '@clickhouse/client';
import { ImmutableError } from '../../core/errors.ts';
import { DATABASE, TABLES } from './names.ts';

/** The embedded ClickHouse, or a server of the operator's. */
export type ServerKind = 'chdb' | 'server';

interface Migration {
  number: number;
  name: string;
  statements: string[];
  checksum: string;
}

const FOLDER = join(import.meta.dirname, 'migrations');
/** `0001_events.sql`; `0003_roles.server.sql` is applied only on a server. */
const FILE_NAME = /^(\d{4})_\w+(\.server)?\.sql$/;

/**
 * Brings the database to the newest schema, with the rights of `client`'s user. Every statement may be run
 * again, and a migration is recorded after its last: one cut short by a crash is simply run once more.
 * Throws `misconfigured` when an applied migration's file was changed, or a newer program has been here.
 */
export async function migrate(
  client: ClickHouseClient,
  { serverKind, folder = FOLDER }: { serverKind: ServerKind; folder?: string },
): Promise<void> {
  const migrations = readMigrations(folder, serverKind);
  await run(client, `CREATE DATABASE IF NOT EXISTS ${DATABASE}`);
  await run(client, CREATE_RECORD);
  const applied = await readApplied(client);
  checkHistory(migrations, applied);
  for (const migration of migrations) {
    if (applied.has(migration.number)) continue;
    for (const statement of migration.statements) await run(client, statement);
    await record(client, migration);
  }
}

const CREATE_RECORD = `
CREATE TABLE IF NOT EXISTS ${TABLES.schemaMigrations}
(
    number UInt32,
    name String,
    checksum String,
    applied_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = MergeTree
ORDER BY number
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1`;

function readMigrations(folder: string, serverKind: ServerKind): Migration[] {
  return readdirSync(folder)
    .sort()
    .flatMap((file) => {
      const match = FILE_NAME.exec(file);
      if (match === null) throw new ImmutableError('misconfigured', `${file} is not named like a migration`);
      if (match[2] !== undefined && serverKind !== 'server') return [];
      const text = readFileSync(join(folder, file), 'utf8');
      return [
        {
          number: Number(match[1]),
          name: file,
          statements: splitStatements(text),
          checksum: createHash('sha256').update(text).digest('hex'),
        },
      ];
    });
}

/** Statements end with a semicolon at the end of a line; a line comment never ends with one. */
export function splitStatements(text: string): string[] {
  return text
    .split(/;[ \t]*(?:\n|$)/)
    .map((statement) => statement.trim())
    .filter((statement) => statement.replace(/^--.*$/gm, '').trim() !== '');
}

async function readApplied(client: ClickHouseClient): Promise<Map<number, string>> {
  const result = await client.query({
    query: `SELECT number, checksum FROM ${TABLES.schemaMigrations}`,
    format: 'JSONEachRow',
  });
  const rows = await result.json<{ number: number; checksum: string }>();
  return new Map(rows.map((row) => [row.number, row.checksum]));
}

function checkHistory(migrations: Migration[], applied: Map<number, string>): void {
  for (const [number, checksum] of applied) {
    const migration = migrations.find((candidate) => candidate.number === number);
    if (migration === undefined) {
      throw new ImmutableError(
        'misconfigured',
        `The database has migration ${number}, which this version lacks.`,
        {
          nextStep: 'Start the newer version that made it.',
        },
      );
    }
    if (migration.checksum !== checksum) {
      throw new ImmutableError(
        'misconfigured',
        `Migration ${migration.name} was changed after it was applied.`,
        {
          nextStep: 'Restore the file; a change to the schema is a new migration.',
        },
      );
    }
  }
}

async function record(client: ClickHouseClient, { number, name, checksum }: Migration): Promise<void> {
  await client.insert({
    table: TABLES.schemaMigrations,
    values: [{ number, name, checksum }],
    columns: ['number', 'name', 'checksum'],
    format: 'JSONEachRow',
  });
}

async function run(client: ClickHouseClient, statement: string): Promise<void> {
  await client.command({ query: statement });
}
