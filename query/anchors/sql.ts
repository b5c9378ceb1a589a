import type { AnchorStatus } from '../../control/anchors.ts';
import type { Micros } from '../../core/time.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import type { SqlQuery } from '../sql.ts';

/** One anchor of a workspace, and how its tree stands with the chain. Times as the API writes them. */
export interface AnchorRow {
  id: string;
  workspace_id: string;
  batch_id: string;
  period_start: string;
  period_end: string;
  period_end_micros: Micros;
  /** How many events the tree has, and how many of them came since the anchor before. */
  size: number;
  events_count: number;
  merkle_root: string;
  first_event_hash: string;
  last_event_hash: string;
  /** C2SP signed-note. */
  checkpoint: string;
  /** Empty for the first. */
  previous_anchor_hash: string;
  anchor_root: string;
  leaf_index: number;
  tree_size: number;
  path: string[];
  created_at: string;
  batch: BatchRow;
}

/** The copy of the job's record. */
export interface BatchRow {
  id: string;
  period_end: string;
  anchor_root: string;
  leaves: number;
  status: AnchorStatus;
  reason: string;
  /** 0, and an empty contract, where no chain was set. */
  chain_id: number;
  contract: string;
  /** Empty until it is submitted. */
  tx_hash: string;
  /** 0, and an empty hash, until it is in a block. */
  block_number: number;
  block_hash: string;
  block_time: string;
  updated_at: string;
  version: number;
}

const TIME_FORMAT = "'%FT%T.%fZ'";
const timeText = (column: string, as = column) => `formatDateTime(${column}, ${TIME_FORMAT}) AS ${as}`;

const ANCHOR_COLUMNS = `anchors.id AS id, workspace_id, batch_id, size, events_count, merkle_root, first_event_hash,
    last_event_hash, checkpoint, previous_anchor_hash, anchor_root, leaf_index, tree_size, path,
    ${['period_start', 'period_end', 'created_at'].map((column) => timeText(`anchors.${column}`, column)).join(', ')},
    toUnixTimestamp64Micro(anchors.period_end) AS period_end_micros`;

/** A batch as one JSON-ready tuple, which the job's newest revision decides. */
const BATCHES = `SELECT id AS known_id, tuple(id, ${timeText('period_end', 'period_end_text')}, anchor_root, leaves,
      toString(status), reason, chain_id, contract, tx_hash, block_number, block_hash,
      ${timeText('block_time', 'block_time_text')}, ${timeText('updated_at', 'updated_at_text')}, version)::${batchType()} AS batch
    FROM ${TABLES.anchorBatches} FINAL`;

function batchType(): string {
  return `Tuple(id String, period_end String, anchor_root String, leaves UInt64, status String, reason String,
      chain_id UInt64, contract String, tx_hash String, block_number UInt64, block_hash String,
      block_time String, updated_at String, version UInt64)`;
}

/** Rows whose tree the job has not decided on are of no anchor yet, and of none if another process was first. */
const JOINED = `INNER JOIN (${BATCHES}) AS batches ON batches.known_id = anchors.batch_id`;

/** Newest first: those that end before `before`, if given. */
export function anchorsOf(
  workspaceId: string,
  { before, most }: { before?: Micros | undefined; most: number },
): SqlQuery {
  return {
    sql: `SELECT ${ANCHOR_COLUMNS}, batch FROM ${TABLES.anchors} AS anchors FINAL ${JOINED}
      WHERE workspace_id = {workspace_id:String}
        ${before === undefined ? '' : "AND anchors.period_end < fromUnixTimestamp64Micro({before:Int64}, 'UTC')"}
      ORDER BY anchors.period_end DESC LIMIT {most:UInt32}`,
    params: { workspace_id: workspaceId, most, ...(before === undefined ? {} : { before }) },
  };
}

export function anchorCount(workspaceId: string): SqlQuery {
  return {
    sql: `SELECT count() AS total FROM ${TABLES.anchors} FINAL
      WHERE workspace_id = {workspace_id:String} AND batch_id IN (SELECT id FROM ${TABLES.anchorBatches})`,
    params: { workspace_id: workspaceId },
  };
}

