import { logNameOf } from '../../control/signing-keys.ts';
import { checkpointText, signNote } from '../../core/checkpoint.ts';
import { tilesOfLeaves } from '../../core/tile.ts';
import { leafHash, treeRoot } from '../../core/tree.ts';
import type { ClickHouseClient } from '../../infra/clickhouse/client.ts';
import { nativeHasher } from '../../infra/hash.ts';
import { clickHouseTreeStore } from '../../pipeline/tree/clickhouse-store.ts';
import type { SeededEvent } from './seed.ts';

/** Trees straight into ClickHouse, for tests of what reads them: computed in another way than the tree stage does. */

export const LOG_ORIGIN = 'log.example';

export function leavesOf(events: readonly SeededEvent[]): Uint8Array[] {
  return events.map(({ eventHash }) => leafHash(Buffer.from(eventHash, 'hex'), nativeHasher));
}

/** Stores the tiles of these events, and a checkpoint of each size, signed by `seed`. */
export async function insertTree(
  clickhouse: ClickHouseClient,
  workspaceId: string,
  events: readonly SeededEvent[],
  seed: Uint8Array,
  sizes: readonly number[] = [events.length],
): Promise<void> {
  const store = clickHouseTreeStore(clickhouse);
  const leaves = leavesOf(events);
  const tiles = [...tilesOfLeaves(leaves, nativeHasher)].map(([key, hashes]) => {
    const [level = 0, index = 0] = key.split('/').map(Number);
    return { workspaceId, level, index, width: hashes.length / 32, hashes };
  });
  await store.writeTiles(tiles);
  const name = logNameOf(LOG_ORIGIN, workspaceId);
  await store.writeCheckpoints(
    sizes.map((size) => {
      const root = treeRoot(leaves.slice(0, size), nativeHasher);
      return {
        workspaceId,
        size,
        root: Buffer.from(root).toString('hex'),
        note: signNote(checkpointText(name, size, root), { name, seed }, nativeHasher),
        cosignatures: 0,
        isWitnessed: false,
        signedAt: '2026-03-15T12:00:00.000000Z',
      };
    }),
  );
}
