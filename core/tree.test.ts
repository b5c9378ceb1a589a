import { describe, expect, test } from 'vitest';
import vectors from '../test/vectors/integrity-v1.json' with { type: 'json' };
import { concatBytes, hexDecode, hexEncode } from './bytes.ts';
import { ImmutableError } from './errors.ts';
import { portableHasher } from './hash.ts';
import {
  consistencyPath,
  inclusionPath,
  inclusionPathIn,
  leafHash,
  treeLevels,
  treeRoot,
  verifyConsistency,
  verifyInclusion,
} from './tree.ts';

const LEAVES = vectors.tree.leaves.map((hash) => leafHash(bytes(hash)));
const ROOTS = new Map(vectors.tree.roots.map(({ tree_size, root }) => [tree_size, bytes(root)]));

function bytes(hex: string): Uint8Array {
  const data = hexDecode(hex);
  if (data === null) throw new Error(`no hex: ${hex}`);
  return data;
}

function rootOf(size: number): Uint8Array {
  return ROOTS.get(size) ?? new Uint8Array();
}

describe('vectors', () => {
  test.each(vectors.tree.roots)('the root of $tree_size leaves', ({ tree_size, root }) => {
    expect(hexEncode(treeRoot(LEAVES.slice(0, tree_size)))).toBe(root);
  });

  test.each(vectors.tree.inclusion)('leaf $leaf_index of $tree_size', ({ tree_size, leaf_index, path }) => {
    expect(inclusionPath(LEAVES.slice(0, tree_size), leaf_index).map(hexEncode)).toEqual(path);
    const proof = { leafIndex: leaf_index, treeSize: tree_size, path: path.map(bytes) };
    expect(verifyInclusion(LEAVES[leaf_index]!, proof, rootOf(tree_size))).toBe(true);
  });

  test.each(vectors.tree.consistency)('from $first to $second', ({ first, second, path }) => {
    expect(consistencyPath(LEAVES.slice(0, second), first).map(hexEncode)).toEqual(path);
    const proof = { firstSize: first, secondSize: second, path: path.map(bytes) };
    expect(verifyConsistency(proof, rootOf(first), rootOf(second))).toBe(true);
  });
});

/** RFC 6962 §2.1, word for word. */
const reference = {
  root(leaves: Uint8Array[]): Uint8Array {
    if (leaves.length === 0) return portableHasher.bytes(new Uint8Array());
    if (leaves.length === 1) return leaves[0]!;
    const k = reference.split(leaves.length);
    const [left, right] = [reference.root(leaves.slice(0, k)), reference.root(leaves.slice(k))];
    return portableHasher.bytes(concatBytes(Uint8Array.of(1), left, right));
  },
  path(m: number, leaves: Uint8Array[]): Uint8Array[] {
    if (leaves.length === 1) return [];
    const k = reference.split(leaves.length);
    return m < k
      ? [...reference.path(m, leaves.slice(0, k)), reference.root(leaves.slice(k))]
      : [...reference.path(m - k, leaves.slice(k)), reference.root(leaves.slice(0, k))];
  },
  subproof(m: number, leaves: Uint8Array[], b: boolean): Uint8Array[] {
    if (m === leaves.length) return b ? [] : [reference.root(leaves)];
    const k = reference.split(leaves.length);
    return m <= k
      ? [...reference.subproof(m, leaves.slice(0, k), b), reference.root(leaves.slice(k))]
      : [...reference.subproof(m - k, leaves.slice(k), false), reference.root(leaves.slice(0, k))];
  },
  split(size: number): number {
    let k = 1;
    while (k * 2 < size) k *= 2;
    return k;
  },
};

