import { randomBytes } from 'node:crypto';
import { type AnchorBatch, type AnchorHead, numbered } from '../../control/anchors.ts';
import { anchorIdOf, anchorTree } from '../../core/anchor.ts';
import { hexEncode } from '../../core/bytes.ts';
import { openNote, parseCheckpointNote } from '../../core/checkpoint.ts';
import type { ClickHouseClient } from '../../infra/clickhouse/client.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import { nativeHasher } from '../../infra/hash.ts';
import type { AnchorRecords, BatchRecord } from '../../query/anchors/records.ts';
import type { SeededEvent } from './seed.ts';
import { checkpointNote, type TestLog } from './tree.ts';

/** Anchors as the job leaves them, for what reads them: rows in ClickHouse, and the job's records in memory. */

export const CHAIN_ID = 8453;
export const CONTRACT = `0x${'c0'.repeat(20)}`;
const DAY_MS = 24 * 3600 * 1000;
const FIRST_DAY_MS = Date.UTC(2026, 2, 15);

/** A workspace, and where its days end. */
export interface AnchoredLog {
  log: TestLog;
  events: readonly SeededEvent[];
}

export interface StoredAnchor {
  id: string;
  workspaceId: string;
  size: number;
  periodEnd: string;
  batch: AnchorBatch;
}

export interface TestAnchors {
  /** What the query service is given. */
  records: AnchorRecords;
  /** By id. */
  batches: Map<string, BatchRecord>;
  heads: Map<string, AnchorHead>;
  /**
   * The day after the last one: each log up to a size. `bend` changes how it stands with the chain; confirmed in a block
   * unless it does.
   */
  anchor(
    logs: readonly (AnchoredLog & { size: number })[],
    bend?: Partial<AnchorBatch>,
  ): Promise<StoredAnchor[]>;
}

export function dayText(day: number): string {
  return new Date(FIRST_DAY_MS + day * DAY_MS).toISOString().replace('.000Z', '.000000Z');
}

export function createTestAnchors(admin: ClickHouseClient): TestAnchors {
  const batches = new Map<string, BatchRecord>();
  const heads = new Map<string, AnchorHead>();
  const previous = new Map<string, { size: number; hash: string; end: string }>();
  let day = 0;

  async function anchor(
    logs: readonly (AnchoredLog & { size: number })[],
    bend: Partial<AnchorBatch> = {},
  ): Promise<StoredAnchor[]> {
    const periodEnd = dayText(day + 1);
    day += 1;
    const notes = logs.map(({ log, events, size }) => checkpointNote(log, events, size));
    const tree = anchorTree(
      notes.map((note) => openNote(note)?.text ?? ''),
      nativeHasher,
    );
    const batch = batchOf(day, periodEnd, hexEncode(tree.root), logs.length, bend);
    const revision = batches.size + 1;
    batches.set(batch.id, { record: batch, revision });
    const stored: StoredAnchor[] = [];
    const rows = logs.map(({ log, events, size }, index) => {
      const { workspaceId } = log;
      const note = notes[index] ?? '';
      const leaf = tree.leaves.find((found) => found.workspaceId === workspaceId);
      const before = previous.get(workspaceId);
      const text = openNote(note)?.text ?? '';
      const id = anchorIdOf(batch.id, workspaceId, nativeHasher);
      const hash = nativeHasher.hex(text);
      previous.set(workspaceId, { size, hash, end: periodEnd });
      const next = { anchor_id: id, period_end: periodEnd, size, checkpoint_hash: hash };
      heads.set(workspaceId, numbered(next, heads.get(workspaceId)));
      stored.push({ id, workspaceId, size, periodEnd, batch });
      return {
        id,
        workspace_id: workspaceId,
        batch_id: batch.id,
        period_start: before?.end ?? dayText(0),
        period_end: periodEnd,
        size,
        events_count: size - (before?.size ?? 0),
        merkle_root: hexEncode(parseCheckpointNote(note)?.root ?? new Uint8Array()),
        first_event_hash: events[before?.size ?? 0]?.eventHash ?? '',
        last_event_hash: events[size - 1]?.eventHash ?? '',
        checkpoint: note,
        previous_anchor_hash: before?.hash ?? '',
        anchor_root: batch.anchor_root,
        leaf_index: leaf?.proof.leafIndex ?? -1,
        tree_size: logs.length,
        path: leaf?.proof.path.map(hexEncode) ?? [],
        created_at: batch.created_at,
      };
    });
    await insert(admin, TABLES.anchors, rows);
    await insert(admin, TABLES.anchorBatches, [copyOf(batch, revision)]);
    return stored;
  }

  return {
    records: {
      head: async (workspaceId) => heads.get(workspaceId),
      batch: (id) => batches.get(id),
    },
    batches,
    heads,
    anchor,
  };
}

function batchOf(
  day: number,
  periodEnd: string,
  anchorRoot: string,
  leaves: number,
  bend: Partial<AnchorBatch>,
): AnchorBatch {
  const txHash = `0x${nativeHasher.hex(`transaction ${anchorRoot}`)}`;
  const attempt = {
    tx_hash: txHash,
    raw: '0x02',
    nonce: day,
    max_fee_per_gas: '1',
    max_priority_fee_per_gas: '1',
    signed_at: periodEnd,
  };
  return {
    number: day,
    id: randomBytes(16).toString('hex'),
    period_end: periodEnd,
    created_at: periodEnd.replace('T00:00', 'T00:05'),
    anchor_root: anchorRoot,
    leaves,
    status: 'confirmed',
    reason: null,
    chain_id: CHAIN_ID,
    contract: CONTRACT,
    attempts: [attempt],
    nonce_lost_at: null,
    has_heads: true,
    inclusion: {
      tx_hash: txHash,
      block_number: 1_000_000 + day,
      block_hash: `0x${nativeHasher.hex(`block ${day}`)}`,
      block_time: periodEnd.replace('T00:00', 'T00:06'),
    },
    updated_at: periodEnd.replace('T00:00', 'T00:07'),
    ...bend,
  };
}

export function copyOf(batch: AnchorBatch, version: number) {
  const { inclusion } = batch;
  return {
    id: batch.id,
    period_end: batch.period_end,
    anchor_root: batch.anchor_root,
    leaves: batch.leaves,
    status: batch.status,
    reason: batch.reason ?? '',
    chain_id: batch.chain_id ?? 0,
    contract: batch.contract ?? '',
    tx_hash: inclusion?.tx_hash ?? batch.attempts.at(-1)?.tx_hash ?? '',
    block_number: inclusion?.block_number ?? 0,
    block_hash: inclusion?.block_hash ?? '',
    ...(inclusion === null ? {} : { block_time: inclusion.block_time }),
    updated_at: batch.updated_at,
    version,
  };
}

/** Not yet sent, and the operator is told why. */
export const PENDING: Partial<AnchorBatch> = {
  status: 'pending',
  reason: 'No RPC endpoint is set.',
  chain_id: null,
  contract: null,
  attempts: [],
  inclusion: null,
};

export async function insert(
  client: ClickHouseClient,
  table: string,
  values: Record<string, unknown>[],
): Promise<void> {
  await client.insert({
    table,
    format: 'JSONEachRow',
    values,
    clickhouse_settings: { date_time_input_format: 'best_effort' },
  });
}
