import { randomBytes, randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canonicalTexts } from '../../core/canonical.ts';
import type { CompleteEvent } from '../../core/event.ts';
import { canonicalJson, type JsonObject } from '../../core/json.ts';
import { formatTimestamp } from '../../core/time.ts';
import { analystStatements } from '../../infra/clickhouse/analyst.ts';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { splitStatements } from '../../infra/clickhouse/migrate.ts';
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts';
import { insertRows, type Row, row } from '../support/event-rows.ts';
import { propertyRuns } from '../support/property-runs.ts';

/** The views that analysts read, and the statements that make analysts on a server. */

let server: TestClickHouse;
let analyst: ClickHouseClient;

beforeAll(async () => {
  server = await startTestClickHouse();
  analyst = connectClickHouse(server.analystUrl);
});

afterAll(async () => {
  await analyst?.close();
  await server?.stop();
});

async function ask<T>(query: string, params: Record<string, unknown> = {}): Promise<T[]> {
  return (await analyst.query({ query, query_params: params, format: 'JSONEachRow' })).json<T>();
}

describe('metadata in audit_events', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 30 }),
    fc.string({ unit: 'grapheme', maxLength: 30 }),
    fc.constantFrom('', '\\', '"', '\u0000', '\n\t', '{"a":1}', '\u2028', '1', 'null', "'"),
  );
  const names = fc.oneof(text, fc.constantFrom('a', 'a.b', 'b', 'metadata', '__proto__', 'A'));
  const number = fc
    .oneof(
      fc.double({ noNaN: true, noDefaultInfinity: true }).filter(isKept),
      fc.constantFrom(
        0,
        -0,
        5e-324,
        1.7e308,
        0.1,
        1e-7,
        1e21,
        2 ** 53 - 1,
        -(2 ** 53 - 1),
        4503599627370495.5,
      ),
    )
    .filter(isKept);
  const json = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 13 },
      text,
      number,
      fc.boolean(),
      fc.constant(null),
      fc.array(tie('value'), { maxLength: 4 }),
      fc.dictionary(names, tie('value'), { maxKeys: 4 }),
    ),
  })).value;
  const metadata: fc.Arbitrary<JsonObject> = fc.oneof(
    { weight: 4, arbitrary: fc.dictionary(names, json, { maxKeys: 8 }) },
    fc.constantFrom<JsonObject>(
      {},
      { 'a.b': 1, a: { b: 2 } },
      { a: { b: { c: 1 }, 'b.c': 2 }, 'a.b': { c: 3 }, 'a.b.c': 4 },
      { a: 1, A: 2, '': 3, ' ': 4 },
      { a: [{ a: [] }, [[]], {}, [1, 'x', null, [true]]] },
      deep(16),
      Object.fromEntries(
        Array.from({ length: 50 }, (_, index) => [`key_${index}`, index % 2 ? index : `${index}`]),
      ),
      { large: 'x'.repeat(64 * 1024 - 12) },
      { many: Array.from({ length: 8_000 }, (_, index) => index) },
    ),
  );

  /** The edge refuses integers that a double does not hold (docs/integrity.md). */
  function isKept(value: number): boolean {
    return !Number.isInteger(value) || Math.abs(value) <= Number.MAX_SAFE_INTEGER;
  }

  function deep(levels: number): JsonObject {
    return levels === 1 ? { 'a.b': 1, a: 2 } : { a: deep(levels - 1) };
  }

  function stored(workspaceId: string, seq: number, given: JsonObject | undefined): Row {
    const event: CompleteEvent = {
      id: randomUUID(),
      workspace_id: workspaceId,
      action: 'test',
      actor_id: 'user_1',
      actor_name: 'not "metadata"',
      occurred_at: formatTimestamp(1e15),
      metadata: given,
    };
    const salt = randomBytes(16).toString('hex');
    const { body, private: privateText } = canonicalTexts(event, salt);
    return row({ workspaceId, seq, body, privateText, salt });
  }

  /** What the map holds of a value: a text itself, nothing for null, JSON of everything else. */
  function matches(shown: string | undefined, value: unknown): void {
    if (typeof value === 'string') expect(shown).toBe(value);
    else if (value === null) expect(shown).toBe('');
    else expect(JSON.parse(shown ?? '')).toEqual(JSON.parse(JSON.stringify(value)));
  }

  test('holds every name with its value, whatever was sent, and no question about it throws', async () => {
    let run = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.option(metadata, { nil: undefined }), { minLength: 1, maxLength: 60 }),
        async (all) => {
          const workspaceId = `ws_views_${run++}`;
          await insertRows(
            server.writerUrl,
            all.map((given, index) => stored(workspaceId, index + 1, given)),
          );
          const rows = await ask<{ names: string[]; texts: string[]; metadata_json: string }>(
            `SELECT mapKeys(metadata) AS names, mapValues(metadata) AS texts, metadata_json
             FROM audit_events WHERE workspace_id = {ws:String} ORDER BY seq`,
            { ws: workspaceId },
          );
          expect(rows.length).toBe(all.length);
          for (const [index, given] of all.entries()) {
            const { names: shown = [], texts = [], metadata_json = '' } = rows[index] ?? {};
            expect([...shown].sort()).toEqual(Object.keys(given ?? {}).sort());
            for (const [at, name] of shown.entries()) matches(texts[at], given?.[name] ?? null);
            expect(metadata_json === '' ? undefined : JSON.parse(metadata_json)).toEqual(
              given === undefined ? undefined : JSON.parse(canonicalJson(given)),
            );
          }
          await ask(
            `SELECT count(), uniq(metadata), sum(toFloat64OrZero(metadata['a'])), any(metadata['a.b']),
               sum(JSONExtractFloat(metadata['a'], 'b')), any(JSONExtractString(metadata_json, 'a', 'b', 'c')),
               max(length(metadata)), groupArrayArray(1)(JSONExtractKeys(metadata['a'])), uniqExactIf(seq, mapContains(metadata, 'a'))
             FROM audit_events WHERE workspace_id = {ws:String}`,
            { ws: workspaceId },
          );
        },
      ),
      propertyRuns(40),
    );
  });

  test('of a damaged text is empty, and throws nothing', async () => {
    const texts = [
      '',
      '{',
      'null',
      '[]',
      '{"metadata":1}',
      '{"metadata":[1]}',
      '{"metadata":{"a":1}',
      '\u0000',
      '{"metadata":null}',
    ];
    await insertRows(
      server.writerUrl,
      texts.map((privateText, index) => row({ workspaceId: 'ws_damaged', seq: index + 1, privateText })),
    );
    const rows = await ask<{ metadata: object }>(
      "SELECT metadata, metadata_json FROM audit_events WHERE workspace_id = 'ws_damaged'",
    );
    expect(rows.length).toBe(texts.length);
    for (const { metadata: shown } of rows) expect(shown).toEqual({});
  });
});

