import type { Micros } from '../core/time.ts';
import { TABLES } from '../infra/clickhouse/names.ts';
import { type SqlQuery, timeValue } from './sql.ts';

/**
 * The questions of `verify.ts`, each answered by the rows that are wrong. Both run over a span of one
 * workspace's time with flat memory: contents row by row on all cores, links along the sort key.
 */

/** A part of a workspace's time: after `after` (or from the beginning), up to and including `to`. */
export interface Span {
  workspaceId: string;
  after: Micros | undefined;
  to: Micros | undefined;
}

/** What the first row of a span must follow. */
export interface Predecessor {
  /** 0 before the first event. */
  seq: number;
  /** Hex; empty before the first event. */
  hash_hex: string;
  stream_seq: number;
  stream_index: number;
}

/** Where the rows of a workspace came from: all of them through one partition of one stream. */
export interface Source {
  partition: number;
  stream_epoch: string;
}

/** The oldest event that retention keeps, and what it must follow. 0 and empty where nothing was removed. */
export interface Kept {
  seq: number;
  previous_hash_hex: string;
}

export interface BrokenLink {
  seq: number;
  event_id: string;
  follows: 0 | 1;
  /** The column by which it does not stand behind the row before in the stream; empty if it does. */
  misplaced_by: '' | 'stream_seq' | 'stream_index';
  expected_hash: string;
  actual_hash: string;
}

export interface BrokenContent {
  seq: number;
  event_id: string;
  hash_matches: 0 | 1;
  recomputed_hash: string;
  stored_hash: string;
  private_matches: 0 | 1;
  private_expected: string;
  /** Empty when `private` is missing. */
  private_actual: string;
  columns: string[];
}

const BODY = `JSONExtract(body, 'Tuple(
    action String, action_category String, actor_id String, actor_type String, id String, idempotency_key String,
    ip_country String, occurred_at String, private String, resource String, resource_id String,
    session_id String, tenant_id String, version Nullable(Int32), workspace_id String)')`;

const PRIVATE = `JSONExtract(private, 'Tuple(
    actor_name String, ip_address String, ip_city String, resource_name String,
    targets Array(Tuple(type String, id String)), user_agent String)')`;

const TIME_FORMAT = "'%FT%T.%fZ'";

const EVENT_HASH = `SHA256(concat('imk/v1\\n', lower(hex(previous_event_hash)), '\\n', toString(seq), '\\n',
    formatDateTime(created_at, ${TIME_FORMAT}), '\\n', body))`;

const PRIVATE_DIGEST = `lower(hex(SHA256(concat(salt, '\\n', private))))`;

/** Every column that repeats what a text says, and when it is right. `b` and `p` are the parsed texts. */
export const COLUMN_CHECKS: Readonly<Record<string, string>> = {
  ...sameAs('b', [
    'workspace_id',
    'id',
    'actor_id',
    'actor_type',
    'action',
    'action_category',
    'resource',
    'resource_id',
    'tenant_id',
    'session_id',
    'ip_country',
    'idempotency_key',
  ]),
  version: 'version IS NOT DISTINCT FROM b.version',
  occurred_at: `formatDateTime(occurred_at, ${TIME_FORMAT}) = b.occurred_at`,
  ...sameAs('p', ['actor_name', 'resource_name', 'ip_address', 'ip_city', 'user_agent']),
  target_types: 'target_types = p.targets.type',
  target_ids: 'target_ids = p.targets.id',
  // From columns that are checked themselves: parsing once more would cost a fifth of the whole.
  search_text: `search_text = lowerUTF8(concat(
      actor_name, '\\n', action, '\\n', resource_name, '\\n', JSONExtractRaw(private, 'metadata')))`,
  partition: 'partition = {partition:UInt16}',
  stream_epoch: 'stream_epoch = {stream_epoch:String}',
};

function sameAs(text: 'b' | 'p', columns: string[]): Record<string, string> {
  return Object.fromEntries(columns.map((column) => [column, `${column} = ${text}.${column}`]));
}