test('every root, path and proof up to 20 leaves is that of the RFC, and verifies', () => {
  for (let size = 1; size <= 20; size += 1) {
    const leaves = LEAVES.slice(0, size);
    const root = reference.root(leaves);
    expect(treeRoot(leaves)).toEqual(root);
    for (let index = 0; index < size; index += 1) {
      const path = inclusionPath(leaves, index);
      expect(path).toEqual(reference.path(index, leaves));
      expect(verifyInclusion(leaves[index]!, { leafIndex: index, treeSize: size, path }, root)).toBe(true);
    }
    for (let first = 1; first <= size; first += 1) {
      const path = consistencyPath(leaves, first);
      expect(path).toEqual(reference.subproof(first, leaves, true));
      const proof = { firstSize: first, secondSize: size, path };
      expect(verifyConsistency(proof, treeRoot(leaves.slice(0, first)), root)).toBe(true);
    }
  }
});

test('a last leaf is not doubled', () => {
  const [a, b, c] = LEAVES as [Uint8Array, Uint8Array, Uint8Array];
  expect(treeRoot([a, b, c])).not.toEqual(treeRoot([a, b, c, c]));
});

test('leaf and node hashes have domains of their own', () => {
  const [a, b] = LEAVES as [Uint8Array, Uint8Array];
  expect(treeRoot([a, b])).not.toEqual(leafHash(concatBytes(a, b)));
});

describe('an inclusion proof is refused', () => {
  const size = 13;
  const root = rootOf(size);
  const proofOf = (leafIndex: number) => ({
    leafIndex,
    treeSize: size,
    path: inclusionPath(LEAVES.slice(0, size), leafIndex),
  });

  test('for another leaf, index or root', () => {
    for (let index = 0; index < size; index += 1) {
      const proof = proofOf(index);
      for (let other = 0; other < size + 3; other += 1) {
        if (other === index) continue;
        expect(verifyInclusion(LEAVES[index]!, { ...proof, leafIndex: other }, root)).toBe(false);
        expect(verifyInclusion(LEAVES[other]!, proof, root)).toBe(false);
        expect(verifyInclusion(LEAVES[index]!, proof, rootOf(other < size ? other : size + 1))).toBe(false);
      }
    }
  });

  test('with a hash changed, added, dropped or swapped', () => {
    for (let index = 0; index < size; index += 1) {
      const { path, ...place } = proofOf(index);
      const attempts = path.flatMap((hash, position) => [
        path.with(
          position,
          hash.map((byte, at) => (at === 31 ? byte ^ 1 : byte)),
        ),
        path.toSpliced(position, 1),
        path.toSpliced(position, 0, hash),
        path.toSpliced(position, 1, hash.subarray(1)),
      ]);
      attempts.push([...path, root], [root, ...path], [...path].reverse(), []);
      for (const attempt of attempts) {
        expect(verifyInclusion(LEAVES[index]!, { ...place, path: attempt }, root)).toBe(false);
      }
    }
  });

  test.each([
    [-1, 13],
    [13, 13],
    [0, 0],
    [0.5, 13],
    [Number.NaN, 13],
    [0, Number.POSITIVE_INFINITY],
    [0, 2 ** 53],
    [2 ** 53, 2 ** 54],
    [0, -13],
  ])('for leaf %d of %d', (leafIndex, treeSize) => {
    expect(verifyInclusion(LEAVES[0]!, { ...proofOf(0), leafIndex, treeSize }, root)).toBe(false);
  });

  test('for a leaf or a root that is no hash', () => {
    expect(verifyInclusion(new Uint8Array(), { leafIndex: 0, treeSize: 1, path: [] }, new Uint8Array())).toBe(
      false,
    );
    expect(verifyInclusion(LEAVES[0]!, { leafIndex: 0, treeSize: 1, path: [] }, LEAVES[0]!.subarray(1))).toBe(
      false,
    );
  });

  test('as a path of a million hashes, quickly', () => {
    const path = Array.from({ length: 1_000_000 }, () => root);
    expect(verifyInclusion(LEAVES[0]!, { leafIndex: 0, treeSize: Number.MAX_SAFE_INTEGER, path }, root)).toBe(
      false,
    );
  });
});

test('leaves beyond 2^32 are at their place', () => {
  // The right-most leaf of a tree of 2^40 + 1: its only sibling is the root of all before it.
  const before = LEAVES[0]!;
  const leaf = LEAVES[1]!;
  const proof = { leafIndex: 2 ** 40, treeSize: 2 ** 40 + 1, path: [before] };
  expect(verifyInclusion(leaf, proof, treeRoot([before, leaf]))).toBe(true);
  expect(verifyInclusion(leaf, { ...proof, leafIndex: 2 ** 40 - 1 }, treeRoot([before, leaf]))).toBe(false);
});

