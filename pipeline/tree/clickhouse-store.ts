import type { Position } from '../../control/position.ts';
import type { TileName } from '../../core/tile.ts';
import type { Tile } from '../../core/tree-builder.ts';
import type { ClickHouseClient } from '../../infra/clickhouse/client.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import type { ChainLink, TreeHead } from './growing-tree.ts';
import type { SignedCheckpoint, StoredEvent, TreeStore, WorkspaceTile } from './store.ts';

/** Trees in the tables `tiles` and `checkpoints`, beside the events they are of. */
export function clickHouseTreeStore(client: ClickHouseClient): TreeStore {
  return {
    heads: (partition) => heads(client, partition),
    eventsAfter: (workspaceId, head, limit) => eventsAfter(client, workspaceId, head, limit),
    eventAt: (workspaceId, seq) => eventAt(client, workspaceId, seq),
    positionOf: (workspaceId, event) => positionOf(client, workspaceId, event),
    tiles: (workspaceId, names) => readTiles(client, workspaceId, names),
    writeTiles: (tiles) => writeTiles(client, tiles),
    writeCheckpoints: (checkpoints) => writeCheckpoints(client, checkpoints),
    largestSizes: (workspaceIds) => largestSizes(client, workspaceIds),
    newestCheckpoint: (workspaceId) => newestCheckpoint(client, workspaceId),
  };
}

async function heads(client: ClickHouseClient, partition: number): Promise<Map<string, number>> {
  const rows = await select<{ workspace_id: string; highest: number }>(
    client,
    `SELECT workspace_id, max(seq) AS highest FROM ${TABLES.events}
     WHERE partition = {partition:UInt16} GROUP BY workspace_id`,
    { partition },
  );
  return new Map(rows.map(({ workspace_id, highest }) => [workspace_id, highest]));
}

interface EventRow {
  seq: number;
  created: string;
  body: string;
  hash: string;
  previous: string;
}

/** The time as it was hashed, whatever the format settings of the session. */
const EVENT = `SELECT seq, formatDateTime(created_at, '%FT%T.%fZ') AS created, body, lower(hex(event_hash)) AS hash,
    lower(hex(previous_event_hash)) AS previous
  FROM ${TABLES.events} WHERE workspace_id = {workspaceId:String}`;

function readEvent({ seq, created, body, hash, previous }: EventRow): StoredEvent {
  return { seq, createdAt: created, body, eventHash: hash, previousEventHash: previous };
}

const CREATED_AT = `parseDateTime64BestEffort({createdAt:String}, 6, 'UTC')`;

async function eventsAfter(
  client: ClickHouseClient,
  workspaceId: string,
  { seq, createdAt }: TreeHead,
  limit: number,
): Promise<StoredEvent[]> {
  const later = createdAt === '' ? '' : `AND created_at > ${CREATED_AT}`;
  const rows = await select<EventRow>(
    client,
    `${EVENT} ${later} AND seq > {seq:UInt64} ORDER BY created_at, seq LIMIT {limit:UInt32}`,
    { workspaceId, seq, limit, ...(createdAt === '' ? {} : { createdAt }) },
  );
  return rows.map(readEvent);
}

async function eventAt(
  client: ClickHouseClient,
  workspaceId: string,
  seq: number,
): Promise<StoredEvent | undefined> {
  const [row] = await select<EventRow>(client, `${EVENT} AND seq = {seq:UInt64} LIMIT 1`, {
    workspaceId,
    seq,
  });
  return row === undefined ? undefined : readEvent(row);
}

async function positionOf(
  client: ClickHouseClient,
  workspaceId: string,
  { seq, createdAt }: Pick<ChainLink, 'seq' | 'createdAt'>,
): Promise<(Position & { epoch: string }) | undefined> {
  const [row] = await select<{ stream_seq: number; stream_index: number; stream_epoch: string }>(
    client,
    `SELECT stream_seq, stream_index, stream_epoch FROM ${TABLES.events}
     WHERE workspace_id = {workspaceId:String} AND created_at = ${CREATED_AT} AND seq = {seq:UInt64} LIMIT 1`,
    { workspaceId, seq, createdAt },
  );
  if (row === undefined) return undefined;
  return { sequence: row.stream_seq, index: row.stream_index, epoch: row.stream_epoch };
}

