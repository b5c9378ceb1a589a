import { setTimeout as delay } from 'node:timers/promises';
import type { ClickHouseClient } from '@clickhouse/client';
import { readOrCreateInstall } from '../../control/install.ts';
import { isSignedBy, logNameOf, readSigningKeys, type SigningKeys } from '../../control/signing-keys.ts';
import { hexEncode } from '../../core/bytes.ts';
import { openNote, parseCheckpoint } from '../../core/checkpoint.ts';
import { tilesOfLeaves } from '../../core/tile.ts';
import { leafHash } from '../../core/tree.ts';
import { createTreeBuilder } from '../../core/tree-builder.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import { nativeHasher } from '../../infra/hash.ts';
import type { NatsConnection } from '../../infra/nats/connect.ts';
import { openBucket } from '../../infra/nats/kv.ts';
import { BUCKETS } from '../../infra/nats/names.ts';
import type { Finding } from './findings.ts';

/** What each finding is about. */
export interface TreeFindings {
  reached: Finding;
  checkpoints: Finding;
  tiles: Finding;
}

/** Who signs, as NATS tells. */
export interface Signer {
  logOrigin: string;
  keys: SigningKeys;
}

/** Undefined where nothing was ever signed: then there is no tree to look at. */
export async function readSigner(nc: NatsConnection): Promise<Signer | undefined> {
  const signing = await (await openBucket(nc, BUCKETS.signing)).get('log');
  if (signing === undefined) return undefined;
  const { log_origin } = await readOrCreateInstall(await openBucket(nc, BUCKETS.install), {});
  return { logOrigin: log_origin, keys: readSigningKeys(signing.value) };
}

/**
 * Holds every checkpoint and every tile against the hashes of the events, from which all of them are computed again.
 * `held`: by workspace, the hashes of its events in order.
 */
export async function checkTree(
  clickhouse: ClickHouseClient,
  signer: Signer,
  held: ReadonlyMap<string, readonly string[]>,
  { reached, checkpoints, tiles }: TreeFindings,
  settleMs: number,
): Promise<void> {
  for (const [workspaceId, hashes] of held) {
    const leaves = hashes.map((hash) => leafHash(Buffer.from(hash, 'hex'), nativeHasher));
    reached.look();
    const rows = await untilSigned(clickhouse, workspaceId, leaves.length, settleMs);
    const largest = rows.at(-1)?.size ?? 0;
    if (largest !== leaves.length)
      reached.wrong(`${workspaceId}: signed are ${largest} of ${leaves.length} events`);
    checkCheckpoints(workspaceId, rows, leaves, signer, checkpoints);
    await checkTiles(clickhouse, workspaceId, leaves, tiles);
  }
}

interface CheckpointRow {
  size: number;
  root: string;
  note: string;
}

async function untilSigned(
  clickhouse: ClickHouseClient,
  workspaceId: string,
  size: number,
  settleMs: number,
): Promise<CheckpointRow[]> {
  const deadline = performance.now() + settleMs;
  for (;;) {
    const rows = await select<CheckpointRow>(
      clickhouse,
      `SELECT size, root, note FROM ${TABLES.checkpoints} WHERE workspace_id = {workspaceId:String} ORDER BY size`,
      { workspaceId },
    );
    if ((rows.at(-1)?.size ?? 0) >= size || performance.now() > deadline) return rows;
    await delay(100);
  }
}

function checkCheckpoints(
  workspaceId: string,
  rows: readonly CheckpointRow[],
  leaves: readonly Uint8Array[],
  { logOrigin, keys }: Signer,
  finding: Finding,
): void {
  const name = logNameOf(logOrigin, workspaceId);
  const builder = createTreeBuilder(0, new Map(), nativeHasher);
  for (const { size, root, note } of rows) {
    finding.look();
    for (const leaf of leaves.slice(builder.size, size)) builder.append(leaf);
    const said = parseCheckpoint(openNote(note)?.text ?? '');
    const expected = hexEncode(builder.root());
    if (!isSignedBy(keys, name, note, nativeHasher)) {
      finding.wrong(`${workspaceId}: the checkpoint of ${size} is not signed`);
    }
    if (
      builder.size !== size ||
      said?.size !== size ||
      root !== expected ||
      hexEncode(said.root) !== expected
    ) {
      finding.wrong(`${workspaceId}: the checkpoint of ${size} is of another tree than its events make`);
    }
  }
}

async function checkTiles(
  clickhouse: ClickHouseClient,
  workspaceId: string,
  leaves: readonly Uint8Array[],
  finding: Finding,
): Promise<void> {
  const stored = await select<{ tile: string; hashes_hex: string }>(
    clickhouse,
    `SELECT concat(toString(level), '/', toString(tile_index)) AS tile, lower(hex(hashes)) AS hashes_hex
     FROM ${TABLES.tiles} FINAL WHERE workspace_id = {workspaceId:String}`,
    { workspaceId },
  );
  const found = new Map(stored.map(({ tile, hashes_hex }) => [tile, hashes_hex]));
  const expected = tilesOfLeaves(leaves, nativeHasher);
  for (const [tile, hashes] of expected) {
    finding.look();
    if (found.get(tile) !== hexEncode(hashes))
      finding.wrong(`${workspaceId}: tile ${tile} is not what its events make`);
  }
  for (const tile of found.keys()) {
    if (!expected.has(tile)) finding.wrong(`${workspaceId}: tile ${tile} is of no event`);
  }
}

async function select<Row>(
  clickhouse: ClickHouseClient,
  query: string,
  parameters: Record<string, unknown>,
): Promise<Row[]> {
  const answer = await clickhouse.query({ query, query_params: parameters, format: 'JSONEachRow' });
  return await answer.json<Row>();
}
