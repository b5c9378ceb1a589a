import type { ClickHouseClient } from '@clickhouse/client';
import { describe, expect, it } from 'vitest';
import { createTileReader } from './tile-reader.ts';

interface Stored {
  workspaceId: string;
  level: number;
  tile_index: number;
  width: number;
}

/** Answers as ClickHouse would from these tiles, each filled with its workspace's first letter, and counts. */
function fakeClickHouse(stored: Stored[]) {
  const asked: string[][] = [];
  const client = {
    query: async (given: { query: string; query_params: { workspace_id: string } }) => {
      const wanted = [...given.query.matchAll(/\((\d+),(\d+)\)/g)].map(
        ([, level, index]) => `${level}/${index}`,
      );
      asked.push(wanted);
      const rows = stored
        .filter(({ workspaceId }) => workspaceId === given.query_params.workspace_id)
        .filter(({ level, tile_index }) => wanted.includes(`${level}/${tile_index}`))
        .map(({ workspaceId, level, tile_index, width }) => ({
          level,
          tile_index,
          hashes_hex: Buffer.alloc(width * 32, workspaceId).toString('hex'),
        }));
      return { json: async () => rows };
    },
  };
  return { clickhouse: client as unknown as ClickHouseClient, asked };
}

const full = (workspaceId: string, index: number) => ({
  workspaceId,
  level: 0,
  tile_index: index,
  width: 256,
});
const name = (index: number, width = 256) => ({ level: 0, index, width });

describe('the tile reader', () => {
  it('asks once for a full tile, and again and again for one that is not', async () => {
    const { clickhouse, asked } = fakeClickHouse([full('a', 0), { ...full('a', 1), width: 9 }]);
    const reader = createTileReader(clickhouse);
    for (let time = 0; time < 3; time += 1) {
      const tiles = await reader.tiles('a', [name(0), name(1, 9)]);
      expect([...tiles.keys()].sort()).toEqual(['0/0', '0/1']);
    }
    expect(asked).toEqual([['0/0', '0/1'], ['0/1'], ['0/1']]);
  });

  it('cuts a wider tile to what was asked for, whether it comes from memory or not', async () => {
    const { clickhouse } = fakeClickHouse([full('a', 0)]);
    const reader = createTileReader(clickhouse);
    expect((await reader.tiles('a', [name(0, 5)])).get('0/0')).toHaveLength(5 * 32);
    expect((await reader.tiles('a', [name(0, 7)])).get('0/0')).toHaveLength(7 * 32);
    expect((await reader.tiles('a', [name(0)])).get('0/0')).toHaveLength(256 * 32);
  });

  it('leaves out what is not stored', async () => {
    const { clickhouse } = fakeClickHouse([]);
    expect((await createTileReader(clickhouse).tiles('a', [name(0)])).size).toBe(0);
    expect((await createTileReader(clickhouse).tiles('a', [])).size).toBe(0);
  });

  it('never gives one workspace a tile of another', async () => {
    const { clickhouse } = fakeClickHouse([full('a', 0), full('b', 0)]);
    const reader = createTileReader(clickhouse);
    for (const workspaceId of ['a', 'b', 'a', 'b']) {
      const tile = (await reader.tiles(workspaceId, [name(0)])).get('0/0');
      expect(tile?.every((byte) => byte === workspaceId.charCodeAt(0))).toBe(true);
    }
    expect((await reader.tiles('c', [name(0)])).size).toBe(0);
    expect((await reader.tiles('a/0', [name(0)])).size).toBe(0);
  });

  it('remembers only so many, those that were asked for last', async () => {
    const { clickhouse, asked } = fakeClickHouse([0, 1, 2].map((index) => full('a', index)));
    const reader = createTileReader(clickhouse, 2);
    for (const index of [0, 1, 0, 2]) await reader.tiles('a', [name(index)]);
    expect(asked).toEqual([['0/0'], ['0/1'], ['0/2']]);
    await reader.tiles('a', [name(0)]);
    expect(asked).toHaveLength(3);
    await reader.tiles('a', [name(1)]);
    expect(asked.at(-1)).toEqual(['0/1']);
  });

  it('asks for many in several questions', async () => {
    const tiles = Array.from({ length: 2_500 }, (_, index) => index);
    const { clickhouse, asked } = fakeClickHouse(tiles.map((index) => full('a', index)));
    const found = await createTileReader(clickhouse).tiles(
      'a',
      tiles.map((index) => name(index)),
    );
    expect(found.size).toBe(2_500);
    expect(asked.map(({ length }) => length)).toEqual([1_000, 1_000, 500]);
  });
});
