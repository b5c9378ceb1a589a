import type { ClickHouseClient } from '@clickhouse/client';
import {
  type AnchorBatch,
  BATCH_KEYS,
  HEAD_KEYS,
  readAnchorBatch,
  readAnchorHead,
} from '../../control/anchors.ts';
import { isSignedBy, logNameOf } from '../../control/signing-keys.ts';
import { anchorTree } from '../../core/anchor.ts';
import { hexEncode } from '../../core/bytes.ts';
import { openNote, parseCheckpoint } from '../../core/checkpoint.ts';
import { leafHash, treeRoot } from '../../core/tree.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import { nativeHasher } from '../../infra/hash.ts';
import type { NatsConnection } from '../../infra/nats/connect.ts';
import { openBucket } from '../../infra/nats/kv.ts';
import { BUCKETS } from '../../infra/nats/names.ts';
import type { Finding } from './findings.ts';
import type { Signer } from './tree.ts';

/** What each finding is about. */
export interface AnchorFindings {
  rows: Finding;
  trees: Finding;
  records: Finding;
}

interface AnchorRow {
  id: string;
  workspace_id: string;
  batch_id: string;
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
}

/**
 * Computes every anchor again from the hashes of the events, and every anchor tree from its checkpoints; shares neither SQL nor code
 * with what `/verify` does. Rows of no record are of no anchor: their tree was never decided on.
 */
export async function checkAnchors(
  clickhouse: ClickHouseClient,
  nc: NatsConnection,
  signer: Signer,
  held: ReadonlyMap<string, readonly string[]>,
  { rows, trees, records }: AnchorFindings,
): Promise<void> {
  const kept = await readRecords(nc);
  const stored = (await readRows(clickhouse)).filter((row) => kept.batches.has(row.batch_id));
  for (const [workspaceId, own] of groupedBy(stored, (row) => row.workspace_id)) {
    checkChain(workspaceId, own, held.get(workspaceId) ?? [], signer, rows);
    const newest = own.at(-1)?.id;
    if (kept.heads.get(workspaceId) !== newest)
      records.wrong(
        `${workspaceId}: its newest anchor is ${newest}, on record ${kept.heads.get(workspaceId)}`,
      );
  }
  for (const workspaceId of kept.heads.keys()) {
    records.look();
    if (!stored.some((row) => row.workspace_id === workspaceId))
      records.wrong(`${workspaceId}: it was anchored, and has no anchor`);
  }
  const byTree = groupedBy(stored, (row) => row.batch_id);
  for (const [id, batch] of kept.batches) checkTree(id, batch, byTree.get(id) ?? [], trees);
  await checkCopies(clickhouse, kept.batches, records);
}

function checkChain(
  workspaceId: string,
  anchors: readonly AnchorRow[],
  hashes: readonly string[],
  { logOrigin, keys }: Signer,
  finding: Finding,
): void {
  const leaves = hashes.map((hash) => leafHash(Buffer.from(hash, 'hex'), nativeHasher));
  let before = { size: 0, hash: '' };
  for (const anchor of anchors) {
    finding.look();
    const wrong = (what: string) => finding.wrong(`${workspaceId}: anchor ${anchor.id}: ${what}`);
    const text = openNote(anchor.checkpoint)?.text ?? '';
    const said = parseCheckpoint(text);
    const root = hexEncode(treeRoot(leaves.slice(0, anchor.size), nativeHasher));
    if (!isSignedBy(keys, logNameOf(logOrigin, workspaceId), anchor.checkpoint, nativeHasher))
      wrong('its checkpoint is not signed');
    if (said?.size !== anchor.size || hexEncode(said.root) !== root || anchor.merkle_root !== root)
      wrong('it is of another tree than its events make');
    if (anchor.events_count !== anchor.size - before.size) wrong('events_count is wrong');
    if (anchor.first_event_hash !== hashes[before.size]) wrong('first_event_hash is wrong');
    if (anchor.last_event_hash !== hashes[anchor.size - 1]) wrong('last_event_hash is wrong');
    if (anchor.previous_anchor_hash !== before.hash) wrong('it does not follow the anchor before it');
    before = { size: anchor.size, hash: nativeHasher.hex(text) };
  }
}

function checkTree(id: string, batch: AnchorBatch, anchors: readonly AnchorRow[], finding: Finding): void {
  finding.look();
  const wrong = (what: string) => finding.wrong(`anchor tree ${id}: ${what}`);
  if (anchors.length !== batch.leaves) {
    wrong(`it has ${anchors.length} of ${batch.leaves} leaves`);
    return;
  }
  const tree = anchorTree(anchors.map(({ checkpoint }) => openNote(checkpoint)?.text ?? ''));
  if (hexEncode(tree.root) !== batch.anchor_root) wrong('its leaves make another root');
  for (const anchor of anchors) {
    const leaf = tree.leaves.find(({ workspaceId }) => workspaceId === anchor.workspace_id);
    const path = leaf?.proof.path.map(hexEncode).join();
    const fits =
      anchor.anchor_root === batch.anchor_root &&
      anchor.leaf_index === leaf?.proof.leafIndex &&
      anchor.tree_size === batch.leaves &&
      anchor.path.join() === path;
    if (!fits) wrong(`the path of ${anchor.id} is another`);
  }
}

async function checkCopies(
  clickhouse: ClickHouseClient,
  batches: ReadonlyMap<string, AnchorBatch>,
  finding: Finding,
): Promise<void> {
  const copies = await select<{ id: string; status: string; tx_hash: string; block_number: number }>(
    clickhouse,
    `SELECT id, status, tx_hash, block_number FROM ${TABLES.anchorBatches} FINAL`,
  );
  for (const copy of copies) {
    finding.look();
    const record = batches.get(copy.id);
    if (record === undefined) finding.wrong(`anchor tree ${copy.id} is on no record`);
    else if (record.status === 'confirmed') {
      const { inclusion } = record;
      const fits =
        copy.status === 'confirmed' &&
        copy.tx_hash === inclusion?.tx_hash &&
        copy.block_number === inclusion.block_number;
      if (!fits)
        finding.wrong(`anchor tree ${copy.id} is confirmed, and its copy says ${JSON.stringify(copy)}`);
    }
  }
}

async function readRecords(nc: NatsConnection) {
  const bucket = await openBucket(nc, BUCKETS.anchors);
  const batches = new Map<string, AnchorBatch>();
  const heads = new Map<string, string>();
  const stops = [
    await bucket.watch((_, entry) => {
      if (entry === undefined) return;
      const batch = readAnchorBatch(entry.value);
      batches.set(batch.id, batch);
    }, BATCH_KEYS),
    await bucket.watch((key, entry) => {
      if (entry !== undefined)
        heads.set(key.slice(key.indexOf('.') + 1), readAnchorHead(entry.value).anchor_id);
    }, HEAD_KEYS),
  ];
  for (const stop of stops) await stop();
  return { batches, heads };
}

async function readRows(clickhouse: ClickHouseClient): Promise<AnchorRow[]> {
  return await select<AnchorRow>(
    clickhouse,
    `SELECT id, workspace_id, batch_id, size, events_count, merkle_root, first_event_hash, last_event_hash, checkpoint,
       previous_anchor_hash, anchor_root, leaf_index, tree_size, path
     FROM ${TABLES.anchors} FINAL ORDER BY workspace_id, period_end`,
  );
}

function groupedBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item]);
  return groups;
}

async function select<Row>(clickhouse: ClickHouseClient, query: string): Promise<Row[]> {
  return await (await clickhouse.query({ query, format: 'JSONEachRow' })).json<Row>();
}
