import { equalBytes } from './bytes.ts';
import { ImmutableError } from './errors.ts';
import { type Hasher, portableHasher } from './hash.ts';
import { edgeTiles, subtreeRoot, TILE_WIDTH, type TileName, type Tiles, tileKey } from './tile.ts';
import { nodeHash } from './tree.ts';

const HASH_BYTES = 32;

export interface Tile extends TileName {
  /** 32 bytes each. */
  hashes: Uint8Array;
}

/**
 * A tree that grows leaf by leaf and keeps only its right edge: at most 255 hashes of each level of tiles, so
 * a few kilobytes whatever its size.
 */
export interface TreeBuilder {
  readonly size: number;
  /** `leaf`: a leaf hash. */
  append(leaf: Uint8Array): void;
  /** The root of what was appended so far; of nothing, SHA-256 of nothing. */
  root(): Uint8Array;
  /** The tiles that were completed since this was asked last, lowest level first within each moment. */
  takeFullTiles(): Tile[];
  /** The tiles at the edge as they are now, none of them full. */
  partialTiles(): Tile[];
}

/**
 * A builder that goes on from a tree of `size` leaves, of which `tiles` has the edge (`edgeTiles(size)`; wider ones
 * serve too). Throws `internal` where one of them is missing.
 */
export function createTreeBuilder(
  size = 0,
  tiles: Tiles = new Map(),
  hasher: Hasher = portableHasher,
): TreeBuilder {
  const edge: EdgeTile[] = [];
  for (const { level, index, width } of edgeTiles(size)) {
    const hashes = tiles.get(tileKey({ level, index }))?.subarray(0, width * HASH_BYTES);
    if (hashes?.length !== width * HASH_BYTES) {
      throw new ImmutableError(
        'internal',
        `the tile ${tileKey({ level, index })} of a tree of ${size} is missing`,
      );
    }
    const tile = edgeAt(level);
    tile.hashes.set(hashes);
    tile.width = width;
  }
  let leaves = size;
  let full: Tile[] = [];

  function edgeAt(level: number): EdgeTile {
    while (edge.length <= level) edge.push({ hashes: new Uint8Array(TILE_WIDTH * HASH_BYTES), width: 0 });
    const tile = edge[level];
    if (tile === undefined) throw new ImmutableError('internal', `the edge has no level ${level}`);
    return tile;
  }

  /** `leaves` counts the new one already. */
  function add(level: number, hash: Uint8Array): void {
    const tile = edgeAt(level);
    tile.hashes.set(hash, tile.width * HASH_BYTES);
    tile.width += 1;
    if (tile.width < TILE_WIDTH) return;
    const index = Math.floor(leaves / TILE_WIDTH ** (level + 1)) - 1;
    full.push({ level, index, width: TILE_WIDTH, hashes: tile.hashes });
    const root = subtreeRoot(tile.hashes, hasher);
    edge[level] = { hashes: new Uint8Array(TILE_WIDTH * HASH_BYTES), width: 0 };
    add(level + 1, root);
  }

  return {
    get size() {
      return leaves;
    },
    append(leaf) {
      leaves += 1;
      add(0, leaf);
    },
    root() {
      let root: Uint8Array | undefined;
      for (const { hashes, width } of edge) {
        for (const subtree of completeSubtrees(hashes.subarray(0, width * HASH_BYTES), hasher)) {
          root = root === undefined ? subtree : nodeHash(subtree, root, hasher);
        }
      }
      return root ?? hasher.bytes(new Uint8Array());
    },
    takeFullTiles() {
      const taken = full;
      full = [];
      return taken;
    },
    partialTiles() {
      return edge.flatMap(({ hashes, width }, level) =>
        width === 0
          ? []
          : [
              {
                level,
                index: Math.floor(leaves / TILE_WIDTH ** (level + 1)),
                width,
                hashes: hashes.slice(0, width * HASH_BYTES),
              },
            ],
      );
    },
  };
}

interface EdgeTile {
  hashes: Uint8Array;
  /** How many of the hashes are there. */
  width: number;
}

/** The roots of the complete subtrees that hashes of one level make up, the rightmost and smallest first. */
function completeSubtrees(hashes: Uint8Array, hasher: Hasher): Uint8Array[] {
  const roots: Uint8Array[] = [];
  let end = hashes.length / HASH_BYTES;
  for (let size = 1; end > 0; size *= 2) {
    if (end % (2 * size) === 0) continue;
    roots.push(subtreeRoot(hashes.subarray((end - size) * HASH_BYTES, end * HASH_BYTES), hasher));
    end -= size;
  }
  return roots;
}

/** Whether what was built has this size and root. */
export function isTree(builder: TreeBuilder, size: number, root: Uint8Array): boolean {
  return builder.size === size && equalBytes(builder.root(), root);
}
