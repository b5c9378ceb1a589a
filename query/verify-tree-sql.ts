import { TABLES } from '../infra/clickhouse/names.ts';
import type { SqlQuery } from './sql.ts';
import { type Span, spanCondition } from './verify-sql.ts';

/** The questions of `verify-tree.ts`, each answered by what is wrong. */

export interface CheckpointRow {
  size: number;
  /** Hex. */
  root: string;
  note: string;
}

/** The newest checkpoints of sizes `from` to `to`, the newest first. */
export function checkpointsOf(
  workspaceId: string,
  { from, to, most }: { from: number; to: number; most: number },
): SqlQuery {
  return {
    sql: `SELECT size, root, note FROM ${TABLES.checkpoints}
      WHERE workspace_id = {workspace_id:String} AND size BETWEEN {from:UInt64} AND {to:UInt64}
      ORDER BY size DESC, cosignatures DESC LIMIT {most:UInt32}`,
    params: { workspace_id: workspaceId, from, to, most },
  };
}

/** A leaf of the tree that is not made of the event that is stored. */
export interface WrongLeaf {
  seq: number;
  event_id: string;
  /** Hex: the leaf hash in the tile; empty where the tile is missing. */
  leaf: string;
  /** Hex: of the stored event. */
  recomputed: string;
}

/**
 * Stored events of a span, up to number `size`, whose leaf hash is not the one in the tree; oldest first, at most
 * `most`. Where rows are missing or doubled within a tile the chain itself tells.
 */
export function wrongLeaves(span: Span, size: number, most: number): SqlQuery {
  const where = spanCondition(span);
  return {
    sql: `WITH
        events_of_tiles AS (
          SELECT intDiv(seq - 1, toUInt64(256))::UInt64 AS tile,
            arraySort(groupArray((seq, concat(SHA256(concat(char(0), event_hash)), ''), id))) AS events
          FROM ${TABLES.events} WHERE ${where.sql} AND seq <= {size:UInt64} GROUP BY tile),
        leaves AS (${tilesOf('0', '(SELECT min(tile) FROM events_of_tiles)', '(SELECT max(tile) FROM events_of_tiles)')})
      SELECT event.1 AS seq, event.3 AS event_id,
        lower(hex(substring(leaves.hashes, 32 * ((event.1 - 1) % 256) + 1, 32))) AS leaf,
        lower(hex(event.2)) AS recomputed
      FROM events_of_tiles LEFT JOIN leaves ON leaves.tile_index = events_of_tiles.tile
      ARRAY JOIN arrayFilter(
        event -> substring(leaves.hashes, 32 * ((event.1 - 1) % 256) + 1, 32) != event.2, events) AS event
      WHERE arrayStringConcat(arrayMap(event -> event.2, events))
        != substring(leaves.hashes, 32 * ((events[1].1 - 1) % 256) + 1, 32 * length(events))
      ORDER BY seq LIMIT {most:UInt32}`,
    params: { ...where.params, size, most },
  };
}

/** A tile whose hash is not the one that the tile above has of it. */
export interface WrongTile {
  level: number;
  tile_index: number;
  /** Hex: what the tile above says; empty where that is missing. */
  above: string;
  /** Hex; empty where the tile itself is missing or not full. */
  recomputed: string;
}

/** Full tiles of one level, `first` to `last`, that do not fit the level above; at most `most`. */
export function wrongTiles(
  workspaceId: string,
  { level, first, last, most }: { level: number; first: number; last: number; most: number },
): SqlQuery {
  return {
    sql: `SELECT {level:UInt8} AS level, wanted AS tile_index,
        lower(hex(substring(parents.hashes, 32 * (wanted % 256) + 1, 32))) AS above,
        lower(hex(roots.root)) AS recomputed
      FROM (SELECT number + {first:UInt64} AS wanted FROM numbers({last:UInt64} - {first:UInt64} + 1)) AS all_tiles
      LEFT JOIN (${rootsOf(tilesOf('{level:UInt8}', '{first:UInt64}', '{last:UInt64}'))}) AS roots
        ON roots.tile_index = wanted
      LEFT JOIN (${tilesOf('{level:UInt8} + 1', 'intDiv({first:UInt64}, 256)', 'intDiv({last:UInt64}, 256)')}) AS parents
        ON parents.tile_index = intDiv(wanted, toUInt64(256))
      WHERE above != recomputed OR recomputed = ''
      ORDER BY tile_index LIMIT {most:UInt32}
      SETTINGS max_block_size = 256`, // Of rows of 8 KiB.
    params: { workspace_id: workspaceId, level, first, last, most },
  };
}

/** FINAL: the widest of each, of equally wide ones the last that was written, as after a merge. */
function tilesOf(level: string, first: string, last: string): string {
  return `SELECT tile_index, hashes FROM ${TABLES.tiles} FINAL
    WHERE workspace_id = {workspace_id:String} AND level = ${level} AND tile_index BETWEEN ${first} AND ${last}`;
}

/** The root of each full tile: eight times, pairs are hashed. A hash becomes a String, since joining fixed ones drops zero bytes. */
function rootsOf(tiles: string): string {
  let hashed = `SELECT tile_index, hashes AS level FROM (${tiles}) WHERE length(hashes) = 8192`;
  for (let pairs = 128; pairs >= 1; pairs /= 2) {
    const nodes = `arrayMap(pair -> concat(SHA256(concat(char(1), substring(level, 64 * pair + 1, 64))), ''), range(${pairs}))`;
    hashed = `SELECT tile_index, arrayStringConcat(${nodes}) AS level FROM (${hashed})`;
  }
  return `SELECT tile_index, level AS root FROM (${hashed})`;
}
