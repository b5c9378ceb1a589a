import { concatBytes } from './bytes.ts';
import { ImmutableError } from './errors.ts';
import { type Hasher, portableHasher } from './hash.ts';
import { treeLevels } from './tree.ts';

/**
 * C2SP tlog-tiles: a tree is kept as tiles of up to 256 hashes, each tile eight levels high. Tile `n` of level `l`
 * holds the roots of the complete subtrees of 256^l leaves, from the (256 n)th on. A tile that is not full is
 * the beginning of the one it will become, so whoever has a wider one has the narrower ones too.
 *
 * Proofs are computed in two steps: a plan names the ranges of leaves whose hashes are wanted, from which follows
 * which tiles must be fetched (a few, however large the tree); then the hashes are taken from these.
 */

export const TILE_WIDTH = 256;
const TILE_HEIGHT = 8;
const HASH_BYTES = 32;

export interface TileName {
  /** 0 for tiles of leaf hashes. */
  level: number;
  index: number;
  /** How many hashes it has: 256 for a full one. */
  width: number;
}

/** `tile/0/x001/x234/067`, or `tile/0/x001/x234/067.p/5` for one of five hashes. */
export function tilePath({ level, index, width }: TileName): string {
  return `tile/${level}/${indexPath(index)}${width === TILE_WIDTH ? '' : `.p/${width}`}`;
}