test('docs/sql.md names every column of the views, with its type', async () => {
  const page = readFileSync(new URL('../../docs/sql.md', import.meta.url), 'utf8');
  const columns = await ask<{ table: string; name: string; type: string }>(
    "SELECT table, name, type FROM system.columns WHERE database = 'immutable' ORDER BY table, position",
  );
  expect(new Set(columns.map(({ table }) => table))).toEqual(
    new Set(['audit_events', 'audit_chain', 'audit_anchors']),
  );
  for (const { table, name, type } of columns) {
    const line = page
      .split('\n')
      .find((candidate) => candidate.startsWith('| `') && candidate.includes(`\`${name}\``));
    if (table !== 'audit_chain') expect(line, `${name} ${type}`).toContain(`| ${type} |`);
    else expect(page).toContain(`\`${name}\``);
  }
});

/** They need a ClickHouse server: there they are run by the suite of attempts; here the parser sees them. */
describe('statements for a server', () => {
  const folder = join(import.meta.dirname, '..', '..', 'infra', 'clickhouse', 'migrations');
  const migrations = readdirSync(folder)
    .filter((file) => file.endsWith('.server.sql'))
    .flatMap((file) => splitStatements(readFileSync(join(folder, file), 'utf8')));
  const analysts = analystStatements({ name: 'analyst_ws_1', password: "it's \\", workspaceId: 'ws_1' });

  test('there are some', () => {
    expect(migrations.length).toBeGreaterThan(10);
    expect(analysts.length).toBeGreaterThan(5);
  });

  test.each([...migrations, ...analysts])('%s', async (statement) => {
    const [parsed] = await ask<{ sql: string }>('SELECT formatQuerySingleLine({statement:String}) AS sql', {
      statement,
    });
    expect(parsed?.sql).toMatch(/^(CREATE|GRANT|ALTER) /);
  });

  test('a password stands in them quoted', () => {
    expect(analysts.find((statement) => statement.includes('sha256_password'))).toContain("BY 'it\\'s \\\\'");
  });
});