describe('a consistency proof is refused', () => {
  test('for other sizes or roots', () => {
    const path = consistencyPath(LEAVES.slice(0, 13), 6);
    expect(verifyConsistency({ firstSize: 6, secondSize: 13, path }, rootOf(6), rootOf(13))).toBe(true);
    for (let first = 0; first <= 16; first += 1) {
      for (let second = 0; second <= 16; second += 1) {
        if (first === 6 && second === 13) continue;
        expect(verifyConsistency({ firstSize: 6, secondSize: 13, path }, rootOf(first), rootOf(second))).toBe(
          false,
        );
        expect(
          verifyConsistency({ firstSize: first, secondSize: second, path }, rootOf(first), rootOf(second)),
        ).toBe(false);
      }
    }
  });

  test('with a hash changed, added or dropped', () => {
    for (let first = 1; first < 13; first += 1) {
      const path = consistencyPath(LEAVES.slice(0, 13), first);
      const sizes = { firstSize: first, secondSize: 13 };
      const attempts = path.flatMap((hash, position) => [
        path.with(
          position,
          hash.map((byte, at) => (at === 0 ? byte ^ 128 : byte)),
        ),
        path.toSpliced(position, 1),
        path.toSpliced(position, 0, hash),
      ]);
      attempts.push([...path, rootOf(13)], []);
      for (const attempt of attempts) {
        expect(verifyConsistency({ ...sizes, path: attempt }, rootOf(first), rootOf(13))).toBe(false);
      }
    }
  });

  test('when a tree shrinks, or is rewritten at the same size', () => {
    expect(verifyConsistency({ firstSize: 7, secondSize: 6, path: [] }, rootOf(7), rootOf(6))).toBe(false);
    expect(verifyConsistency({ firstSize: 7, secondSize: 7, path: [] }, rootOf(7), rootOf(6))).toBe(false);
    expect(verifyConsistency({ firstSize: 7, secondSize: 7, path: [rootOf(7)] }, rootOf(7), rootOf(7))).toBe(
      false,
    );
  });

  test('as hostile sizes', () => {
    for (const size of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
      expect(verifyConsistency({ firstSize: size, secondSize: 13, path: [] }, rootOf(6), rootOf(13))).toBe(
        false,
      );
      expect(verifyConsistency({ firstSize: 6, secondSize: size, path: [] }, rootOf(6), rootOf(13))).toBe(
        false,
      );
    }
  });
});

test('the empty tree is the beginning of every tree, and has one root', () => {
  expect(consistencyPath(LEAVES, 0)).toEqual([]);
  expect(verifyConsistency({ firstSize: 0, secondSize: 24, path: [] }, rootOf(0), rootOf(24))).toBe(true);
  expect(verifyConsistency({ firstSize: 0, secondSize: 24, path: [] }, rootOf(1), rootOf(24))).toBe(false);
  expect(verifyConsistency({ firstSize: 0, secondSize: 24, path: [rootOf(1)] }, rootOf(0), rootOf(24))).toBe(
    false,
  );
  expect(verifyConsistency({ firstSize: 0, secondSize: 0, path: [] }, rootOf(0), rootOf(0))).toBe(true);
  expect(verifyConsistency({ firstSize: 0, secondSize: 0, path: [] }, rootOf(1), rootOf(1))).toBe(false);
});

test('paths that do not exist cannot be made', () => {
  expect(() => inclusionPath([], 0)).toThrow(ImmutableError);
  expect(() => inclusionPath(LEAVES, 24)).toThrow(ImmutableError);
  expect(() => inclusionPathIn(treeLevels(LEAVES), -1)).toThrow(ImmutableError);
  expect(() => consistencyPath(LEAVES, 25)).toThrow(ImmutableError);
  expect(() => consistencyPath(LEAVES, -1)).toThrow(ImmutableError);
});