async function readTiles(
  client: ClickHouseClient,
  workspaceId: string,
  names: readonly Pick<TileName, 'level' | 'index'>[],
): Promise<Tile[]> {
  if (names.length === 0) return [];
  const wanted = names.map(({ level, index }) => `(${level},${index})`).join();
  const rows = await select<{ level: number; tile_index: number; width: number; hashes_hex: string }>(
    client,
    // FINAL: of equally wide ones the last that was written, as after a merge, so that a repaired tile is the one read.
    `SELECT level, tile_index, width, lower(hex(hashes)) AS hashes_hex FROM ${TABLES.tiles} FINAL
     WHERE workspace_id = {workspaceId:String} AND (level, tile_index) IN (${wanted})`,
    { workspaceId },
  );
  return rows.map(({ level, tile_index, width, hashes_hex }) => ({
    level,
    index: tile_index,
    width,
    hashes: new Uint8Array(Buffer.from(hashes_hex, 'hex')),
  }));
}

/** A table takes a batch as one part: all of it is stored or none. A repeated one changes nothing. */
const ONE_PART = {
  async_insert: 0,
  input_format_parallel_parsing: 0,
  max_insert_block_size: '1000000',
} as const;

async function writeTiles(client: ClickHouseClient, tiles: readonly WorkspaceTile[]): Promise<void> {
  if (tiles.length === 0) return;
  await client.insert({
    table: TABLES.tiles,
    columns: ['workspace_id', 'level', 'tile_index', 'width', 'hashes_hex'],
    format: 'JSONCompactEachRow',
    values: tiles.map(({ workspaceId, level, index, width, hashes }) => [
      workspaceId,
      level,
      index,
      width,
      Buffer.from(hashes.buffer, hashes.byteOffset, hashes.byteLength).toString('hex'),
    ]),
    clickhouse_settings: ONE_PART,
  });
}

async function writeCheckpoints(
  client: ClickHouseClient,
  checkpoints: readonly SignedCheckpoint[],
): Promise<void> {
  if (checkpoints.length === 0) return;
  await client.insert({
    table: TABLES.checkpoints,
    columns: ['workspace_id', 'size', 'root', 'note', 'cosignatures', 'is_witnessed', 'signed_at'],
    format: 'JSONCompactEachRow',
    values: checkpoints.map(({ workspaceId, size, root, note, cosignatures, isWitnessed, signedAt }) => [
      workspaceId,
      size,
      root,
      note,
      cosignatures,
      isWitnessed,
      signedAt,
    ]),
    clickhouse_settings: { ...ONE_PART, date_time_input_format: 'best_effort' },
  });
}

async function largestSizes(
  client: ClickHouseClient,
  workspaceIds: readonly string[],
): Promise<Map<string, number>> {
  const rows = await select<{ workspace_id: string; largest: number }>(
    client,
    `SELECT workspace_id, max(size) AS largest FROM ${TABLES.checkpoints}
     WHERE workspace_id IN {workspaceIds:Array(String)} GROUP BY workspace_id`,
    { workspaceIds },
  );
  return new Map(rows.map(({ workspace_id, largest }) => [workspace_id, largest]));
}

async function newestCheckpoint(
  client: ClickHouseClient,
  workspaceId: string,
): Promise<SignedCheckpoint | undefined> {
  const [row] = await select<{
    size: number;
    root: string;
    note: string;
    cosignatures: number;
    is_witnessed: boolean;
    signed: string;
  }>(
    client,
    `SELECT size, root, note, cosignatures, is_witnessed, formatDateTime(signed_at, '%FT%T.%fZ') AS signed
     FROM ${TABLES.checkpoints} WHERE workspace_id = {workspaceId:String}
     ORDER BY size DESC, cosignatures DESC LIMIT 1`,
    { workspaceId },
  );
  if (row === undefined) return undefined;
  const { size, root, note, cosignatures, is_witnessed, signed } = row;
  return { workspaceId, size, root, note, cosignatures, isWitnessed: is_witnessed, signedAt: signed };
}

async function select<T>(
  client: ClickHouseClient,
  query: string,
  parameters: Record<string, unknown>,
): Promise<T[]> {
  const answer = await client.query({ query, query_params: parameters, format: 'JSONEachRow' });
  return await answer.json<T>();
}
