import type { ClickHouseClient } from '@clickhouse/client';
import { TILE_WIDTH, type TileName, type Tiles, tileKey } from '../../core/tile.ts';
import { ask } from '../ask.ts';
import { tilesQuery } from './sql.ts';

/** Tiles of any workspace; full ones, which never change, are remembered. */
export interface TileReader {
  /** Those that are stored, cut to the width that was asked for where they are wider. */
  tiles(workspaceId: string, names: readonly TileName[]): Promise<Tiles>;
}

/** Of 8 KiB each, and as much again for the levels between one tile and the next. */
const REMEMBERED_TILES = 2_048;
const TILES_PER_QUERY = 1_000;
const SETTINGS = { max_execution_time: 5 };

export function createTileReader(
  clickhouse: ClickHouseClient,
  rememberedTiles = REMEMBERED_TILES,
): TileReader {
  /** By workspace and tile, the one asked for longest ago first. */
  const remembered = new Map<string, Uint8Array>();

  function recall(key: string): Uint8Array | undefined {
    const hashes = remembered.get(key);
    if (hashes === undefined) return undefined;
    remembered.delete(key);
    remembered.set(key, hashes);
    return hashes;
  }

  function remember(key: string, hashes: Uint8Array): void {
    if (hashes.length < TILE_WIDTH * 32) return;
    remembered.set(key, hashes);
    const [oldest] = remembered.keys();
    if (remembered.size > rememberedTiles && oldest !== undefined) remembered.delete(oldest);
  }

  return {
    async tiles(workspaceId, names) {
      const found = new Map<string, Uint8Array>();
      const missing: TileName[] = [];
      for (const name of names) {
        const hashes = recall(`${workspaceId}/${tileKey(name)}`);
        if (hashes === undefined) missing.push(name);
        else found.set(tileKey(name), hashes);
      }
      for (let from = 0; from < missing.length; from += TILES_PER_QUERY) {
        const some = missing.slice(from, from + TILES_PER_QUERY);
        for (const row of await ask<TileRow>(clickhouse, tilesQuery(workspaceId, some), SETTINGS)) {
          const key = tileKey({ level: row.level, index: row.tile_index });
          const hashes = new Uint8Array(Buffer.from(row.hashes_hex, 'hex'));
          remember(`${workspaceId}/${key}`, hashes);
          found.set(key, hashes);
        }
      }
      return new Map(
        names.flatMap((name) => {
          const hashes = found.get(tileKey(name));
          return hashes === undefined ? [] : [[tileKey(name), cutTo(hashes, name.width * 32)]];
        }),
      );
    },
  };
}

/** Each tile once, as wide as any of those who want it needs it. */
export function widest(names: readonly TileName[]): TileName[] {
  const byPlace = new Map<string, TileName>();
  for (const name of names) {
    if ((byPlace.get(tileKey(name))?.width ?? 0) < name.width) byPlace.set(tileKey(name), name);
  }
  return [...byPlace.values()];
}

/** Itself where nothing is to be cut: what was computed of a tile is known by it. */
function cutTo(hashes: Uint8Array, length: number): Uint8Array {
  return hashes.length === length ? hashes : hashes.subarray(0, length);
}

interface TileRow {
  level: number;
  tile_index: number;
  hashes_hex: string;
}
