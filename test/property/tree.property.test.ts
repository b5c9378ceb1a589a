import fc from 'fast-check';
import { expect, test } from 'vitest';
import { concatBytes } from '../../core/bytes.ts';
import {
  consistencyPath,
  inclusionPath,
  leafHash,
  treeRoot,
  verifyConsistency,
  verifyInclusion,
} from '../../core/tree.ts';
import { nativeHasher } from '../../infra/hash.ts';
import { propertyRuns } from '../support/property-runs.ts';

const LEAVES = Array.from({ length: 700 }, (_, index) =>
  leafHash(Uint8Array.of(index >> 8, index & 255), nativeHasher),
);

function leaves(size: number): Uint8Array[] {
  return LEAVES.slice(0, size);
}

function rootOf(size: number): Uint8Array {
  return treeRoot(leaves(size), nativeHasher);
}

/** RFC 6962 §2.1, word for word. */
function referenceRoot(entries: Uint8Array[]): Uint8Array {
  const [first] = entries;
  if (first === undefined) return nativeHasher.bytes(new Uint8Array());
  if (entries.length === 1) return first;
  let split = 1;
  while (split * 2 < entries.length) split *= 2;
  const [left, right] = [referenceRoot(entries.slice(0, split)), referenceRoot(entries.slice(split))];
  return nativeHasher.bytes(concatBytes(Uint8Array.of(1), left, right));
}

const size = fc.integer({ min: 1, max: LEAVES.length });
const sizeAndIndex = size.chain((treeSize) =>
  fc.record({ treeSize: fc.constant(treeSize), leafIndex: fc.integer({ min: 0, max: treeSize - 1 }) }),
);
const twoSizes = size.chain((secondSize) =>
  fc.record({ secondSize: fc.constant(secondSize), firstSize: fc.integer({ min: 1, max: secondSize }) }),
);

test('roots are those of the RFC', () => {
  fc.assert(
    fc.property(size, (count) => {
      expect(rootOf(count)).toEqual(referenceRoot(leaves(count)));
    }),
  );
});

test('every inclusion proof verifies, and no change of it does', () => {
  fc.assert(
    fc.property(sizeAndIndex, mutation(), ({ treeSize, leafIndex }, mutate) => {
      const path = inclusionPath(leaves(treeSize), leafIndex, nativeHasher);
      const leaf = LEAVES[leafIndex] ?? new Uint8Array();
      const verify = (hashes: Uint8Array[]) =>
        verifyInclusion(leaf, { leafIndex, treeSize, path: hashes }, rootOf(treeSize), nativeHasher);
      expect(verify(path)).toBe(true);
      expect(verify(mutate(path))).toBe(false);
    }),
    propertyRuns(300),
  );
});

test('every consistency proof verifies, and no change of it does', () => {
  fc.assert(
    fc.property(twoSizes, mutation(), ({ firstSize, secondSize }, mutate) => {
      const path = consistencyPath(leaves(secondSize), firstSize, nativeHasher);
      const verify = (hashes: Uint8Array[]) => {
        const proof = { firstSize, secondSize, path: hashes };
        return verifyConsistency(proof, rootOf(firstSize), rootOf(secondSize), nativeHasher);
      };
      expect(verify(path)).toBe(true);
      expect(verify(mutate(path))).toBe(false);
    }),
    propertyRuns(300),
  );
});

test('a tree that was rewritten anywhere is not consistent with what it was', () => {
  fc.assert(
    fc.property(twoSizes, fc.nat(), ({ firstSize, secondSize }, where) => {
      const rewritten = leaves(secondSize).with(where % firstSize, nativeHasher.bytes(Uint8Array.of(7)));
      const path = consistencyPath(rewritten, firstSize, nativeHasher);
      const secondRoot = treeRoot(rewritten, nativeHasher);
      expect(
        verifyConsistency({ firstSize, secondSize, path }, rootOf(firstSize), secondRoot, nativeHasher),
      ).toBe(false);
    }),
  );
});

test('verification of nonsense ends, and with false', () => {
  const hash = fc.uint8Array({ minLength: 30, maxLength: 33 });
  const anyNumber = fc.oneof(fc.integer(), fc.double(), fc.maxSafeInteger());
  fc.assert(
    fc.property(
      hash,
      hash,
      anyNumber,
      anyNumber,
      fc.array(hash, { maxLength: 60 }),
      (one, other, a, b, path) => {
        fc.pre(path.length > 0);
        expect(verifyInclusion(one, { leafIndex: a, treeSize: b, path }, other, nativeHasher)).toBe(false);
        expect(verifyConsistency({ firstSize: a, secondSize: b, path }, one, other, nativeHasher)).toBe(
          false,
        );
      },
    ),
    propertyRuns(500),
  );
});

/** A way to change a list of hashes into another list. */
function mutation(): fc.Arbitrary<(path: Uint8Array[]) => Uint8Array[]> {
  const flip = fc
    .tuple(fc.nat(), fc.nat(31), fc.nat(7))
    .map(([position, byte, bit]) => (path: Uint8Array[]) => {
      const index = position % Math.max(1, path.length);
      const hash = path[index];
      return hash === undefined
        ? [rootOf(1)]
        : path.with(index, hash.with(byte, (hash[byte] ?? 0) ^ (1 << bit)));
    });
  const drop = fc.nat().map((position) => (path: Uint8Array[]) => {
    return path.length === 0 ? [rootOf(2)] : path.toSpliced(position % path.length, 1);
  });
  const insert = fc.tuple(fc.nat(), size).map(([position, count]) => (path: Uint8Array[]) => {
    return path.toSpliced(position % (path.length + 1), 0, rootOf(count));
  });
  return fc.oneof(flip, drop, insert);
}
