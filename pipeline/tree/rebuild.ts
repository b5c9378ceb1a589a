import { equalBytes } from '../../core/bytes.ts';
import type { Hasher } from '../../core/hash.ts';
import { tileKey } from '../../core/tile.ts';
import type { Tile, TreeBuilder } from '../../core/tree-builder.ts';
import { replay, TreeMismatch } from './load.ts';
import type { TreeStore } from './store.ts';

/** What a workspace's tree was found to be, made again from its events. */
export interface Rebuilt {
  size: number;
  /** Hex. */
  root: string;
  /** Leaves that came from tiles, since retention has removed their events. */
  leavesFromTiles: number;
  tiles: number;
  /** Tiles that were missing or wrong, by name; the first hundred. */
  wrong: string[];
  wrongCount: number;
}

const MAX_WRONG = 100;
const TILES_PER_READ = 200;

/**
 * Makes the tree of a workspace's first `size` events again from their hashes alone, and compares each of its tiles with
 * the stored one. With `write`, those that are missing or wrong are written. Throws `TreeMismatch` where an event does
 * not follow the one before, or the root is not `root`: then nothing more is written.
 */
export async function rebuildTree(
  store: TreeStore,
  workspaceId: string,
  { size, root, write }: { size: number; root: string; write: boolean },
  hasher: Hasher,
  onProgress: (leaves: number) => void = () => {},
): Promise<Rebuilt> {
  const wrong: string[] = [];
  let wrongCount = 0;
  let tiles = 0;

  async function compare(made: readonly Tile[]): Promise<void> {
    for (let from = 0; from < made.length; from += TILES_PER_READ) {
      const some = made.slice(from, from + TILES_PER_READ);
      const stored = new Map(
        (await store.tiles(workspaceId, some)).map((tile) => [tileKey(tile), tile.hashes]),
      );
      const differing = some.filter(({ hashes, ...name }) => {
        const found = stored.get(tileKey(name));
        return found === undefined || !equalBytes(found.subarray(0, hashes.length), hashes);
      });
      tiles += some.length;
      wrongCount += differing.length;
      wrong.push(...differing.map(tileKey).slice(0, MAX_WRONG - wrong.length));
      if (write) await store.writeTiles(differing.map((tile) => ({ ...tile, workspaceId })));
    }
  }

  const { builder, fromTiles } = await replay(
    store,
    workspaceId,
    size,
    hasher,
    async (grown: TreeBuilder) => {
      await compare(grown.takeFullTiles());
      onProgress(grown.size);
    },
  );
  await compare([...builder.takeFullTiles(), ...builder.partialTiles()]);
  const found = Buffer.from(builder.root()).toString('hex');
  if (builder.size !== size || found !== root) {
    throw new TreeMismatch(
      workspaceId,
      `The first ${size} events are not those whose checkpoint was signed.`,
      {
        signed_root: root,
        found_root: found,
        found_size: builder.size,
      },
    );
  }
  return { size, root: found, leavesFromTiles: fromTiles, tiles, wrong, wrongCount };
}
