import { describe, expect, it } from 'vitest';
import { hexEncode, utf8Encode } from './bytes.ts';
import {
  consistencyRanges,
  edgeTiles,
  inclusionRanges,
  parseTilePath,
  rangeHashes,
  rootIn,
  rootTiles,
  subtreeRoot,
  tilePath,
  tilesOf,
  tilesOfLeaves,
  tileWidth,
} from './tile.ts';
import {
  consistencyPath,
  inclusionPath,
  leafHash,
  treeRoot,
  verifyConsistency,
  verifyInclusion,
} from './tree.ts';

const LEAVES = Array.from({ length: 1300 }, (_, index) => leafHash(utf8Encode(`leaf ${index}`)));

/** Exactly the tiles that were asked for, as wide as they were asked for. */
function fetched(names: ReturnType<typeof tilesOf>, size: number): Map<string, Uint8Array> {
  const all = tilesOfLeaves(LEAVES.slice(0, size));
  return new Map(
    names.map(({ level, index, width }) => {
      const tile = all.get(`${level}/${index}`);
      expect(tile?.length, `tile ${level}/${index} of a tree of ${size}`).toBe(32 * width);
      return [`${level}/${index}`, tile as Uint8Array];
    }),
  );
}

describe('the names of tiles', () => {
  it.each([
    [{ level: 0, index: 0, width: 256 }, 'tile/0/000'],
    [{ level: 0, index: 1_234_067, width: 256 }, 'tile/0/x001/x234/067'],
    [{ level: 3, index: 273, width: 112 }, 'tile/3/273.p/112'],
    [{ level: 63, index: 1_000, width: 1 }, 'tile/63/x001/000.p/1'],
  ])('%j is %s', (name, path) => {
    expect(tilePath(name)).toBe(path);
    expect(parseTilePath(path)).toEqual({ kind: 'tile', ...name });
  });

  it('names bundles of entries', () => {
    expect(parseTilePath('tile/entries/x001/000.p/7')).toEqual({ kind: 'entries', index: 1000, width: 7 });
  });

  it.each([
    'tile/0/0',
    'tile/0/0000',
    'tile/0/x000/001',
    'tile/00/001',
    'tile/64/001',
    'tile/-1/001',
    'tile/0/001.p/0',
    'tile/0/001.p/256',
    'tile/0/001.p/007',
    'tile/0/001.p',
    'tile/0/001/002',
    'tile/0/x001/002/',
    'tile/0/x9/x007/199/254/740/991',
    'tile/0/x999/x999/x999/x999/x999/999',
    'tile/entries/1',
    '/tile/0/001',
    'tile/0/001\n',
    'tile/0/..%2f001',
    '',
  ])('refuses %j', (path) => {
    expect(parseTilePath(path)).toBeNull();
  });

  it('has one spelling for each name', () => {
    for (const index of [0, 1, 999, 1_000, 999_999, 1_000_000, 2 ** 32, Number.MAX_SAFE_INTEGER]) {
      for (const width of [1, 9, 10, 99, 100, 199, 200, 249, 250, 255, 256]) {
        for (const level of [0, 9, 10, 63]) {
          const name = { level, index, width };
          expect(parseTilePath(tilePath(name))).toEqual({ kind: 'tile', ...name });
        }
      }
    }
  });
});