/** Rows whose hash, personal data or derived columns do not fit their texts; oldest first, at most `most`. */
export function brokenContents(span: Span, source: Source, most: number): SqlQuery {
  const names = Object.keys(COLUMN_CHECKS).map((name) => `'${name}'`);
  const checks = Object.values(COLUMN_CHECKS);
  const where = spanCondition(span);
  return {
    sql: `WITH ${BODY} AS b, ${PRIVATE} AS p, ${EVENT_HASH} AS recomputed, ${PRIVATE_DIGEST} AS digest,
        seq IN (SELECT seq FROM ${TABLES.erasures} WHERE workspace_id = {workspace_id:String}) AS erased,
        recomputed = event_hash AS hash_ok,
        digest = b.private OR (private = '' AND erased) AS private_ok
      SELECT seq, id AS event_id,
        hash_ok AS hash_matches, lower(hex(recomputed)) AS recomputed_hash, lower(hex(event_hash)) AS stored_hash,
        private_ok AS private_matches, b.private AS private_expected, if(private = '', '', digest) AS private_actual,
        arrayFilter((name, ok) -> NOT ok, [${names.join(', ')}], [${checks.join(', ')}]) AS columns
      FROM ${TABLES.events}
      WHERE ${where.sql} AND NOT (hash_ok AND private_ok AND ${checks.join(' AND ')})
      ORDER BY created_at, seq
      LIMIT {most:UInt32}`,
    params: { ...where.params, ...source, most },
  };
}

/**
 * Rows that do not follow the row before them, the first one `before`; oldest first, at most `most`. Of what
 * is older than `kept`, which is in archives and being removed in no order, rows may be missing.
 */
export function brokenLinks(span: Span, before: Predecessor, kept: Kept, most: number): SqlQuery {
  const where = spanCondition(span);
  return {
    sql: `SELECT seq, event_id, follows, misplaced_by,
        if(hash_before = '', '', lower(hex(hash_before))) AS expected_hash, lower(hex(previous)) AS actual_hash
      FROM (
        SELECT seq, event_id, previous,
          lagInFrame(hash, 1, toFixedString(unhex({before_hash:String}), 32)) OVER before AS hash_before,
          lagInFrame(seq, 1, {before_seq:UInt64}) OVER before AS seq_before,
          seq <= {kept_seq:UInt64} AND seq > seq_before + 1
            AND (seq < {kept_seq:UInt64} OR previous = unhex({kept_hash:String})) AS after_removed,
          after_removed OR (previous = hash_before AND seq = seq_before + 1) AS follows,
          lagInFrame(stream_seq, 1, {before_stream_seq:UInt64}) OVER before AS stream_seq_before,
          lagInFrame(stream_index, 1, {before_stream_index:UInt32}) OVER before AS stream_index_before,
          multiIf(
            stream_seq < stream_seq_before, 'stream_seq',
            stream_seq = stream_seq_before AND stream_index <= stream_index_before, 'stream_index',
            '') AS misplaced_by
        FROM (
          SELECT seq, id AS event_id, created_at, event_hash AS hash, previous_event_hash AS previous,
            stream_seq, stream_index
          FROM ${TABLES.events}
          WHERE ${where.sql}
        )
        WINDOW before AS (ORDER BY created_at ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
      )
      WHERE NOT follows OR misplaced_by != ''
      LIMIT {most:UInt32}`,
    params: {
      ...where.params,
      before_seq: before.seq,
      before_hash: before.hash_hex,
      before_stream_seq: before.stream_seq,
      before_stream_index: before.stream_index,
      kept_seq: kept.seq,
      kept_hash: kept.previous_hash_hex,
      most,
    },
  };
}

/** The next `rows` rows of a span: how many there are (0: none), and the last of them as a `Predecessor`. */
export interface Stretch extends Predecessor {
  rows: number;
  first_seq: number;
  last_micros: Micros;
}