/** By id; of one workspace, or of any for who knows the id. */
export function anchorById(id: string, workspaceId: string | undefined): SqlQuery {
  return {
    sql: `SELECT ${ANCHOR_COLUMNS}, batch FROM ${TABLES.anchors} AS anchors FINAL ${JOINED}
      WHERE anchors.id = {id:String} ${workspaceId === undefined ? '' : 'AND workspace_id = {workspace_id:String}'}
      LIMIT 1`,
    params: { id, ...(workspaceId === undefined ? {} : { workspace_id: workspaceId }) },
  };
}

/** The one before the anchor that ends at `periodEnd`. */
export function anchorBefore(workspaceId: string, periodEnd: Micros): SqlQuery {
  return anchorsOf(workspaceId, { before: periodEnd, most: 1 });
}

/** All rows of a workspace, oldest first, also those whose tree is not there: the id of `batch` is then empty. */
export function storedAnchors(workspaceId: string): SqlQuery {
  return {
    sql: `SELECT ${ANCHOR_COLUMNS}, batch FROM ${TABLES.anchors} AS anchors FINAL LEFT ${JOINED.slice('INNER '.length)}
      WHERE workspace_id = {workspace_id:String} ORDER BY anchors.period_end, id`,
    params: { workspace_id: workspaceId },
  };
}

/** The oldest confirmed anchor that has an event; with a policy, one whose checkpoint enough witnesses have cosigned. */
export function confirmedAnchor(workspaceId: string, seq: number, witnessedOnly: boolean): SqlQuery {
  const witnessed = `AND size IN (SELECT size FROM ${TABLES.checkpoints}
        WHERE workspace_id = {workspace_id:String} AND size >= {seq:UInt64} AND is_witnessed)`;
  return {
    sql: `SELECT ${ANCHOR_COLUMNS}, batch FROM ${TABLES.anchors} AS anchors FINAL ${JOINED}
      WHERE workspace_id = {workspace_id:String} AND size >= {seq:UInt64} AND batch.status = 'confirmed'
        ${witnessedOnly ? witnessed : ''}
      ORDER BY size LIMIT 1`,
    params: { workspace_id: workspaceId, seq },
  };
}

/** The trees whose transaction it is: one, unless somebody wrote in another. */
export function treesOfTransaction(txHash: string): SqlQuery {
  return {
    sql: `SELECT batch FROM (${BATCHES} WHERE tx_hash = {tx_hash:String}) LIMIT 2`,
    params: { tx_hash: txHash },
  };
}

/**
 * Up to two anchors of a tree, with a root if one is named. For trees of one leaf, or with a root: an index finds these, while every
 * workspace has a row of a large tree.
 */
export function anchorsOfTree(batchId: string, merkleRoot: string | undefined): SqlQuery {
  return {
    sql: `SELECT ${ANCHOR_COLUMNS}, batch FROM ${TABLES.anchors} AS anchors FINAL ${JOINED}
      WHERE batch_id = {batch_id:String}
        ${merkleRoot === undefined ? '' : 'AND merkle_root = {merkle_root:String}'}
      LIMIT 2`,
    params: { batch_id: batchId, ...(merkleRoot === undefined ? {} : { merkle_root: merkleRoot }) },
  };
}

/** When the first event of a workspace was received; no row where retention removed it. */
export function firstEventDay(workspaceId: string): SqlQuery {
  return {
    sql: `SELECT formatDateTime(toStartOfDay(created_at), '%FT%T.%fZ') AS day FROM ${TABLES.events}
      WHERE workspace_id = {workspace_id:String} AND seq = 1 LIMIT 1`,
    params: { workspace_id: workspaceId },
  };
}

/** Which of these events are still stored. */
export function storedEvents(workspaceId: string, seqs: readonly number[]): SqlQuery {
  return {
    sql: `SELECT seq FROM ${TABLES.events} WHERE workspace_id = {workspace_id:String} AND seq IN (${seqs.join()})`,
    params: { workspace_id: workspaceId },
  };
}
