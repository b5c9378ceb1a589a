import { Readable } from 'node:stream';
import { ClickHouseError, type ClickHouseSettings } from '@clickhouse/client';
import { comparePositions, type Position, positionText } from '../../control/position.ts';
import type { Head } from '../../core/chain.ts';
import { formatTimestamp, type Micros } from '../../core/time.ts';
import type { ClickHouseClient } from '../../infra/clickhouse/client.ts';
import { EVENT_INSERT_COLUMNS, TABLES } from '../../infra/clickhouse/names.ts';
import { INSERT_LIMITS } from './plan.ts';
import { type ChainRow, type QuarantineEntry, rowBytes, type Source } from './row.ts';
import type { ChainStore, InsertOutcome, StoredEnd, StoredRow } from './store.ts';
import { eventsTsv, QUARANTINE_COLUMNS, quarantineTsv } from './tsv.ts';

/** Chains in the table `events`. */
export function clickHouseStore(client: ClickHouseClient): ChainStore {
  return {
    highestPosition: (partition) => highestPosition(client, partition),
    epochs: () => epochs(client),
    rowAt: (partition, position) => rowAt(client, partition, position),
    heads: (partition, workspaceIds, atOrBefore) => heads(client, partition, workspaceIds, atOrBefore),
    knownIds: (partition, idsByWorkspace, atOrBefore) =>
      knownIds(client, partition, idsByWorkspace, atOrBefore),
    insert: (source, rows, token, chainedAtMicros) => insert(client, source, rows, token, chainedAtMicros),
    quarantine: (source, entry) => quarantine(client, source, entry),
    positionOf: (partition, workspaceId, seq) => positionOf(client, partition, workspaceId, seq),
    firstPositionSince: (partition, micros) => firstPositionSince(client, partition, micros),
    rowsAfter: (partition, after, messages) => rowsAfter(client, partition, after, messages),
  };
}

const AT_OR_BEFORE =
  'partition = {partition:UInt16} AND (stream_seq, stream_index) <= ({sequence:UInt64}, {index:UInt32})';
const AFTER =
  'partition = {partition:UInt16} AND stream_seq >= {sequence:UInt64} AND (stream_seq, stream_index) > ({sequence:UInt64}, {index:UInt32})';

/** Read from the table's projection of positions: some rows a part, however many events there are. */
async function highestPosition(client: ClickHouseClient, partition: number): Promise<StoredEnd> {
  const [answer] = await select<{ clock: number; ends: [number, number, string, string][] }>(
    client,
    `SELECT toUnixTimestamp64Micro(now64(6)) AS clock, (
       SELECT groupArray((highest.1, highest.2, stream_epoch, lower(hex(hash)))) FROM (
         SELECT stream_epoch, max((stream_seq, stream_index)) AS highest,
           argMax(event_hash, (stream_seq, stream_index)) AS hash FROM ${TABLES.events}
         WHERE partition = {partition:UInt16} GROUP BY partition, stream_epoch)
     ) AS ends`,
    { partition },
  );
  if (answer === undefined) throw new Error('ClickHouse gave no answer to a SELECT without FROM');
  const ends = answer.ends.map(([sequence, index, epoch, eventHash]) => ({
    sequence,
    index,
    epoch,
    eventHash,
  }));
  return { highest: ends.sort(comparePositions).at(-1), clockMicros: answer.clock };
}

/** From the same projection. */
async function epochs(client: ClickHouseClient): Promise<string[]> {
  const rows = await select<{ stream_epoch: string }>(
    client,
    `SELECT stream_epoch, max((stream_seq, stream_index)) AS highest FROM ${TABLES.events} GROUP BY stream_epoch`,
    {},
  );
  return rows.map((row) => row.stream_epoch);
}

async function rowAt(
  client: ClickHouseClient,
  partition: number,
  position: Position,
): Promise<StoredRow | undefined> {
  const [row] = await select<{ workspace_id: string; seq: number; body: string }>(
    client,
    `SELECT workspace_id, seq, body FROM ${TABLES.events}
     WHERE partition = {partition:UInt16} AND stream_seq = {sequence:UInt64} AND stream_index = {index:UInt32} LIMIT 1`,
    { partition, ...position },
  );
  return row === undefined ? undefined : { workspaceId: row.workspace_id, seq: row.seq, body: row.body };
}

/**
 * The end of one workspace is found by reading its rows backwards, in about 10 ms however many there are;
 * for more workspaces than this it is faster to read the times of all their rows.
 */
const HEADS_ONE_BY_ONE = 16;
const HEADS_PER_QUERY = 1_000;

async function heads(
  client: ClickHouseClient,
  partition: number,
  workspaceIds: readonly string[],
  atOrBefore: Position,
): Promise<Map<string, Head>> {
  const found = new Map<string, Head>();
  for (let from = 0; from < workspaceIds.length; from += HEADS_PER_QUERY) {
    const some = workspaceIds.slice(from, from + HEADS_PER_QUERY).map(quoted);
    const query =
      some.length <= HEADS_ONE_BY_ONE ? some.map(headOfOne).join(' UNION ALL ') : headsOfMany(some);
    const rows = await select<HeadRow>(client, query, { partition, ...atOrBefore });
    for (const row of rows) {
      found.set(row.workspace_id, { seq: row.seq, createdAtMicros: row.created, eventHash: row.hash });
    }
  }
  return found;
}