/** Rows with the `created_at` of the last one all belong to the stretch, though only tampering makes two of them. */
export function nextStretch(span: Span, rows: number): SqlQuery {
  const where = spanCondition(span);
  return {
    sql: `SELECT count() AS rows, min(row_seq) AS first_seq, toUnixTimestamp64Micro(max(created_at)) AS last_micros,
        tupleElement(max(row) AS last, 2) AS seq, lower(hex(tupleElement(last, 3))) AS hash_hex,
        tupleElement(last, 4) AS stream_seq, tupleElement(last, 5) AS stream_index
      FROM (
        SELECT created_at, seq AS row_seq, (created_at, seq, event_hash, stream_seq, stream_index) AS row
        FROM ${TABLES.events}
        WHERE ${where.sql}
        ORDER BY workspace_id, created_at
        LIMIT {rows:UInt64} WITH TIES
      )`,
    params: { ...where.params, rows },
  };
}

/** The row before `from`, as a `Predecessor`. */
export function rowBefore(workspaceId: string, from: Micros): SqlQuery {
  return {
    sql: `SELECT seq, lower(hex(event_hash)) AS hash_hex, stream_seq, stream_index
      FROM ${TABLES.events}
      WHERE workspace_id = {workspace_id:String} AND created_at < {from:DateTime64(6, 'UTC')}
      ORDER BY workspace_id DESC, created_at DESC
      LIMIT 1`,
    params: { workspace_id: workspaceId, from: timeValue(from) },
  };
}

/** The boundary that retention recorded last; no row where it removed nothing. */
export function newestBoundary(workspaceId: string): SqlQuery {
  return {
    sql: `SELECT oldest_kept_seq AS seq, previous_event_hash AS previous_hash_hex
      FROM ${TABLES.boundaries}
      WHERE workspace_id = {workspace_id:String}
      ORDER BY oldest_kept_seq DESC
      LIMIT 1`,
    params: { workspace_id: workspaceId },
  };
}

/** What the oldest row, which has `seq`, must follow by what retention recorded, as `seq` and `hash_hex`. */
export function boundaryAt(workspaceId: string, seq: number): SqlQuery {
  return {
    sql: `SELECT oldest_kept_seq - 1 AS seq, previous_event_hash AS hash_hex
      FROM ${TABLES.boundaries}
      WHERE workspace_id = {workspace_id:String} AND oldest_kept_seq <= {seq:UInt64}
      ORDER BY oldest_kept_seq DESC
      LIMIT 1`,
    params: { workspace_id: workspaceId, seq },
  };
}

/** The number of a workspace's newest event. */
export function newestSeq(workspaceId: string): SqlQuery {
  return {
    sql: `SELECT seq FROM ${TABLES.events} WHERE workspace_id = {workspace_id:String}
      ORDER BY workspace_id DESC, created_at DESC LIMIT 1`,
    params: { workspace_id: workspaceId },
  };
}

/** The newest time there is, as `micros`: events that arrive while verifying are not waited for. */
export function newestTime(workspaceId: string): SqlQuery {
  return {
    sql: `SELECT toUnixTimestamp64Micro(created_at) AS micros
      FROM ${TABLES.events}
      WHERE workspace_id = {workspace_id:String}
      ORDER BY workspace_id DESC, created_at DESC
      LIMIT 1`,
    params: { workspace_id: workspaceId },
  };
}

/** The `Source` that most rows name: one that names another is the one that was changed. */
export function commonSource(workspaceId: string): SqlQuery {
  return {
    sql: `SELECT partition, stream_epoch
      FROM ${TABLES.events}
      WHERE workspace_id = {workspace_id:String}
      GROUP BY partition, stream_epoch
      ORDER BY count() DESC
      LIMIT 1`,
    params: { workspace_id: workspaceId },
  };
}

export function spanCondition({ workspaceId, after, to }: Span): SqlQuery {
  const conditions = ['workspace_id = {workspace_id:String}'];
  const params: SqlQuery['params'] = { workspace_id: workspaceId };
  if (after !== undefined) {
    conditions.push("created_at > {after:DateTime64(6, 'UTC')}");
    params.after = timeValue(after);
  }
  if (to !== undefined) {
    conditions.push("created_at <= {to:DateTime64(6, 'UTC')}");
    params.to = timeValue(to);
  }
  return { sql: conditions.join(' AND '), params };
}
