import { equalBytes } from './bytes.ts';
import { type Hasher, portableHasher } from './hash.ts';
import {
  edgeTiles,
  rootIn,
  subtreeRoot,
  TILE_WIDTH,
  type TileName,
  type Tiles,
  tileKey,
  tilePath,
  tileWidth,
} from './tile.ts';

const HASH_BYTES = 32;
/** Tiles of leaves that are asked for before they are needed. */
const READ_AHEAD = 8;

/** The hashes of a tile, at least as many as its width; undefined where there is none. */
export type FetchTile = (name: TileName) => Promise<Uint8Array | undefined>;

/** Tiles that do not belong to the tree they should; the message names one and says why. */
export class WrongTile extends Error {}

/**
 * Reads tiles of the tree with a known root and believes none of them: each full tile is hashed and compared with
 * its place in the tile above, up to the tiles at the edge, which together make the root.
 */
export interface TileReader {
  /** The hashes of a tile of leaves. Fastest in order. Throws `WrongTile`. */
  leaves(index: number): Promise<Uint8Array>;
  /** Tiles by `tileKey`, each checked. Throws `WrongTile`. */
  read(names: readonly Pick<TileName, 'level' | 'index'>[]): Promise<Tiles>;
}

/** Throws `WrongTile` where the tiles at the edge do not make the root. */
export async function openTileReader(
  fetchTile: FetchTile,
  { size, root }: { size: number; root: Uint8Array },
  hasher: Hasher = portableHasher,
): Promise<TileReader> {
  const edge = new Map<string, Uint8Array>();
  for (const name of edgeTiles(size)) edge.set(tileKey(name), await fetchWhole(name));
  if (!equalBytes(rootIn(edge, size, hasher), root)) {
    const names = edgeTiles(size).map(tilePath).join(', ');
    throw new WrongTile(`the tiles at the edge do not make the root of the checkpoint (${names})`);
  }
  /** The one read last of each level: who reads in order needs no other again. */
  const latest = new Map<number, { index: number; hashes: Uint8Array }>();
  const ahead = new Map<number, Promise<Uint8Array | undefined>>();

  async function fetchWhole(name: TileName): Promise<Uint8Array> {
    return whole(name, await fetchTile(name));
  }

  function whole(name: TileName, hashes: Uint8Array | undefined): Uint8Array {
    if (hashes === undefined) throw new WrongTile(`${tilePath(name)} is missing`);
    if (hashes.length < name.width * HASH_BYTES || hashes.length > TILE_WIDTH * HASH_BYTES) {
      throw new WrongTile(`${tilePath(name)} has ${hashes.length} bytes, not ${name.width * HASH_BYTES}`);
    }
    return hashes.subarray(0, name.width * HASH_BYTES);
  }

  async function tile(level: number, index: number): Promise<Uint8Array> {
    const atEdge = edge.get(tileKey({ level, index }));
    if (atEdge !== undefined) return atEdge;
    const kept = latest.get(level);
    if (kept?.index === index) return kept.hashes;
    const name = { level, index, width: TILE_WIDTH };
    const hashes = level === 0 ? whole(name, await leavesAhead(index)) : await fetchWhole(name);
    const above = await tile(level + 1, Math.floor(index / TILE_WIDTH));
    const place = (index % TILE_WIDTH) * HASH_BYTES;
    if (!equalBytes(subtreeRoot(hashes, hasher), above.subarray(place, place + HASH_BYTES))) {
      throw new WrongTile(`${tilePath(name)} is not the one that the tile above was made of`);
    }
    latest.set(level, { index, hashes });
    return hashes;
  }

  function leavesAhead(index: number): Promise<Uint8Array | undefined> {
    const wanted = ahead.get(index) ?? fetchTile({ level: 0, index, width: TILE_WIDTH });
    const isInOrder = ahead.has(index) || index === 0 || latest.get(0)?.index === index - 1;
    ahead.delete(index);
    if (!isInOrder) ahead.clear();
    for (let next = index + 1; next <= index + READ_AHEAD; next += 1) {
      if (ahead.has(next) || tileWidth({ level: 0, index: next }, size) < TILE_WIDTH) continue;
      const begun = fetchTile({ level: 0, index: next, width: TILE_WIDTH });
      begun.catch(() => {}); // told when it is waited for
      ahead.set(next, begun);
    }
    return wanted;
  }

  return {
    leaves: (index) => tile(0, index),
    async read(names) {
      const tiles = new Map<string, Uint8Array>();
      for (const { level, index } of names) tiles.set(tileKey({ level, index }), await tile(level, index));
      return tiles;
    },
  };
}
