import { describe, expect, test } from 'vitest';
import vectors from '../test/vectors/rfc6962-cases.json' with { type: 'json' };
import { hexDecode } from './bytes.ts';
import { verifyConsistency, verifyInclusion } from './tree.ts';

/** Proofs for trees of up to 2^53 - 1 leaves, as they should be and bent, by a reference that shares no code. */
const HASHES = vectors.hashes.map((text) => hexDecode(text)!);

function hash(place: number): Uint8Array {
  const data = HASHES[place];
  if (data === undefined) throw new Error(`no hash ${place}`);
  return data;
}

/** The cases whose outcome is another than they say. */
function wrongOf<Case extends { about: string; expect: string }>(
  cases: readonly Case[],
  verify: (one: Case) => boolean,
): string[] {
  return cases
    .filter((one) => verify(one) !== (one.expect === 'valid'))
    .map(({ about, expect: expected }) => `${about} (${expected})`);
}

describe('RFC 6962 cases', () => {
  test(`inclusion: all ${vectors.inclusion.length}`, () => {
    const wrong = wrongOf(vectors.inclusion, ({ leaf, index, size, path, root }) =>
      verifyInclusion(hash(leaf), { leafIndex: index, treeSize: size, path: path.map(hash) }, hash(root)),
    );
    expect(wrong).toEqual([]);
  });

  test(`consistency: all ${vectors.consistency.length}`, () => {
    const wrong = wrongOf(vectors.consistency, ({ first, second, path, first_root, second_root }) =>
      verifyConsistency(
        { firstSize: first, secondSize: second, path: path.map(hash) },
        hash(first_root),
        hash(second_root),
      ),
    );
    expect(wrong).toEqual([]);
  });
});