interface HeadRow {
  workspace_id: string;
  seq: number;
  created: number;
  hash: string;
}

const HEAD = `SELECT workspace_id, seq, toUnixTimestamp64Micro(created_at) AS created, lower(hex(event_hash)) AS hash
  FROM ${TABLES.events}`;

function headOfOne(workspace: string): string {
  return `(${HEAD} WHERE workspace_id = ${workspace} AND ${AT_OR_BEFORE} ORDER BY created_at DESC LIMIT 1)`;
}

function headsOfMany(workspaces: readonly string[]): string {
  const among = `workspace_id IN (${workspaces.join()})`;
  return `${HEAD} WHERE ${among} AND (workspace_id, created_at) IN (
    SELECT workspace_id, max(created_at) FROM ${TABLES.events} WHERE ${among} AND ${AT_OR_BEFORE} GROUP BY workspace_id)`;
}

/** They stand in the query, since parameters travel in the address; ClickHouse takes 256 KiB of it. */
const IDS_PER_QUERY = 4_000;
/** With more ids than this nearly every granule has a false positive in the index: reading all of them is faster. */
const IDS_WORTH_AN_INDEX = 30;

async function knownIds(
  client: ClickHouseClient,
  partition: number,
  idsByWorkspace: ReadonlyMap<string, readonly string[]>,
  atOrBefore: Position,
): Promise<Set<string>> {
  const wanted = [...idsByWorkspace].flatMap(([workspaceId, ids]) => ids.map((id) => ({ workspaceId, id })));
  const found = new Set<string>();
  for (let from = 0; from < wanted.length; from += IDS_PER_QUERY) {
    const some = wanted.slice(from, from + IDS_PER_QUERY);
    const workspaces = new Set(some.map(({ workspaceId }) => workspaceId));
    const rows = await select<{ id: string }>(
      client,
      `SELECT id FROM ${TABLES.events} WHERE workspace_id IN ${listed([...workspaces])}
         AND id IN ${listed(some.map(({ id }) => id))} AND ${AT_OR_BEFORE}`,
      { partition, ...atOrBefore },
      { use_skip_indexes: some.length <= IDS_WORTH_AN_INDEX ? 1 : 0 },
    );
    for (const row of rows) found.add(row.id);
  }
  return found;
}

/** One text that ClickHouse splits: it takes twice as long to parse as many. */
function listed(texts: readonly string[]): string {
  return `splitByChar(',', ${quoted(texts.join())})`;
}

function quoted(text: string): string {
  return `'${text.replace(/[\\']/g, '\\$&')}'`;
}

/** All rows of an insert make one part: stored whole or not at all, under one token. */
const ONE_PART = {
  async_insert: 0,
  input_format_parallel_parsing: 0,
  max_insert_block_size: String(INSERT_LIMITS.rows),
} as const;

async function insert(
  client: ClickHouseClient,
  source: Source,
  rows: readonly ChainRow[],
  token: string,
  chainedAtMicros: Micros,
): Promise<InsertOutcome> {
  try {
    await client.insert({
      table: TABLES.events,
      columns: [...EVENT_INSERT_COLUMNS],
      format: 'TabSeparated',
      values: Readable.from(eventsTsv(source, rows, chainedAtMicros), { objectMode: false }),
      clickhouse_settings: { ...ONE_PART, insert_deduplication_token: token },
    });
    return { kind: 'answered' };
  } catch (error) {
    return insertOutcome(error);
  }
}

/**
 * Exceptions that speak of the server, of the table or of the user, never of a row (ClickHouse,
 * `ErrorCodes.cpp`). A code that is missing here costs a bisection before the insert is repeated; a code
 * that is here although a row can cause it would stop the partition.
 */
const NOT_ABOUT_ROWS = new Set([
  16, // NO_SUCH_COLUMN_IN_TABLE
  47, // UNKNOWN_IDENTIFIER
  60, // UNKNOWN_TABLE
  74, // CANNOT_READ_FROM_FILE_DESCRIPTOR
  75, // CANNOT_WRITE_TO_FILE_DESCRIPTOR
  76, // CANNOT_OPEN_FILE
  77, // CANNOT_CLOSE_FILE
  81, // UNKNOWN_DATABASE
  115, // UNKNOWN_SETTING
  159, // TIMEOUT_EXCEEDED
  164, // READONLY
  173, // CANNOT_ALLOCATE_MEMORY
  192, // UNKNOWN_USER
  201, // QUOTA_EXCEEDED
  202, // TOO_MANY_SIMULTANEOUS_QUERIES
  209, // SOCKET_TIMEOUT
  210, // NETWORK_ERROR
  218, // TABLE_IS_DROPPED
  236, // ABORTED
  241, // MEMORY_LIMIT_EXCEEDED
  242, // TABLE_IS_READ_ONLY
  243, // NOT_ENOUGH_SPACE
  252, // TOO_MANY_PARTS
  285, // TOO_FEW_LIVE_REPLICAS
  286, // UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE
  319, // UNKNOWN_STATUS_OF_INSERT
  341, // UNFINISHED
  394, // QUERY_WAS_CANCELLED
  425, // SYSTEM_ERROR
  452, // SETTING_CONSTRAINT_VIOLATION
  473, // DEADLOCK_AVOIDED
  497, // ACCESS_DENIED
  516, // AUTHENTICATION_FAILED
  735, // QUERY_WAS_CANCELLED_BY_CLIENT
  745, // SERVER_OVERLOADED
  999, // KEEPER_EXCEPTION
]);

