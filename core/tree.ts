import { concatBytes, equalBytes } from './bytes.ts';
import { ImmutableError } from './errors.ts';
import { type Hasher, portableHasher } from './hash.ts';

/**
 * RFC 6962 §2.1 Merkle trees. Everything works on leaf hashes (`leafHash` of the data), sizes and indexes being
 * whole numbers up to 2^53; nothing recurses, and what comes from outside is only ever compared and hashed.
 */

const HASH_BYTES = 32;
const LEAF_PREFIX = Uint8Array.of(0);
const NODE_PREFIX = Uint8Array.of(1);

/** `SHA-256(0x00 ‖ data)` */
export function leafHash(data: Uint8Array, hasher: Hasher = portableHasher): Uint8Array {
  return hasher.bytes(concatBytes(LEAF_PREFIX, data));
}

/** `SHA-256(0x01 ‖ left ‖ right)` */
export function nodeHash(left: Uint8Array, right: Uint8Array, hasher: Hasher = portableHasher): Uint8Array {
  return hasher.bytes(concatBytes(NODE_PREFIX, left, right));
}

/** The root of the tree; SHA-256 of nothing for the tree without leaves. */
export function treeRoot(leaves: readonly Uint8Array[], hasher: Hasher = portableHasher): Uint8Array {
  return treeLevels(leaves, hasher).at(-1)?.[0] ?? emptyRoot(hasher);
}

/**
 * Every level of the tree, leaves first, root last. A last node without a sibling goes up as it is, which is
 * the same as splitting at the largest power of two below the size; it is never doubled.
 */
export function treeLevels(leaves: readonly Uint8Array[], hasher: Hasher = portableHasher): Uint8Array[][] {
  const levels: Uint8Array[][] = [[...leaves]];
  for (let level = levels[0] ?? []; level.length > 1; ) {
    level = parents(level, hasher);
    levels.push(level);
  }
  return levels;
}

function parents(level: readonly Uint8Array[], hasher: Hasher): Uint8Array[] {
  const above: Uint8Array[] = [];
  for (let index = 0; index < level.length; index += 2) {
    const [left, right] = [level[index], level[index + 1]];
    if (left !== undefined) above.push(right === undefined ? left : nodeHash(left, right, hasher));
  }
  return above;
}

function emptyRoot(hasher: Hasher): Uint8Array {
  return hasher.bytes(new Uint8Array());
}

/** The audit path of a leaf (RFC 6962 §2.1.1), nearest sibling first. Throws `internal` for a leaf that is not there. */
export function inclusionPath(
  leaves: readonly Uint8Array[],
  leafIndex: number,
  hasher: Hasher = portableHasher,
): Uint8Array[] {
  return inclusionPathIn(treeLevels(leaves, hasher), leafIndex);
}

/** `inclusionPath` for many leaves of one tree, from its levels. */
export function inclusionPathIn(levels: readonly (readonly Uint8Array[])[], leafIndex: number): Uint8Array[] {
  if (levels[0]?.[leafIndex] === undefined)
    throw new ImmutableError('internal', `the tree has no leaf ${leafIndex}`);
  const path: Uint8Array[] = [];
  let index = leafIndex;
  for (const level of levels) {
    const sibling = level[index % 2 === 0 ? index + 1 : index - 1];
    if (sibling !== undefined) path.push(sibling);
    index = Math.floor(index / 2);
  }
  return path;
}

/**
 * The consistency proof from the tree of the first `first` leaves to the tree of all (RFC 6962 §2.1.2).
 * Empty where `first` is 0 or all. Throws `internal` for a `first` beyond the tree.
 */
export function consistencyPath(
  leaves: readonly Uint8Array[],
  first: number,
  hasher: Hasher = portableHasher,
): Uint8Array[] {
  if (!Number.isInteger(first) || first < 0 || first > leaves.length) {
    throw new ImmutableError('internal', `the tree has no first ${first} leaves`);
  }
  if (first === 0) return [];
  const path: Uint8Array[] = [];
  let [start, end] = [0, leaves.length];
  while (first < end) {
    const split = start + largestPowerOfTwoBelow(end - start);
    if (first <= split) {
      path.push(treeRoot(leaves.slice(split, end), hasher));
      end = split;
    } else {
      path.push(treeRoot(leaves.slice(start, split), hasher));
      start = split;
    }
  }
  // The old root itself is known to the verifier, any other subtree it ends with is not.
  if (start > 0) path.push(treeRoot(leaves.slice(start, end), hasher));
  return path.reverse();
}

