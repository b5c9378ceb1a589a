import type { CheckpointRecord } from '../../../control/checkpoints.ts';
import type { QueuedEvent } from '../../../core/message.ts';
import { tilesOfLeaves } from '../../../core/tile.ts';
import { leafHash, treeRoot } from '../../../core/tree.ts';
import { nativeHasher } from '../../../infra/hash.ts';
import { memoryStore } from '../../chain/testing/memory-store.ts';
import { chainOf, readSample, SAMPLE_EPOCH, sampleEvent } from '../../chain/testing/sample.ts';
import { memoryTreeStore } from './memory-store.ts';

export const A = 'ws_00000000000000a1';
const SOURCE = { partition: 0, epoch: SAMPLE_EPOCH };

export function hexTiles(tiles: ReadonlyMap<string, Uint8Array>): Map<string, string> {
  return new Map([...tiles].sort().map(([key, hashes]) => [key, Buffer.from(hashes).toString('hex')]));
}

/** A workspace of `count` events, signed when it had `signed`, whose tiles are stored. */
export function signedLog(count: number, signed = count) {
  const events = memoryStore();
  const store = memoryTreeStore(() => events.rows);
  // One and the same, since only its place in the chain matters here.
  const sample = Array<QueuedEvent>(count).fill(sampleEvent(A));
  const rows = chainOf(SOURCE, [readSample(1, A, sample)]);
  events.put(SOURCE, rows);
  const leaves = rows
    .slice(0, signed)
    .map((row) => leafHash(Buffer.from(row.eventHash, 'hex'), nativeHasher));
  const tiles = tilesOfLeaves(leaves, nativeHasher);
  for (const [key, hashes] of tiles) {
    const [level = 0, index = 0] = key.split('/').map(Number);
    store.tileRows.push({ workspaceId: A, level, index, width: hashes.length / 32, hashes: hashes.slice() });
  }
  const last: CheckpointRecord = {
    size: signed,
    root: Buffer.from(treeRoot(leaves, nativeHasher)).toString('hex'),
    note: '',
    signed_at: '',
    last_created_at: rows[signed - 1]?.createdAt ?? '',
    last_event_hash: rows[signed - 1]?.eventHash ?? '',
  };
  /** As retention does. */
  function archive(below: number): void {
    const stored = events.rows as unknown as { seq: number }[];
    stored.splice(0, stored.length, ...stored.filter(({ seq }) => seq >= below));
  }
  return { store, events, rows, tiles, last, archive };
}