function insertOutcome(error: unknown): InsertOutcome {
  if (!(error instanceof ClickHouseError)) {
    return { kind: 'unknown', reason: error instanceof Error ? error.message : String(error) };
  }
  const reason = `ClickHouse error ${error.code} ${error.type ?? ''}`.trim();
  return NOT_ABOUT_ROWS.has(Number(error.code)) ? { kind: 'unknown', reason } : { kind: 'refused', reason };
}

async function quarantine(client: ClickHouseClient, source: Source, entry: QuarantineEntry): Promise<void> {
  await client.insert({
    table: TABLES.quarantine,
    columns: [...QUARANTINE_COLUMNS],
    format: 'TabSeparated',
    values: Readable.from([quarantineTsv(source, entry)], { objectMode: false }),
    clickhouse_settings: {
      ...ONE_PART,
      insert_deduplication_token: `${source.partition}:${source.epoch}:${positionText(entry.position)}`,
    },
  });
}

async function positionOf(
  client: ClickHouseClient,
  partition: number,
  workspaceId: string,
  seq: number,
): Promise<Position | undefined> {
  const [row] = await select<StoredPosition>(
    client,
    `SELECT stream_seq, stream_index FROM ${TABLES.events}
     WHERE workspace_id = {workspaceId:String} AND seq = {seq:UInt64} AND partition = {partition:UInt16} LIMIT 1`,
    { partition, workspaceId, seq },
  );
  return row === undefined ? undefined : readPosition(row);
}

async function firstPositionSince(
  client: ClickHouseClient,
  partition: number,
  chainedAtMicros: Micros,
): Promise<Position | undefined> {
  const [row] = await select<StoredPosition>(
    client,
    `SELECT stream_seq, stream_index FROM ${TABLES.events}
     WHERE partition = {partition:UInt16} AND chained_at >= fromUnixTimestamp64Micro({micros:Int64}, 'UTC')
     ORDER BY stream_seq, stream_index LIMIT 1`,
    { partition, micros: chainedAtMicros },
  );
  return row === undefined ? undefined : readPosition(row);
}

interface EventRow extends StoredPosition {
  workspace_id: string;
  seq: number;
  created: number;
  id: string;
  salt: string;
  body: string;
  private: string;
  hash: string;
  previous: string;
}

async function rowsAfter(
  client: ClickHouseClient,
  partition: number,
  after: Position,
  messages: number,
): Promise<ChainRow[]> {
  const rows = await select<EventRow>(
    client,
    `SELECT stream_seq, stream_index, workspace_id, seq, toUnixTimestamp64Micro(created_at) AS created, id, salt,
       body, private, lower(hex(event_hash)) AS hash, lower(hex(previous_event_hash)) AS previous
     FROM ${TABLES.events}
     WHERE ${AFTER} AND stream_seq <= (SELECT max(stream_seq) FROM (
       SELECT DISTINCT stream_seq FROM ${TABLES.events} WHERE ${AFTER} ORDER BY stream_seq LIMIT {messages:UInt32}))
     ORDER BY stream_seq, stream_index`,
    { partition, ...after, messages },
  );
  return rows.map(readRow);
}

function readRow(row: EventRow): ChainRow {
  return {
    position: readPosition(row),
    workspaceId: row.workspace_id,
    seq: row.seq,
    createdAtMicros: row.created,
    createdAt: formatTimestamp(row.created),
    id: row.id,
    salt: row.salt,
    body: row.body,
    private: row.private,
    eventHash: row.hash,
    previousEventHash: row.previous,
    bytes: rowBytes(row.body, row.private),
  };
}

interface StoredPosition {
  stream_seq: number;
  stream_index: number;
}

function readPosition(row: StoredPosition): Position {
  return { sequence: row.stream_seq, index: row.stream_index };
}

async function select<T>(
  client: ClickHouseClient,
  query: string,
  parameters: Record<string, unknown>,
  settings: ClickHouseSettings = {},
): Promise<T[]> {
  const answer = await client.query({
    query,
    query_params: parameters,
    clickhouse_settings: settings,
    format: 'JSONEachRow',
  });
  return await answer.json<T>();
}