function largestPowerOfTwoBelow(size: number): number {
  let power = 1;
  while (2 * power < size) power *= 2;
  return power;
}

export interface InclusionProof {
  leafIndex: number;
  treeSize: number;
  path: readonly Uint8Array[];
}

/** Whether `leaf` (a leaf hash) stands at `leafIndex` in the tree with this size and root (RFC 9162 §2.1.3.2). */
export function verifyInclusion(
  leaf: Uint8Array,
  { leafIndex, treeSize, path }: InclusionProof,
  root: Uint8Array,
  hasher: Hasher = portableHasher,
): boolean {
  if (!isCount(leafIndex) || !isCount(treeSize) || leafIndex >= treeSize) return false;
  if (![leaf, root, ...path].every(isHash)) return false;
  let hash = leaf;
  let at: Place = { index: leafIndex, last: treeSize - 1 };
  for (const sibling of path) {
    if (at.last === 0) return false;
    if (isRightChild(at)) {
      hash = nodeHash(sibling, hash, hasher);
      at = parent(skipLonelyLevels(at));
    } else {
      hash = nodeHash(hash, sibling, hasher);
      at = parent(at);
    }
  }
  return at.last === 0 && equalBytes(hash, root);
}

export interface ConsistencyProof {
  firstSize: number;
  secondSize: number;
  path: readonly Uint8Array[];
}

/** Whether the tree with the second root begins with all leaves of the tree with the first (RFC 9162 §2.1.4.2). */
export function verifyConsistency(
  { firstSize, secondSize, path }: ConsistencyProof,
  firstRoot: Uint8Array,
  secondRoot: Uint8Array,
  hasher: Hasher = portableHasher,
): boolean {
  if (!isCount(firstSize) || !isCount(secondSize) || firstSize > secondSize) return false;
  if (![firstRoot, secondRoot, ...path].every(isHash)) return false;
  if (firstSize === 0 && !equalBytes(firstRoot, emptyRoot(hasher))) return false;
  if (firstSize === secondSize) return path.length === 0 && equalBytes(firstRoot, secondRoot);
  if (firstSize === 0) return path.length === 0;
  return climbToBothRoots(firstSize, secondSize, path, firstRoot, secondRoot, hasher);
}

function climbToBothRoots(
  firstSize: number,
  secondSize: number,
  path: readonly Uint8Array[],
  firstRoot: Uint8Array,
  secondRoot: Uint8Array,
  hasher: Hasher,
): boolean {
  // A complete first tree is itself the node to begin with, and so is not sent.
  const [start, ...siblings] = isPowerOfTwo(firstSize) ? [firstRoot, ...path] : path;
  if (start === undefined || path.length === 0) return false;
  let [first, second] = [start, start];
  let at: Place = { index: firstSize - 1, last: secondSize - 1 };
  while (at.index % 2 === 1) at = parent(at);
  for (const sibling of siblings) {
    if (at.last === 0) return false;
    if (isRightChild(at)) {
      first = nodeHash(sibling, first, hasher);
      second = nodeHash(sibling, second, hasher);
      at = parent(skipLonelyLevels(at));
    } else {
      second = nodeHash(second, sibling, hasher);
      at = parent(at);
    }
  }
  return at.last === 0 && equalBytes(first, firstRoot) && equalBytes(second, secondRoot);
}

/** A node by its index within its level, and the index of the last node there. */
interface Place {
  index: number;
  last: number;
}

/** Halved by division, since bit operators cut numbers to 32 bits. */
function parent({ index, last }: Place): Place {
  return { index: Math.floor(index / 2), last: Math.floor(last / 2) };
}

/** The next hash of a path comes from the left: the node is a right child, or a last one that was lifted. */
function isRightChild({ index, last }: Place): boolean {
  return index % 2 === 1 || index === last;
}

/** Up to the level where a last node without sibling finds one. */
function skipLonelyLevels(place: Place): Place {
  let at = place;
  while (at.index % 2 === 0 && at.index !== 0) at = parent(at);
  return at;
}

function isPowerOfTwo(size: number): boolean {
  let rest = size;
  while (rest % 2 === 0) rest /= 2;
  return rest === 1;
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function isHash(value: Uint8Array): boolean {
  return value.length === HASH_BYTES;
}