function indexPath(index: number): string {
  let path = String(index % 1000).padStart(3, '0');
  for (let rest = Math.floor(index / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    path = `x${String(rest % 1000).padStart(3, '0')}/${path}`;
  }
  return path;
}

/** A bundle of what the leaves are hashes of, rather than a tile of hashes; `level` is 0. */
export interface EntriesName {
  kind: 'entries';
  index: number;
  width: number;
}

/** What a path of `tilePath`, or `tile/entries/…`, names; null for anything but its one spelling. */
export function parseTilePath(path: string): ({ kind: 'tile' } & TileName) | EntriesName | null {
  const [, place = '', indexText = '', widthText] = TILE_PATH.exec(path) ?? [];
  if (place === '') return null;
  const index = Number(indexText.replaceAll(/[x/]/g, ''));
  const width = widthText === undefined ? TILE_WIDTH : Number(widthText);
  if (!Number.isSafeInteger(index) || indexPath(index) !== indexText) return null;
  if (place === 'entries') return { kind: 'entries', index, width };
  return Number(place) < MAX_LEVELS ? { kind: 'tile', level: Number(place), index, width } : null;
}

const TILE_PATH =
  /^tile\/(0|[1-9]\d?|entries)\/((?:x\d{3}\/){0,5}\d{3})(?:\.p\/([1-9]|[1-9]\d|1\d\d|2[0-4]\d|25[0-5]))?$/;
const MAX_LEVELS = 64;

/** How many hashes the tile has in a tree of `treeSize` leaves; 0 if it is not there. */
export function tileWidth({ level, index }: Pick<TileName, 'level' | 'index'>, treeSize: number): number {
  const hashes = Math.floor(treeSize / TILE_WIDTH ** level);
  return Math.max(0, Math.min(TILE_WIDTH, hashes - index * TILE_WIDTH));
}

/** The tiles at the right edge of a tree: the partial one of each level, lowest first. None for a size of 0. */
export function edgeTiles(treeSize: number): TileName[] {
  const tiles: TileName[] = [];
  for (let level = 0, hashes = treeSize; hashes > 0; level += 1) {
    const width = hashes % TILE_WIDTH;
    hashes = Math.floor(hashes / TILE_WIDTH);
    if (width > 0) tiles.push({ level, index: hashes, width });
  }
  return tiles;
}

/** Leaves from `start` up to, not including, `end`: a whole subtree, or what is at the right edge of the tree. */
export interface LeafRange {
  start: number;
  end: number;
}

/** The ranges whose hashes are the audit path of a leaf (RFC 6962 §2.1.1), nearest sibling first. */
export function inclusionRanges(leafIndex: number, treeSize: number): LeafRange[] {
  requireSize(treeSize);
  if (!Number.isSafeInteger(leafIndex) || leafIndex < 0 || leafIndex >= treeSize) {
    throw new ImmutableError('internal', `a tree of ${treeSize} has no leaf ${leafIndex}`);
  }
  const ranges: LeafRange[] = [];
  let [start, end] = [0, treeSize];
  while (end - start > 1) {
    const split = start + largestPowerOfTwoBelow(end - start);
    if (leafIndex < split) {
      ranges.push({ start: split, end });
      end = split;
    } else {
      ranges.push({ start, end: split });
      start = split;
    }
  }
  return ranges.reverse();
}

/** The ranges whose hashes are the consistency proof between two sizes (RFC 6962 §2.1.2). */
export function consistencyRanges(first: number, second: number): LeafRange[] {
  requireSize(second);
  if (!Number.isSafeInteger(first) || first < 0 || first > second) {
    throw new ImmutableError('internal', `a tree of ${second} has no first ${first} leaves`);
  }
  if (first === 0) return [];
  const ranges: LeafRange[] = [];
  let [start, end] = [0, second];
  while (first < end) {
    const split = start + largestPowerOfTwoBelow(end - start);
    if (first <= split) {
      ranges.push({ start: split, end });
      end = split;
    } else {
      ranges.push({ start, end: split });
      start = split;
    }
  }
  if (start > 0) ranges.push({ start, end });
  return ranges.reverse();
}

function requireSize(treeSize: number): void {
  if (!Number.isSafeInteger(treeSize) || treeSize < 0) {
    throw new ImmutableError('internal', `${treeSize} is not the size of a tree`);
  }
}

function largestPowerOfTwoBelow(size: number): number {
  let power = 1;
  while (2 * power < size) power *= 2;
  return power;
}

/** The root of a complete subtree of 2^height leaves, the `index`-th of its height. */
interface Node {
  height: number;
  index: number;
}

/** A range as complete subtrees, from left to right, each smaller than the one before. */
function nodesOf({ start, end }: LeafRange): Node[] {
  const nodes: Node[] = [];
  for (let from = start; from < end; ) {
    let [height, leaves] = [0, 1];
    while (from % (2 * leaves) === 0 && from + 2 * leaves <= end) {
      height += 1;
      leaves *= 2;
    }
    nodes.push({ height, index: from / leaves });
    from += leaves;
  }
  return nodes;
}

/** Where the hashes stand that a node is the root of: `count` of them in a tile, from `first` on. */
function placeOf({ height, index }: Node): { level: number; tile: number; first: number; count: number } {
  const level = Math.floor(height / TILE_HEIGHT);
  const count = 2 ** (height - level * TILE_HEIGHT);
  const tile = Math.floor((index * count) / TILE_WIDTH);
  return { level, tile, first: index * count - tile * TILE_WIDTH, count };
}

/** The tiles to fetch for the hashes of these ranges in a tree of `treeSize`, as wide as they are in that tree. */
export function tilesOf(ranges: readonly LeafRange[], treeSize: number): TileName[] {
  const tiles = new Map<string, TileName>();
  for (const node of ranges.flatMap(nodesOf)) {
    const { level, tile } = placeOf(node);
    const name = { level, index: tile, width: tileWidth({ level, index: tile }, treeSize) };
    tiles.set(tileKey(name), name);
  }
  return [...tiles.values()];
}

/** Names a tile whatever its width, for maps. */
export function tileKey({ level, index }: Pick<TileName, 'level' | 'index'>): string {
  return `${level}/${index}`;
}

/** The hashes of fetched tiles, one after another, by `tileKey`; they may be wider than was asked for, and never change. */
export type Tiles = ReadonlyMap<string, Uint8Array>;

/** The hash of each range. Throws `internal` where a tile that `tilesOf` names is missing or too narrow. */
export function rangeHashes(
  ranges: readonly LeafRange[],
  tiles: Tiles,
  hasher: Hasher = portableHasher,
): Uint8Array[] {
  return ranges.map((range) =>
    joinSubtrees(
      nodesOf(range).map((node) => nodeIn(tiles, node, hasher)),
      hasher,
    ),
  );
}

/** The root of the tree of the first `treeSize` leaves. */
export function rootIn(tiles: Tiles, treeSize: number, hasher: Hasher = portableHasher): Uint8Array {
  if (treeSize === 0) return hasher.bytes(new Uint8Array());
  const [root] = rangeHashes([{ start: 0, end: treeSize }], tiles, hasher);
  if (root === undefined) throw new ImmutableError('internal', 'a tree with leaves has a root');
  return root;
}

/** The tiles that `rootIn` needs. */
export function rootTiles(treeSize: number): TileName[] {
  return tilesOf([{ start: 0, end: treeSize }], treeSize);
}

function nodeIn(tiles: Tiles, node: Node, hasher: Hasher): Uint8Array {
  const { level, tile, first, count } = placeOf(node);
  const hashes = tiles.get(tileKey({ level, index: tile }));
  if (hashes === undefined || hashes.length < (first + count) * HASH_BYTES) {
    throw new ImmutableError('internal', `tile ${tileKey({ level, index: tile })} is missing or too narrow`);
  }
  if (level > 0 && hashes.length === TILE_WIDTH * HASH_BYTES) {
    const nodes = levelsOf(hashes, hasher)[Math.log2(count)] ?? hashes;
    return nodes.slice((first / count) * HASH_BYTES, (first / count + 1) * HASH_BYTES);
  }
  return subtreeRoot(hashes.subarray(first * HASH_BYTES, (first + count) * HASH_BYTES), hasher);
}

/** Of full tiles above the leaves, as long as somebody has them: they are few, and serve one proof after another. */
const knownLevels = new WeakMap<Uint8Array, Uint8Array[]>();

/** The hashes of a full tile, and the eight levels above them. */
function levelsOf(hashes: Uint8Array, hasher: Hasher): Uint8Array[] {
  const known = knownLevels.get(hashes);
  if (known !== undefined) return known;
  const levels = [hashes];
  for (let below = hashes; below.length > HASH_BYTES; ) {
    below = pairsHashed(below, hasher);
    levels.push(below);
  }
  knownLevels.set(hashes, levels);
  return levels;
}

/** The root over hashes that stand one after another: of a full tile, of part of one. */
export function subtreeRoot(hashes: Uint8Array, hasher: Hasher = portableHasher): Uint8Array {
  let level = hashes;
  while (level.length > HASH_BYTES) level = pairsHashed(level, hasher);
  return level.slice();
}

/** A last hash without a sibling goes up as it is. */
function pairsHashed(level: Uint8Array, hasher: Hasher): Uint8Array {
  const pairs = Math.floor(level.length / (2 * HASH_BYTES));
  const above = new Uint8Array((pairs + (level.length % (2 * HASH_BYTES) === 0 ? 0 : 1)) * HASH_BYTES);
  const node = new Uint8Array(1 + 2 * HASH_BYTES);
  node[0] = 1;
  for (let pair = 0; pair < pairs; pair += 1) {
    node.set(level.subarray(2 * pair * HASH_BYTES, (2 * pair + 2) * HASH_BYTES), 1);
    above.set(hasher.bytes(node), pair * HASH_BYTES);
  }
  if (pairs * HASH_BYTES < above.length)
    above.set(level.subarray(2 * pairs * HASH_BYTES), pairs * HASH_BYTES);
  return above;
}

/** Each of these is smaller than the one before, so they join from the right. */
function joinSubtrees(roots: readonly Uint8Array[], hasher: Hasher): Uint8Array {
  return roots.reduceRight((right, left) => subtreeRoot(concatBytes(left, right), hasher));
}

/** The tiles of a tree whose leaf hashes are all at hand, full ones and those at the edge: for tests and small trees. */
export function tilesOfLeaves(
  leaves: readonly Uint8Array[],
  hasher: Hasher = portableHasher,
): Map<string, Uint8Array> {
  const tiles = new Map<string, Uint8Array>();
  const levels = treeLevels(leaves, hasher);
  for (let level = 0, count = leaves.length; count > 0; level += 1, count = Math.floor(count / TILE_WIDTH)) {
    const hashes = (levels[level * TILE_HEIGHT] ?? []).slice(0, count);
    for (let index = 0; index * TILE_WIDTH < count; index += 1) {
      const tile = hashes.slice(index * TILE_WIDTH, (index + 1) * TILE_WIDTH);
      tiles.set(tileKey({ level, index }), concatBytes(...tile));
    }
  }
  return tiles;
}
