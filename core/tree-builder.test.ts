import { describe, expect, it } from 'vitest';
import { utf8Encode } from './bytes.ts';
import { edgeTiles, TILE_WIDTH, tileKey, tilesOfLeaves } from './tile.ts';
import { leafHash, treeRoot } from './tree.ts';
import { createTreeBuilder, isTree, type Tile, type TreeBuilder } from './tree-builder.ts';

const LEAVES = Array.from({ length: 1_100 }, (_, index) => leafHash(utf8Encode(`leaf ${index}`)));
/** Two levels of full tiles, cheaply. */
const MANY = 256 * 256 + 300;

function collect(into: Map<string, Uint8Array>, tiles: readonly Tile[]): void {
  for (const { hashes, ...name } of tiles) {
    expect(hashes.length).toBe(32 * name.width);
    into.set(tileKey(name), hashes);
  }
}

function appendAll(builder: TreeBuilder, leaves: readonly Uint8Array[]): void {
  for (const leaf of leaves) builder.append(leaf);
}

describe('a tree that grows leaf by leaf', () => {
  it('has the root of its leaves at every size', () => {
    const builder = createTreeBuilder();
    expect(builder.root()).toEqual(treeRoot([]));
    for (let size = 1; size <= 600; size += 1) {
      builder.append(LEAVES[size - 1] as Uint8Array);
      expect(isTree(builder, size, treeRoot(LEAVES.slice(0, size))), `size ${size}`).toBe(true);
    }
  });

  it.each([
    [[0]],
    [[1, 254, 1, 1]],
    [[256, 256]],
    [[255, 2, 400]],
    [[3, 300, 0, 17, 90, 400]],
    [[400, 400, 299, 1]],
  ])('makes the tiles of the tree, wherever it is asked for them: %j', (steps) => {
    const builder = createTreeBuilder();
    const tiles = new Map<string, Uint8Array>();
    for (const step of steps) {
      appendAll(builder, LEAVES.slice(builder.size, builder.size + step));
      collect(tiles, builder.takeFullTiles());
      collect(tiles, builder.partialTiles());
      expect(builder.partialTiles().map(({ hashes: _, ...name }) => name)).toEqual(edgeTiles(builder.size));
    }
    expect(tiles).toEqual(tilesOfLeaves(LEAVES.slice(0, builder.size)));
  });

  it.each([
    [0, 0],
    [0, 700],
    [1, 1],
    [255, 256],
    [256, 256],
    [257, 1_100],
    [700, 1_000],
    [1_024, 1_025],
  ])('goes on from %i leaves, with the tiles of %i, as if it had never stopped', (size, wider) => {
    const builder = createTreeBuilder(size, tilesOfLeaves(LEAVES.slice(0, wider)));
    expect(builder.root()).toEqual(treeRoot(LEAVES.slice(0, size)));
    appendAll(builder, LEAVES.slice(size));
    expect(builder.root()).toEqual(treeRoot(LEAVES));
  });

  it('climbs more than one level', () => {
    const leaf = LEAVES[0] as Uint8Array;
    const builder = createTreeBuilder();
    for (let count = 0; count < MANY; count += 1) builder.append(leaf);
    const full = builder.takeFullTiles();
    expect(full.filter(({ level }) => level === 0)).toHaveLength(257);
    expect(full.filter(({ level }) => level === 1)).toMatchObject([
      { level: 1, index: 0, width: TILE_WIDTH },
    ]);
    expect(builder.partialTiles()).toMatchObject([
      { level: 0, index: 257, width: 44 },
      { level: 1, index: 1, width: 1 },
      { level: 2, index: 0, width: 1 },
    ]);
    expect(builder.root()).toEqual(treeRoot(Array.from({ length: MANY }, () => leaf)));
  });

  it('does not begin without its edge', () => {
    expect(() => createTreeBuilder(5, new Map())).toThrow('tile 0/0 of a tree of 5 is missing');
    const tiles = tilesOfLeaves(LEAVES.slice(0, 4));
    expect(() => createTreeBuilder(5, tiles)).toThrow();
  });

  it('hands out copies: what was taken does not change with what comes', () => {
    const builder = createTreeBuilder();
    builder.append(LEAVES[0] as Uint8Array);
    const [before] = builder.partialTiles();
    builder.append(LEAVES[1] as Uint8Array);
    expect(before?.hashes).toEqual(LEAVES[0]);
  });
});