describe('the tiles of a tree', () => {
  it('are those of the specification for a tree of 70,000', () => {
    expect(edgeTiles(70_000)).toEqual([
      { level: 0, index: 273, width: 112 },
      { level: 1, index: 1, width: 17 },
      { level: 2, index: 0, width: 1 },
    ]);
    expect(edgeTiles(256)).toEqual([{ level: 1, index: 0, width: 1 }]);
    expect(edgeTiles(0)).toEqual([]);
    expect(tileWidth({ level: 0, index: 272 }, 70_000)).toBe(256);
    expect(tileWidth({ level: 0, index: 273 }, 70_000)).toBe(112);
    expect(tileWidth({ level: 0, index: 274 }, 70_000)).toBe(0);
  });

  it.each([1, 2, 3, 255, 256, 257, 511, 512, 513, 767, 1024, 1025, 1300])(
    'have the root of %i leaves',
    (size) => {
      expect(hexEncode(rootIn(fetched(rootTiles(size), size), size))).toBe(
        hexEncode(treeRoot(LEAVES.slice(0, size))),
      );
    },
  );

  it('have the empty root', () => {
    expect(rootTiles(0)).toEqual([]);
    expect(rootIn(new Map(), 0)).toEqual(treeRoot([]));
  });

  it.each([1, 2, 7, 256, 257, 300, 513, 1299])('give the audit path of leaves of %i', (treeSize) => {
    for (let leafIndex = 0; leafIndex < treeSize; leafIndex += 1 + Math.floor(treeSize / 11)) {
      const ranges = inclusionRanges(leafIndex, treeSize);
      const path = rangeHashes(ranges, fetched(tilesOf(ranges, treeSize), treeSize));
      expect(path).toEqual(inclusionPath(LEAVES.slice(0, treeSize), leafIndex));
    }
  });

  it.each([1, 2, 7, 256, 257, 300, 513, 1299])('give the consistency proofs up to %i', (second) => {
    for (let first = 0; first <= second; first += 1 + Math.floor(second / 11)) {
      const ranges = consistencyRanges(first, second);
      const path = rangeHashes(ranges, fetched(tilesOf(ranges, second), second));
      expect(path).toEqual(consistencyPath(LEAVES.slice(0, second), first));
    }
  });

  it('serve a smaller tree when they have grown since', () => {
    const grown = tilesOfLeaves(LEAVES);
    const ranges = inclusionRanges(700, 900);
    expect(rangeHashes(ranges, grown)).toEqual(inclusionPath(LEAVES.slice(0, 900), 700));
  });

  it('are few, and counted right, in a tree beyond 2^32 leaves', () => {
    // All leaves alike, so that every complete subtree of one height has the same root.
    const roots = [leafHash(utf8Encode('the same'))];
    for (let height = 1; height < 53; height += 1) {
      const below = roots[height - 1] as Uint8Array;
      roots.push(subtreeRoot(new Uint8Array([...below, ...below])));
    }
    const treeSize = 2 ** 40 + 2 ** 33 + 12_345;
    const leafIndex = 2 ** 40 + 77;
    const tilesFor = (ranges: ReturnType<typeof inclusionRanges>) => {
      const names = tilesOf(ranges, treeSize);
      expect(names.length).toBeLessThan(16);
      return new Map(
        names.map(({ level, index, width }) => [
          `${level}/${index}`,
          new Uint8Array(Array.from({ length: width }, () => [...(roots[8 * level] as Uint8Array)]).flat()),
        ]),
      );
    };
    const root = rootIn(tilesFor([{ start: 0, end: treeSize }]), treeSize);
    const inclusion = inclusionRanges(leafIndex, treeSize);
    const path = rangeHashes(inclusion, tilesFor(inclusion));
    expect(verifyInclusion(roots[0] as Uint8Array, { leafIndex, treeSize, path }, root)).toBe(true);
    expect(verifyInclusion(roots[0] as Uint8Array, { leafIndex: 2 ** 32, treeSize, path }, root)).toBe(false);

    const firstSize = 2 ** 35 + 3;
    const firstRoot = rootIn(tilesFor([{ start: 0, end: firstSize }]), firstSize);
    const consistency = consistencyRanges(firstSize, treeSize);
    expect(
      verifyConsistency(
        { firstSize, secondSize: treeSize, path: rangeHashes(consistency, tilesFor(consistency)) },
        firstRoot,
        root,
      ),
    ).toBe(true);
  });

  it('are asked for what is not there', () => {
    expect(() => inclusionRanges(3, 3)).toThrow('no leaf 3');
    expect(() => inclusionRanges(-1, 3)).toThrow();
    expect(() => inclusionRanges(0.5, 3)).toThrow();
    expect(() => consistencyRanges(4, 3)).toThrow('no first 4');
    expect(() => rangeHashes(inclusionRanges(0, 300), new Map())).toThrow('missing or too narrow');
  });
});
