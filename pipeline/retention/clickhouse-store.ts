import type { ClickHouseClient } from '@clickhouse/client';
import type { ArchivedEvent } from '../../core/archive.ts';
import { formatTimestamp, type Micros } from '../../core/time.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import { timestampValue, timeValue } from '../../infra/clickhouse/values.ts';
import type { Boundary, RetentionStore, SeqRange } from './store.ts';

/** `client` has the rights of the user `retention`. */
export function clickHouseRetentionStore(client: ClickHouseClient): RetentionStore {
  return {
    span: (workspaceId) => span(client, workspaceId),
    lastBefore: (workspaceId, moment) => lastBefore(client, workspaceId, moment),
    boundary: (workspaceId) => boundary(client, workspaceId),
    events: (range, after, most) => events(client, range, after, most),
    addBoundaries: (boundaries) => addBoundaries(client, boundaries),
    remove: (ranges) => remove(client, ranges),
    restore: (workspaceId, restored) => restore(client, workspaceId, restored),
  };
}

type Parameters = Record<string, string | number>;

async function select<Row>(client: ClickHouseClient, query: string, parameters: Parameters): Promise<Row[]> {
  const result = await client.query({ query, query_params: parameters, format: 'JSONEachRow' });
  return await result.json<Row>();
}

async function span(client: ClickHouseClient, workspaceId: string) {
  const end = (order: 'ASC' | 'DESC') =>
    `SELECT seq FROM ${TABLES.events} WHERE workspace_id = {workspace_id:String}
     ORDER BY workspace_id ${order}, created_at ${order} LIMIT 1`;
  const [found] = await select<{ first: number; last: number }>(
    client,
    `SELECT min(seq) AS first, max(seq) AS last FROM ((${end('ASC')}) UNION ALL (${end('DESC')}))`,
    { workspace_id: workspaceId },
  );
  return found === undefined || found.last === 0 ? undefined : found;
}

async function lastBefore(client: ClickHouseClient, workspaceId: string, moment: Micros) {
  const [row] = await select<{ seq: number }>(
    client,
    `SELECT seq FROM ${TABLES.events}
     WHERE workspace_id = {workspace_id:String} AND created_at < {moment:DateTime64(6, 'UTC')}
     ORDER BY workspace_id DESC, created_at DESC LIMIT 1`,
    { workspace_id: workspaceId, moment: timeValue(moment) },
  );
  return row?.seq;
}

async function boundary(client: ClickHouseClient, workspaceId: string): Promise<Boundary | undefined> {
  const [row] = await select<{ oldest_kept_seq: number; previous_event_hash: string }>(
    client,
    `SELECT oldest_kept_seq, previous_event_hash FROM ${TABLES.boundaries}
     WHERE workspace_id = {workspace_id:String} ORDER BY oldest_kept_seq DESC LIMIT 1`,
    { workspace_id: workspaceId },
  );
  if (row === undefined) return undefined;
  return { workspaceId, oldestKeptSeq: row.oldest_kept_seq, previousHash: row.previous_event_hash };
}

type EventTuple = [number, number, string, string, string, string, string];

async function* events(
  client: ClickHouseClient,
  { workspaceId, first, last }: SeqRange,
  after: Micros | undefined,
  most: number,
): AsyncGenerator<ArchivedEvent> {
  const result = await client.query({
    query: `SELECT seq, toUnixTimestamp64Micro(created_at), body, private, salt,
        lower(hex(event_hash)), lower(hex(previous_event_hash))
      FROM ${TABLES.events}
      WHERE workspace_id = {workspace_id:String} AND created_at > {after:DateTime64(6, 'UTC')}
        AND seq BETWEEN {first:UInt64} AND {last:UInt64}
      ORDER BY workspace_id, created_at
      LIMIT {most:UInt64}`,
    query_params: { workspace_id: workspaceId, after: timeValue(after ?? 0), first, last, most },
    format: 'JSONCompactEachRow',
  });
  const stream = result.stream<EventTuple>();
  try {
    for await (const rows of stream) for (const row of rows) yield archived(row.json());
  } finally {
    stream.destroy();
  }
}

function archived([seq, micros, body, privateText, salt, hash, previous]: EventTuple): ArchivedEvent {
  return {
    seq,
    created_at: formatTimestamp(micros),
    body,
    private: privateText,
    salt,
    event_hash: hash,
    previous_event_hash: previous,
  };
}

async function addBoundaries(client: ClickHouseClient, boundaries: readonly Boundary[]): Promise<void> {
  if (boundaries.length === 0) return;
  await client.insert({
    table: TABLES.boundaries,
    columns: ['workspace_id', 'oldest_kept_seq', 'previous_event_hash'],
    values: boundaries.map(({ workspaceId, oldestKeptSeq, previousHash }) => [
      workspaceId,
      oldestKeptSeq,
      previousHash,
    ]),
    format: 'JSONCompactEachRow',
  });
}

/** Each rewrites the parts it touches: few and large ones cost least. A statement stays far below its limit. */
const RANGES_A_MUTATION = 1_000;
const WORKSPACE_ID = /^ws_[0-9a-f]{16}$/;

async function remove(client: ClickHouseClient, ranges: readonly SeqRange[]): Promise<void> {
  for (let at = 0; at < ranges.length; at += RANGES_A_MUTATION) {
    const conditions = ranges.slice(at, at + RANGES_A_MUTATION).map(conditionOf);
    await client.command({
      query: `ALTER TABLE ${TABLES.events} DELETE WHERE ${conditions.join(' OR ')}`,
      // Every replica has done it when this returns.
      clickhouse_settings: { mutations_sync: '2' },
    });
  }
}

/** A mutation keeps its text, so values stand in it, and are of a shape that is nothing but a value. */
function conditionOf({ workspaceId, first, last }: SeqRange): string {
  if (!WORKSPACE_ID.test(workspaceId) || !Number.isSafeInteger(first) || !Number.isSafeInteger(last)) {
    throw new RangeError(`no range of events: ${workspaceId}, ${first} to ${last}`);
  }
  return `(workspace_id = '${workspaceId}' AND seq BETWEEN ${first} AND ${last})`;
}

async function restore(
  client: ClickHouseClient,
  workspaceId: string,
  restored: readonly ArchivedEvent[],
): Promise<void> {
  await client.insert({
    table: TABLES.restoredEvents,
    columns: [
      'workspace_id',
      'seq',
      'created_at',
      'body',
      'private',
      'salt',
      'event_hash',
      'previous_event_hash',
    ],
    values: restored.map((event) => [
      workspaceId,
      event.seq,
      timestampValue(event.created_at),
      event.body,
      event.private,
      event.salt,
      event.event_hash,
      event.previous_event_hash,
    ]),
    format: 'JSONCompactEachRow',
  });
}
