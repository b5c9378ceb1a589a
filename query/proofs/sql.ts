import type { TileName } from '../../core/tile.ts';
import type { Micros } from '../../core/time.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import type { SqlQuery } from '../sql.ts';

/** The newest checkpoint that may be shown; with a policy, one that enough witnesses have cosigned. */
export function newestCheckpoint(workspaceId: string, witnessedOnly: boolean): SqlQuery {
  return {
    sql: `SELECT size, note FROM ${TABLES.checkpoints}
      WHERE workspace_id = {workspace_id:String} ${witnessedOnly ? 'AND is_witnessed' : ''}
      ORDER BY size DESC, cosignatures DESC LIMIT 1`,
    params: { workspace_id: workspaceId },
  };
}

/** The smallest checkpoint that has an event. */
export function coveringCheckpoint(workspaceId: string, seq: number, witnessedOnly: boolean): SqlQuery {
  return {
    sql: `SELECT size, note FROM ${TABLES.checkpoints}
      WHERE workspace_id = {workspace_id:String} AND size >= {seq:UInt64} ${witnessedOnly ? 'AND is_witnessed' : ''}
      ORDER BY size, cosignatures DESC LIMIT 1`,
    params: { workspace_id: workspaceId, seq },
  };
}

/** The widest that is stored of each; of equally wide ones the last, which may be a repaired one. */
export function tilesQuery(
  workspaceId: string,
  tiles: readonly Pick<TileName, 'level' | 'index'>[],
): SqlQuery {
  const wanted = tiles.map(({ level, index }) => `(${level},${index})`).join();
  return {
    sql: `SELECT level, tile_index, hex(hashes) AS hashes_hex FROM ${TABLES.tiles} FINAL
      WHERE workspace_id = {workspace_id:String} AND (level, tile_index) IN (${wanted})`,
    params: { workspace_id: workspaceId },
  };
}

const CHAINED_EVENT = `seq, formatDateTime(created_at, '%FT%T.%fZ') AS created_at_text, body, private, salt,
  lower(hex(event_hash)) AS hash, lower(hex(previous_event_hash)) AS previous_hash,
  toUnixTimestamp64Micro(created_at) AS created_at_micros`;

/** An event with the texts it was hashed from. */
export function provenEvent(workspaceId: string, id: string): SqlQuery {
  return {
    sql: `SELECT ${CHAINED_EVENT} FROM ${TABLES.events}
      WHERE workspace_id = {workspace_id:String} AND id = {id:String} LIMIT 1`,
    params: { workspace_id: workspaceId, id },
  };
}

/**
 * Events from a number on, up to another, until their texts reach `bytes`; at least one if there is any. None from before
 * `shownFrom`.
 */
export function eventsBySeq(
  workspaceId: string,
  range: { first: number; last: number; limit: number; bytes: number; shownFrom: Micros },
): SqlQuery {
  return {
    sql: `SELECT ${CHAINED_EVENT} FROM (
        SELECT *, sum(length(body) + length(private)) OVER (ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
        FROM (
          SELECT seq, created_at, body, private, salt, event_hash, previous_event_hash FROM ${TABLES.events}
          WHERE workspace_id = {workspace_id:String} AND seq BETWEEN {first:UInt64} AND {last:UInt64}
            AND created_at >= fromUnixTimestamp64Micro({shownFrom:Int64}, 'UTC')
          ORDER BY seq LIMIT {limit:UInt32}))
      WHERE before < {bytes:UInt64} ORDER BY seq`,
    params: { workspace_id: workspaceId, ...range },
  };
}

/** What leaves are hashes of: the hashes of events, by number. */
export function eventHashes(workspaceId: string, first: number, last: number): SqlQuery {
  return {
    sql: `SELECT seq, lower(hex(event_hash)) AS hash FROM ${TABLES.events}
      WHERE workspace_id = {workspace_id:String} AND seq BETWEEN {first:UInt64} AND {last:UInt64} ORDER BY seq`,
    params: { workspace_id: workspaceId, first, last },
  };
}
