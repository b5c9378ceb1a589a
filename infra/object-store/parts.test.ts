import { describe, expect, it } from 'vitest';
import { type Piece, planParts } from './parts.ts';

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
const PART = 8 * MIB;

function sizeOf(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, { start, end }) => sum + end - start, 0);
}

/** What the parts are in order, with neighbouring pieces of one source joined again. */
function joined(parts: readonly Piece[][]): Piece[] {
  const result: Piece[] = [];
  for (const piece of parts.flat()) {
    const last = result.at(-1);
    if (last?.key === piece.key && last.end === piece.start) last.end = piece.end;
    else result.push({ ...piece });
  }
  return result;
}

describe('the parts of a composition', () => {
  it.each([
    ['nothing', []],
    ['empty sources', [0, 0]],
    ['one byte', [1]],
    ['just a part', [PART]],
    ['a byte more', [PART + 1]],
    ['many small ones', Array.from({ length: 5_000 }, (_, index) => index)],
    ['around the limit of S3', [5 * MIB - 1, 5 * MIB, 5 * MIB + 1]],
    ['small and large', [3, 12 * MIB, 0, 1, 100 * MIB, 7]],
    ['more than one copy may have', [6 * GIB, 1, 6 * GIB]],
    ['as much as an object may have', [5 * 1024 * GIB]],
  ])('of %s are all of it in order, within the limits of S3', (_, sizes) => {
    const sources = sizes.map((bytes, index) => ({ key: `s${index}`, bytes }));
    const parts = planParts(sources);
    expect(joined(parts)).toEqual(
      sources.filter(({ bytes }) => bytes > 0).map(({ key, bytes }) => ({ key, start: 0, end: bytes })),
    );
    expect(parts.length).toBeLessThanOrEqual(10_000);
    const bodySizes = new Set(parts.slice(0, -1).map(sizeOf));
    expect(bodySizes.size).toBeLessThanOrEqual(1);
    for (const size of bodySizes) {
      expect(size).toBeGreaterThanOrEqual(5 * MIB);
      expect(size).toBeLessThanOrEqual(5 * GIB);
      expect(sizeOf(parts.at(-1) ?? [])).toBeLessThanOrEqual(size);
    }
  });

  it('are single pieces wherever a source is a whole number of them', () => {
    const parts = planParts([
      { key: 'a', bytes: 2 * PART },
      { key: 'b', bytes: 3 * PART },
    ]);
    expect(parts.map((pieces) => pieces.length)).toEqual([1, 1, 1, 1, 1]);
  });

  it('cannot make an object of more than 5 TiB', () => {
    expect(() => planParts([{ key: 'a', bytes: 5 * 1024 * GIB + 1 }])).toThrow(RangeError);
  });
});
