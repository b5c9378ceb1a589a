import { describe, expect, it } from 'vitest';
import { nativeHasher } from '../../infra/hash.ts';
import { rebuildTree } from './rebuild.ts';
import { tilesIn } from './testing/memory-store.ts';
import { A, hexTiles, signedLog } from './testing/signed-log.ts';

function opened(count: number) {
  const log = signedLog(count);
  const { size, root } = log.last;
  return {
    ...log,
    rebuild: (write: boolean) => rebuildTree(log.store, A, { size, root, write }, nativeHasher),
    tileOf: (level: number, index: number) =>
      log.store.tileRows.findIndex((tile) => tile.level === level && tile.index === index),
  };
}

describe('making a tree again', () => {
  it('finds and writes nothing where all is right', async () => {
    const { store, rebuild, tiles } = opened(600);
    const rows = store.tileRows.length;
    expect(await rebuild(true)).toMatchObject({ size: 600, tiles: tiles.size, wrong: [], wrongCount: 0 });
    expect(store.tileRows).toHaveLength(rows);
  });

  it('names tiles that were changed or lost, full ones too, and writes them if it may', async () => {
    const { store, rebuild, tiles, tileOf } = opened(600);
    store.tileRows[tileOf(0, 0)]!.hashes.set([1, 2, 3], 640);
    store.tileRows[tileOf(1, 0)]!.hashes.fill(9);
    store.tileRows.splice(tileOf(0, 2), 1);
    const before = store.tileRows.length;
    const found = { wrong: ['0/0', '0/2', '1/0'], wrongCount: 3 };
    expect(await rebuild(false)).toMatchObject(found);
    expect(store.tileRows).toHaveLength(before);
    expect(await rebuild(true)).toMatchObject(found);
    expect(tilesIn(store.tileRows, A)).toEqual(hexTiles(tiles));
    expect(await rebuild(true)).toMatchObject({ wrongCount: 0 });
  });

  it('takes the leaves of archived events from their tiles, and says of how many', async () => {
    const { store, rebuild, archive, tileOf } = opened(600);
    archive(301);
    store.tileRows.splice(tileOf(1, 0), 1);
    expect(await rebuild(true)).toMatchObject({ leavesFromTiles: 300, wrong: ['1/0'] });
  });

  it('leaves right tiles as they are where the events are not those that were signed', async () => {
    const { store, events, rebuild, tiles } = opened(600);
    const stored = events.rows as unknown as unknown[];
    stored.splice(0, stored.length, ...signedLog(600).events.rows);
    await expect(rebuild(true)).rejects.toThrow(/are not those whose checkpoint was signed/);
    expect(tilesIn(store.tileRows, A)).toEqual(hexTiles(tiles));
  });

  it('refuses a chain that ends early', async () => {
    const { store, events, rebuild, tiles } = opened(600);
    (events.rows as unknown as unknown[]).splice(512);
    await expect(rebuild(true)).rejects.toThrow(/are not those whose checkpoint was signed/);
    expect(tilesIn(store.tileRows, A)).toEqual(hexTiles(tiles));
  });
});
