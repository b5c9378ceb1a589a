import { equalBytes } from '../../core/bytes.ts';
import type { Hasher } from '../../core/hash.ts';
import { tileKey } from '../../core/tile.ts';
import type { Tile } from '../../core/tree-builder.ts';
import { type Replay, replay, TreeMismatch } from './load.ts';
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
 * the stored one. With `write`, those that are missing or wrong are written, once all was found to have the root that was
 * signed: tiles that are right are the only trace of events that are not. Throws `TreeMismatch` where an event does not
 * follow the one before, or the root is not `root`; then nothing is written.
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

  async function differing(made: readonly Tile[]): Promise<Tile[]> {
    const stored = new Map(
      (await store.tiles(workspaceId, made)).map((tile) => [tileKey(tile), tile.hashes]),
    );
    return made.filter((tile) => {
      const found = stored.get(tileKey(tile));
      return found === undefined || !equalBytes(found.subarray(0, tile.hashes.length), tile.hashes);
    });
  }

  async function makeAgain(each: (made: Tile[]) => Promise<void>, told: typeof onProgress): Promise<Replay> {
    const made = await replay(store, workspaceId, size, hasher, async (grown) => {
      for (const some of inParts(grown.takeFullTiles(), TILES_PER_READ)) await each(some);
      told(grown.size);
    });
    await each(made.builder.partialTiles());
    return made;
  }

  async function compare(made: Tile[]): Promise<void> {
    const differ = await differing(made);
    tiles += made.length;
    wrongCount += differ.length;
    wrong.push(...differ.map(tileKey).slice(0, MAX_WRONG - wrong.length));
  }

  async function mend(made: Tile[]): Promise<void> {
    await store.writeTiles((await differing(made)).map((tile) => ({ ...tile, workspaceId })));
  }

  const { builder, fromTiles } = await makeAgain(compare, onProgress);
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
  if (write && wrongCount > 0) await makeAgain(mend, () => {});
  return { size, root: found, leavesFromTiles: fromTiles, tiles, wrong, wrongCount };
}

function inParts(tiles: readonly Tile[], count: number): Tile[][] {
  const parts: Tile[][] = [];
  for (let from = 0; from < tiles.length; from += count) parts.push(tiles.slice(from, from + count));
  return parts;
}
