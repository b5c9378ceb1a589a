import { describe, expect, it } from 'vitest';
import { nativeHasher } from '../../infra/hash.ts';
import { loadTree, replay } from './load.ts';
import { tilesIn } from './testing/memory-store.ts';
import { A, hexTiles, signedLog } from './testing/signed-log.ts';

function opened(count: number, signed = count) {
  const log = signedLog(count, signed);
  let repaired: number | undefined;
  const load = () =>
    loadTree(log.store, A, log.last, nativeHasher, (tiles) => {
      repaired = tiles;
    });
  return { ...log, load, repaired: () => repaired };
}

describe('loading a tree', () => {
  it('begins with an empty one where nothing was signed', async () => {
    const { store } = opened(3);
    const tree = await loadTree(store, A, undefined, nativeHasher, () => {});
    expect(tree.head).toEqual({ seq: 0, createdAt: '', eventHash: '' });
  });

  it.each([1, 255, 256, 257, 700])(
    'takes the tiles at the edge for %i events, and asks for no event',
    async (size) => {
      const { store, load, rows, repaired } = opened(size + 1, size);
      store.fault = (operation) => {
        if (operation === 'eventsAfter') throw new Error('no event is needed');
      };
      const tree = await load();
      expect(tree.head.seq).toBe(size);
      expect(tree.append(rows[size]!)).toBe('appended');
      expect(repaired()).toBeUndefined();
    },
  );

  it.each([1, 257, 1_000])('makes the tiles of %i events again where they are missing', async (size) => {
    const { store, load, tiles, repaired } = opened(size);
    store.tileRows.splice(0);
    const tree = await load();
    expect(tree.head.seq).toBe(size);
    expect(tilesIn(store.tileRows, A)).toEqual(hexTiles(tiles));
    expect(repaired()).toBe(tiles.size);
  });

  it('writes no more of them at a time than a page of events makes', async () => {
    const { store, load, tiles } = opened(20_300);
    store.tileRows.splice(0);
    const written: number[] = [];
    store.fault = (operation, moment) => {
      if (operation === 'writeTiles' && moment === 'after') written.push(store.tileRows.length);
    };
    await load();
    expect(written).toHaveLength(3);
    expect(tilesIn(store.tileRows, A)).toEqual(hexTiles(tiles));
  });

  it('writes none where the events are not those that were signed', async () => {
    const { store, load, events } = opened(600);
    store.tileRows.splice(0);
    const other = opened(600);
    const stored = events.rows as unknown as unknown[];
    stored.splice(0, stored.length, ...other.events.rows);
    await expect(load()).rejects.toThrow(/are not those whose checkpoint was signed/);
    expect(store.tileRows).toEqual([]);
  });

  it('says how many can be read where the newest are missing', async () => {
    const { store, load, events } = opened(600);
    store.tileRows.splice(0);
    (events.rows as unknown as unknown[]).splice(590);
    await expect(load()).rejects.toThrow(/a checkpoint of 600 was signed, and only 590 can be read/);
  });

  it('names an event that was changed', async () => {
    const { store, load, events } = opened(300);
    store.tileRows.splice(0);
    Object.assign(events.rows[41]!, { body: '{}' });
    await expect(load()).rejects.toThrow('The hash of event 42 is not that of its body.');
  });
});

describe('a replay', () => {
  it('takes the leaves of archived events from the tiles', async () => {
    for (const oldest of [2, 256, 257, 258, 513, 600]) {
      const { store, archive, last } = opened(600);
      archive(oldest);
      const { builder, fromTiles, head } = await replay(store, A, 600, nativeHasher);
      expect(fromTiles).toBe(oldest - 1);
      expect(head.eventHash).toBe(last.last_event_hash);
      expect(Buffer.from(builder.root()).toString('hex')).toBe(last.root);
    }
  });

  it('stops at fewer events than were asked for', async () => {
    const { store, last } = opened(10);
    const { builder } = await replay(store, A, 99, nativeHasher);
    expect(builder.size).toBe(10);
    expect(Buffer.from(builder.root()).toString('hex')).toBe(last.root);
  });

  it('names the tile it lacks', async () => {
    const { store, archive } = opened(600);
    archive(300);
    store.tileRows.splice(
      store.tileRows.findIndex(({ level, index }) => level === 0 && index === 1),
      1,
    );
    await expect(replay(store, A, 600, nativeHasher)).rejects.toThrow(
      'Tile 0/1, whose events are archived, is missing.',
    );
  });
});
