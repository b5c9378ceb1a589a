import type { ClickHouseClient } from '../infra/clickhouse/client.ts';
import { TABLES } from '../infra/clickhouse/names.ts';
import { timestampValue } from '../infra/clickhouse/values.ts';
import type { AnchorRow } from './batch.ts';
import type { AnchoredRow, AnchorStore, BatchVersion, Growth, GrowthQuestion } from './store.ts';

/** Anchors in the tables `anchors` and `anchor_batches`, beside the events and checkpoints they are of. */
export function clickHouseAnchorStore(client: ClickHouseClient): AnchorStore {
  return {
    growths: (questions, from, before) => growths(client, questions, from, before),
    notes: (sizes) => notes(client, sizes),
    newestAnchors: (workspaceIds) => newestAnchors(client, workspaceIds),
    writeAnchors: (rows) => writeAnchors(client, rows),
    anchorsOf: (batch) => anchorsOf(client, batch),
    batchVersions: () => batchVersions(client),
    writeBatches: (batches) => writeBatches(client, batches),
  };
}

interface GrowthRow {
  workspace: string;
  size: number;
  last_hash: string;
  first_seq: number;
  first_hash: string;
  first_at: string;
}

async function growths(
  client: ClickHouseClient,
  questions: readonly GrowthQuestion[],
  from: string,
  before: string,
): Promise<Map<string, Growth>> {
  const rows = await select<GrowthRow>(
    client,
    `SELECT toString(workspace_id) AS workspace, max(seq) AS size, lower(hex(argMax(event_hash, seq))) AS last_hash,
       min(seq) AS first_seq, lower(hex(argMin(event_hash, seq))) AS first_hash,
       formatDateTime(min(created_at), '%FT%T.%fZ') AS first_at
     FROM ${TABLES.events}
     WHERE workspace_id IN {workspaceIds:Array(String)} AND created_at >= {from:DateTime64(6, 'UTC')}
       AND created_at < {before:DateTime64(6, 'UTC')}
       AND seq > transform(toString(workspace_id), {workspaceIds:Array(String)}, {after:Array(UInt64)}, toUInt64(0))
       AND seq <= transform(toString(workspace_id), {workspaceIds:Array(String)}, {upTo:Array(UInt64)}, toUInt64(0))
     GROUP BY workspace_id`,
    {
      workspaceIds: questions.map(({ workspaceId }) => workspaceId),
      after: questions.map(({ after }) => after),
      upTo: questions.map(({ upTo }) => upTo),
      from: timestampValue(from),
      before: timestampValue(before),
    },
  );
  return new Map(rows.map((row) => [row.workspace, readGrowth(row)]));
}

function readGrowth({ size, last_hash, first_seq, first_hash, first_at }: GrowthRow): Growth {
  return {
    size,
    lastEventHash: last_hash,
    firstSeq: first_seq,
    firstEventHash: first_hash,
    firstEventAt: first_at,
  };
}

async function notes(
  client: ClickHouseClient,
  sizes: ReadonlyMap<string, number>,
): Promise<Map<string, string>> {
  const rows = await select<{ workspace: string; best: string }>(
    client,
    `SELECT toString(workspace_id) AS workspace, argMax(note, cosignatures) AS best FROM ${TABLES.checkpoints}
     WHERE workspace_id IN {workspaceIds:Array(String)}
       AND size = transform(toString(workspace_id), {workspaceIds:Array(String)}, {sizes:Array(UInt64)}, toUInt64(0))
     GROUP BY workspace_id`,
    { workspaceIds: [...sizes.keys()], sizes: [...sizes.values()] },
  );
  return new Map(rows.map(({ workspace, best }) => [workspace, best]));
}

async function newestAnchors(
  client: ClickHouseClient,
  workspaceIds: readonly string[],
): Promise<Map<string, AnchoredRow>> {
  const rows = await select<{ workspace: string; newest: [string, number, string] }>(
    client,
    `SELECT toString(workspace_id) AS workspace, argMax((id, size, checkpoint), period_end) AS newest
     FROM ${TABLES.anchors}
     WHERE workspace_id IN {workspaceIds:Array(String)} AND batch_id IN (SELECT id FROM ${TABLES.anchorBatches})
     GROUP BY workspace_id`,
    { workspaceIds },
  );
  return new Map(
    rows.map(({ workspace, newest: [id, size, checkpoint] }) => [workspace, { id, size, checkpoint }]),
  );
}

/** An insert that is repeated changes nothing. */
const ONE_PART = {
  async_insert: 0,
  input_format_parallel_parsing: 0,
  max_insert_block_size: '1000000',
} as const;

/** Columns of `anchors`, and what a row has for each. */
const ANCHOR_COLUMNS: [string, (row: AnchorRow) => unknown][] = [
  ['id', ({ id }) => id],
  ['workspace_id', ({ workspaceId }) => workspaceId],
  ['batch_id', ({ batchId }) => batchId],
  ['period_start', ({ periodStart }) => timestampValue(periodStart)],
  ['period_end', ({ periodEnd }) => timestampValue(periodEnd)],
  ['size', ({ size }) => size],
  ['events_count', ({ eventsCount }) => eventsCount],
  ['merkle_root', ({ merkleRoot }) => merkleRoot],
  ['first_event_hash', ({ firstEventHash }) => firstEventHash],
  ['last_event_hash', ({ lastEventHash }) => lastEventHash],
  ['checkpoint', ({ checkpoint }) => checkpoint],
  ['previous_anchor_hash', ({ previousAnchorHash }) => previousAnchorHash],
  ['anchor_root', ({ anchorRoot }) => anchorRoot],
  ['leaf_index', ({ leafIndex }) => leafIndex],
  ['tree_size', ({ treeSize }) => treeSize],
  ['path', ({ path }) => path],
  ['created_at', ({ createdAt }) => timestampValue(createdAt)],
];

