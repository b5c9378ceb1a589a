import { randomBytes, randomUUID } from 'node:crypto';
import { formatTimestamp } from '../../core/time.ts';
import { EVENT_INSERT_COLUMNS, TABLES } from '../../infra/clickhouse/names.ts';

/** A row of `events` as the chain stage inserts it. */
export interface Row {
  partition: number;
  streamEpoch: string;
  streamSeq: number;
  streamIndex: number;
  chainedAt: string;
  workspaceId: string;
  seq: number;
  createdAt: string;
  body: string;
  privateText: string;
  salt: string;
  eventHash: string;
  previousHash: string;
}

let microsecond = 0;

/** A row in which everything not given is plausible, and later than any row made before. */
export function row(given: Partial<Row> = {}): Row {
  const now = Date.now() * 1000 + (microsecond++ % 1000);
  const workspaceId = given.workspaceId ?? 'ws_test';
  return {
    partition: 0,
    streamEpoch: '0123456789abcdef',
    streamSeq: 1,
    streamIndex: 0,
    chainedAt: formatTimestamp(now),
    workspaceId,
    seq: 1,
    createdAt: formatTimestamp(now),
    body: `{"action":"test","actor_id":"user_1","id":"${randomUUID()}","occurred_at":"${formatTimestamp(now)}","private":"","workspace_id":"${workspaceId}"}`,
    privateText: '{}',
    salt: randomBytes(16).toString('hex'),
    eventHash: randomBytes(32).toString('hex'),
    previousHash: '',
    ...given,
  };
}

/** Inserts rows as one TSV insert, as the chain stage does. Throws what the server answered. */
export async function insertRows(url: string, rows: Row[], token?: string): Promise<void> {
  const { origin, username, password } = new URL(url);
  const search = new URLSearchParams({
    query: `INSERT INTO ${TABLES.events} (${EVENT_INSERT_COLUMNS.join(', ')}) FORMAT TSV`,
    ...(token === undefined ? {} : { insert_deduplication_token: token }),
  });
  const response = await fetch(`${origin}/?${search}`, {
    method: 'POST',
    headers: { Authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}` },
    body: rows.map(line).join(''),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(text);
}

function line(row: Row): string {
  return `${[
    row.partition,
    row.streamEpoch,
    row.streamSeq,
    row.streamIndex,
    row.chainedAt,
    row.workspaceId,
    row.seq,
    row.createdAt,
    escaped(row.body),
    escaped(row.privateText),
    row.salt,
    row.eventHash,
    row.previousHash,
  ].join('\t')}\n`;
}

function escaped(text: string): string {
  return text.replace(/[\\\t\n\0]/g, (character) => ESCAPES[character] ?? character);
}

const ESCAPES: Record<string, string> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\0': '\\0' };
