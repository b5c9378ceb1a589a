import { describe, expect, it } from 'vitest';
import { hexEncode } from '../../core/bytes.ts';
import { leafHash, treeRoot } from '../../core/tree.ts';
import { createTreeBuilder } from '../../core/tree-builder.ts';
import { nativeHasher } from '../../infra/hash.ts';
import { type ChainLink, EMPTY_TREE_HEAD, type GrowingTree, growTree, type Harvest } from './growing-tree.ts';

const NOON = '2026-03-15T12:00:00.000000Z';

function hashOf(seq: number): string {
  return seq === 0 ? '' : nativeHasher.hex(`event ${seq}`);
}

function link(seq: number, createdAt = NOON): ChainLink {
  return { seq, createdAt, eventHash: hashOf(seq), previousEventHash: hashOf(seq - 1) };
}

function rootOf(size: number): string {
  const leaves = Array.from({ length: size }, (_, index) =>
    leafHash(Buffer.from(hashOf(index + 1), 'hex'), nativeHasher),
  );
  return hexEncode(treeRoot(leaves, nativeHasher));
}

function rootsIn(harvest: Harvest | undefined): [number, string][] {
  return harvest?.growths.map(({ size, root }) => [size, hexEncode(root)]) ?? [];
}

function emptyTree(): GrowingTree {
  return growTree(createTreeBuilder(0, new Map(), nativeHasher), EMPTY_TREE_HEAD, nativeHasher);
}

function appendAt(tree: GrowingTree, times: readonly string[]): void {
  for (const createdAt of times) expect(tree.append(link(tree.head.seq + 1, createdAt))).toBe('appended');
}

function sizes(tree: GrowingTree): number[] {
  return rootsIn(tree.harvest()).map(([size]) => size);
}

describe('a growing tree', () => {
  it('takes the events of a chain in order, and knows its newest leaf', () => {
    const tree = emptyTree();
    expect(tree.harvest()).toBeUndefined();
    expect([1, 2, 3].map((seq) => tree.append(link(seq)))).toEqual(['appended', 'appended', 'appended']);
    expect(tree.head).toEqual({ seq: 3, createdAt: NOON, eventHash: hashOf(3) });
    expect(tree.unharvested).toBe(3);
    const harvest = tree.harvest();
    expect(harvest?.growths).toMatchObject([{ size: 3, head: tree.head }]);
    expect(rootsIn(harvest)).toEqual([[3, rootOf(3)]]);
    expect(harvest?.tiles.map(({ level, index, width }) => [level, index, width])).toEqual([[0, 0, 3]]);
    expect(tree.unharvested).toBe(0);
    expect(tree.harvest()).toBeUndefined();
  });

  it('leaves out what it has already', () => {
    const tree = emptyTree();
    for (const seq of [1, 2]) tree.append(link(seq));
    expect([1, 2].map((seq) => tree.append(link(seq)))).toEqual(['known', 'known']);
    expect(tree.append(link(3))).toBe('appended');
    expect(rootsIn(tree.harvest())).toEqual([[3, rootOf(3)]]);
  });

  it('refuses what lies behind a hole, and what does not follow, and stays as it was', () => {
    const tree = emptyTree();
    expect(tree.append(link(2))).toBe('hole');
    tree.append(link(1));
    expect(tree.append(link(3))).toBe('hole');
    expect(tree.append({ ...link(2), previousEventHash: hashOf(7) })).toBe('broken');
    expect(tree.append({ ...link(2), previousEventHash: '' })).toBe('broken');
    expect(tree.unharvested).toBe(1);
    expect(tree.append(link(2))).toBe('appended');
    expect(rootsIn(tree.harvest())).toEqual([[2, rootOf(2)]]);
  });

  it('refuses a first event that says there was one before it', () => {
    expect(emptyTree().append({ ...link(1), previousEventHash: hashOf(9) })).toBe('broken');
  });

  it('gives each full tile once, and those at the edge as they are', () => {
    const tree = emptyTree();
    for (let seq = 1; seq <= 300; seq += 1) tree.append(link(seq));
    const names = () => tree.harvest()?.tiles.map(({ level, index, width }) => [level, index, width]);
    expect(names()).toEqual([
      [0, 0, 256],
      [0, 1, 44],
      [1, 0, 1],
    ]);
    tree.append(link(301));
    expect(names()).toEqual([
      [0, 1, 45],
      [1, 0, 1],
    ]);
  });
});

describe('a day that ends', () => {
  it('is a growth of exactly its size', () => {
    const tree = emptyTree();
    appendAt(tree, ['2026-03-15T12:00:00.000000Z', '2026-03-15T23:00:00.000000Z']);
    appendAt(tree, ['2026-03-16T01:00:00.000000Z']);
    const harvest = tree.harvest();
    expect(rootsIn(harvest)).toEqual([
      [2, rootOf(2)],
      [3, rootOf(3)],
    ]);
    expect(harvest?.growths[0]?.head).toEqual({
      seq: 2,
      createdAt: '2026-03-15T23:00:00.000000Z',
      eventHash: hashOf(2),
    });
  });

  it('ends at midnight to the microsecond', () => {
    const tree = emptyTree();
    appendAt(tree, [
      '2026-03-15T23:59:59.999998Z',
      '2026-03-15T23:59:59.999999Z',
      '2026-03-16T00:00:00.000000Z',
      '2026-03-16T00:00:00.000001Z',
    ]);
    expect(sizes(tree)).toEqual([2, 4]);
  });

  it('is one growth for each day that had events, and none for those that had not', () => {
    const tree = emptyTree();
    appendAt(tree, [
      '2026-02-27T10:00:00.000000Z',
      '2026-03-02T10:00:00.000000Z',
      '2026-03-02T11:00:00.000000Z',
      '2026-03-03T00:00:00.000000Z',
      '2027-03-03T00:00:00.000000Z',
    ]);
    expect(sizes(tree)).toEqual([1, 3, 4, 5]);
  });

  it('is no second growth where it was harvested at that size already', () => {
    const tree = emptyTree();
    appendAt(tree, ['2026-03-15T12:00:00.000000Z', '2026-03-15T13:00:00.000000Z']);
    expect(sizes(tree)).toEqual([2]);
    appendAt(tree, ['2026-03-16T00:00:00.000000Z', '2026-03-17T00:00:00.000000Z']);
    expect(sizes(tree)).toEqual([3, 4]);
    expect(sizes(tree)).toEqual([]);
  });

  it('counts from the newest leaf that was signed before a restart', () => {
    const before = emptyTree();
    appendAt(before, ['2026-03-15T12:00:00.000000Z', '2026-03-15T13:00:00.000000Z']);
    const tiles = new Map(
      before.harvest()?.tiles.map((tile) => [`${tile.level}/${tile.index}`, tile.hashes]),
    );
    const again = growTree(createTreeBuilder(2, tiles, nativeHasher), before.head, nativeHasher);
    appendAt(again, ['2026-03-15T14:00:00.000000Z', '2026-03-16T00:00:00.000000Z']);
    expect(rootsIn(again.harvest())).toEqual([
      [3, rootOf(3)],
      [4, rootOf(4)],
    ]);
  });
});