/** Of some 2 KB each. */
const ANCHORS_PER_INSERT = 10_000;

async function writeAnchors(client: ClickHouseClient, rows: readonly AnchorRow[]): Promise<void> {
  for (let at = 0; at < rows.length; at += ANCHORS_PER_INSERT) {
    await insert(
      client,
      TABLES.anchors,
      ANCHOR_COLUMNS.map(([name]) => name),
      rows.slice(at, at + ANCHORS_PER_INSERT).map((row) => ANCHOR_COLUMNS.map(([, value]) => value(row))),
    );
  }
}

interface StoredAnchor {
  id: string;
  workspace: string;
  batch_id: string;
  started: string;
  ended: string;
  size: number;
  events_count: number;
  merkle_root: string;
  first_event_hash: string;
  last_event_hash: string;
  checkpoint: string;
  previous_anchor_hash: string;
  anchor_root: string;
  leaf_index: number;
  tree_size: number;
  path: string[];
  made: string;
}

async function anchorsOf(
  client: ClickHouseClient,
  { id, period_end }: { id: string; period_end: string },
): Promise<AnchorRow[]> {
  const rows = await select<StoredAnchor>(
    client,
    `SELECT id, toString(workspace_id) AS workspace, batch_id, formatDateTime(period_start, '%FT%T.%fZ') AS started,
       formatDateTime(period_end, '%FT%T.%fZ') AS ended, size, events_count, merkle_root, first_event_hash,
       last_event_hash, checkpoint, previous_anchor_hash, anchor_root, leaf_index, tree_size, path,
       formatDateTime(created_at, '%FT%T.%fZ') AS made
     FROM ${TABLES.anchors} FINAL
     WHERE period_end = {periodEnd:DateTime64(6, 'UTC')} AND batch_id = {id:String} ORDER BY leaf_index`,
    { id, periodEnd: timestampValue(period_end) },
  );
  return rows.map((row) => ({
    id: row.id,
    workspaceId: row.workspace,
    batchId: row.batch_id,
    periodStart: row.started,
    periodEnd: row.ended,
    size: row.size,
    eventsCount: row.events_count,
    merkleRoot: row.merkle_root,
    firstEventHash: row.first_event_hash,
    lastEventHash: row.last_event_hash,
    checkpoint: row.checkpoint,
    previousAnchorHash: row.previous_anchor_hash,
    anchorRoot: row.anchor_root,
    leafIndex: row.leaf_index,
    treeSize: row.tree_size,
    path: row.path,
    createdAt: row.made,
  }));
}

async function batchVersions(client: ClickHouseClient): Promise<Map<string, number>> {
  const rows = await select<{ id: string; newest: number }>(
    client,
    `SELECT id, max(version) AS newest FROM ${TABLES.anchorBatches} GROUP BY id`,
    {},
  );
  return new Map(rows.map(({ id, newest }) => [id, newest]));
}

const NEVER = '1970-01-01 00:00:00.000000';

/** Columns of `anchor_batches`, and what a batch has for each. */
const BATCH_COLUMNS: [string, (version: BatchVersion) => unknown][] = [
  ['id', ({ batch }) => batch.id],
  ['period_end', ({ batch }) => timestampValue(batch.period_end)],
  ['anchor_root', ({ batch }) => batch.anchor_root],
  ['leaves', ({ batch }) => batch.leaves],
  ['status', ({ batch }) => batch.status],
  ['reason', ({ batch }) => batch.reason ?? ''],
  ['chain_id', ({ batch }) => batch.chain_id ?? 0],
  ['contract', ({ batch }) => batch.contract ?? ''],
  ['tx_hash', ({ batch }) => batch.inclusion?.tx_hash ?? batch.attempts.at(-1)?.tx_hash ?? ''],
  ['block_number', ({ batch }) => batch.inclusion?.block_number ?? 0],
  ['block_hash', ({ batch }) => batch.inclusion?.block_hash ?? ''],
  [
    'block_time',
    ({ batch }) => (batch.inclusion === null ? NEVER : timestampValue(batch.inclusion.block_time)),
  ],
  ['updated_at', ({ batch }) => timestampValue(batch.updated_at)],
  ['version', ({ revision }) => revision],
];

async function writeBatches(client: ClickHouseClient, batches: readonly BatchVersion[]): Promise<void> {
  await insert(
    client,
    TABLES.anchorBatches,
    BATCH_COLUMNS.map(([name]) => name),
    batches.map((version) => BATCH_COLUMNS.map(([, value]) => value(version))),
  );
}

async function insert(
  client: ClickHouseClient,
  table: string,
  columns: string[],
  values: unknown[][],
): Promise<void> {
  const [first, ...others] = columns;
  if (values.length === 0 || first === undefined) return;
  await client.insert({
    table,
    columns: [first, ...others],
    format: 'JSONCompactEachRow',
    values,
    clickhouse_settings: ONE_PART,
  });
}

async function select<T>(
  client: ClickHouseClient,
  query: string,
  parameters: Record<string, unknown>,
): Promise<T[]> {
  const answer = await client.query({ query, query_params: parameters, format: 'JSONEachRow' });
  return await answer.json<T>();
}
