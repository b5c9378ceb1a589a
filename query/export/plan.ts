import type { Micros } from '../../core/time.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import { conditions, type EventFilter } from '../conditions.ts';
import { type SqlQuery, timeValue } from '../sql.ts';
import { type Extent, type Format, rowsStatement } from './format.ts';

/**
 * Where an export begins and ends, and what its next part is. Everything is found by key range: an event's
 * `created_at` is its place in the chain, and no two events of a workspace share one.
 */

/** The ends of a workspace's events in a span of time, filters aside; zeros if there are none. */
export interface Span {
  first_seq: number;
  last_seq: number;
  last_micros: Micros;
}

export function spanQuery(workspaceId: string, filter: EventFilter): SqlQuery {
  const where = conditions(workspaceId, { ...filter, filters: {} });
  const end = (order: 'ASC' | 'DESC') =>
    `(SELECT seq, toUnixTimestamp64Micro(created_at) AS micros FROM ${TABLES.events} WHERE ${where.sql}
      ORDER BY workspace_id ${order}, created_at ${order} LIMIT 1)`;
  return {
    sql: `SELECT min(seq) AS first_seq, max(seq) AS last_seq, max(micros) AS last_micros
      FROM (${end('ASC')} UNION ALL ${end('DESC')})`,
    params: where.params,
  };
}

/** Places in the chain: after the first, up to and including the second. */
export interface Stretch {
  after: Micros;
  through: Micros;
}

/** The next `rows` events, filters aside: where they end. */
export interface Window {
  through: Micros;
  last_seq: number;
}

/** However rare the matches of a filter are, one query looks at no more rows than this. */
export function windowQuery(workspaceId: string, stretch: Stretch, rows: number): SqlQuery {
  const where = within(stretch, conditions(workspaceId, { filters: {}, from: undefined, to: undefined }));
  return {
    sql: `SELECT toUnixTimestamp64Micro(max(created_at)) AS through, max(seq) AS last_seq
      FROM (SELECT seq, created_at FROM ${TABLES.events} WHERE ${where.sql}
        ORDER BY workspace_id, created_at LIMIT {rows:UInt32})`,
    params: { ...where.params, rows },
  };
}

/** What one part holds. `rows` is 0 if nothing in the stretch matches. */
export interface PartPlan {
  rows: number;
  first_seq: number;
  last_seq: number;
  last_micros: Micros;
  first_hash: string;
  first_previous_hash: string;
  last_hash: string;
  last_previous_hash: string;
  /** Whether the stretch may hold more matches behind these. */
  is_cut: 0 | 1;
}

/** The oldest matches of the stretch, as many as a part may hold and at least one. */
export function partQuery(
  workspaceId: string,
  filter: EventFilter,
  stretch: Stretch,
  extent: Extent,
): SqlQuery {
  const where = within(stretch, conditions(workspaceId, filter));
  const at = (end: 'argMin' | 'argMax', column: string) => `lower(hex(${end}(${column}, seq)))`;
  return {
    sql: `SELECT count() AS rows, min(seq) AS first_seq, max(seq) AS last_seq,
        toUnixTimestamp64Micro(max(created_at)) AS last_micros,
        ${at('argMin', 'event_hash')} AS first_hash, ${at('argMin', 'previous_event_hash')} AS first_previous_hash,
        ${at('argMax', 'event_hash')} AS last_hash, ${at('argMax', 'previous_event_hash')} AS last_previous_hash,
        any(found) > count() OR any(found) = {rows:UInt32} AS is_cut
      FROM (
        SELECT seq, created_at, event_hash, previous_event_hash, count() OVER () AS found,
          row_number() OVER in_order AS place, sum(text_bytes) OVER in_order AS total_bytes
        FROM (
          SELECT seq, created_at, event_hash, previous_event_hash,
            length(body) + length(private) + ${ROW_BYTES} AS text_bytes
          FROM ${TABLES.events} WHERE ${where.sql}
          ORDER BY workspace_id, created_at LIMIT {rows:UInt32}
        )
        WINDOW in_order AS (ORDER BY created_at ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
      )
      WHERE place = 1 OR total_bytes <= {text_bytes:UInt64}`,
    params: { ...where.params, rows: extent.rows, text_bytes: extent.textBytes },
  };
}

/** What a row takes beside its texts. */
const ROW_BYTES = 200;

/** The matches of a stretch, in the format of the file. */
export function rowsQuery(
  workspaceId: string,
  filter: EventFilter,
  stretch: Stretch,
  format: Format,
): SqlQuery {
  const where = within(stretch, conditions(workspaceId, filter));
  return { sql: rowsStatement(format, where.sql), params: where.params };
}

function within({ after, through }: Stretch, { sql, params }: SqlQuery): SqlQuery {
  return {
    sql: `${sql} AND created_at > {after:DateTime64(6, 'UTC')} AND created_at <= {through:DateTime64(6, 'UTC')}`,
    params: { ...params, after: timeValue(after), through: timeValue(through) },
  };
}

export function isFiltered({ filters }: EventFilter): boolean {
  return Object.keys(filters).length > 0;
}
