import type { Violation } from '../core/errors.ts';
import type { Micros } from '../core/time.ts';
import { TABLES } from '../infra/clickhouse/names.ts';
import { type Conditions, conditions, type EventFilter, FILTERS } from './conditions.ts';
import { readParameters } from './parameters.ts';
import { type SqlQuery, timeValue } from './sql.ts';

/** `GET /events`: request parameters → SQL. Values reach ClickHouse as its own parameters, never as SQL text. */

export const DEFAULT_PAGE_SIZE = 25;
export const MAX_PAGE_SIZE = 100;
/** Matches are counted one by one up to here; a larger total is an estimate. */
export const EXACT_TOTAL = 100_000;
/** The same for a search that would compare more texts than it may; see `SearchBudget`. */
export const EXACT_TOTAL_OF_TEXTS = 10_000;

export const ORDERS = ['desc', 'asc'] as const;
/** By `created_at`, which no two events of a workspace share. */
export type Order = (typeof ORDERS)[number];

export interface Search extends EventFilter {
  order: Order;
  limit: number;
  cursor: string | undefined;
}

export type ParsedSearch =
  | { ok: true; search: Search; warnings: string[] }
  | { ok: false; violations: Violation[] };

/** `query` is the raw text after the `?`. Parameters that do not exist are ignored with a warning. */
export function parseSearch(query: string): ParsedSearch {
  const parameters = readParameters(query);
  const filters: Search['filters'] = {};
  for (const name of FILTERS) {
    const value = parameters.text(name);
    if (value !== undefined) filters[name] = value;
  }
  const search: Search = {
    filters,
    from: parameters.time('from'),
    to: parameters.time('to'),
    order: parameters.oneOf('order', ORDERS) ?? 'desc',
    limit: parameters.wholeNumber('limit', 1, MAX_PAGE_SIZE) ?? DEFAULT_PAGE_SIZE,
    cursor: parameters.text('cursor'),
  };
  const { violations } = parameters;
  return violations.length > 0
    ? { ok: false, violations }
    : { ok: true, search, warnings: parameters.ignored() };
}

/** Equal for searches whose pages may continue each other: the page size may change on the way. */
export function searchIdentity({ filters, from, to, order }: Search): string {
  const inOrder = FILTERS.map((name) => filters[name] ?? null);
  return JSON.stringify([order, from ?? null, to ?? null, ...inOrder]);
}

export function isFiltered(search: Search): boolean {
  return Object.keys(search.filters).length > 0;
}

/**
 * One page, read along the sort key: up to `limit + 1` rows (the last one only says that there are more). The
 * first query that fills it gives it whole, since rows of two could lie before and after what came between.
 * Most pages are full within a week of where they begin, and a week is in few of ClickHouse's parts; a value
 * that an index lists is found in all of them as soon.
 */
export function pageQueries(
  workspaceId: string,
  search: Search,
  { after, now }: { after: Micros | undefined; now: Micros },
): [SqlQuery, ...SqlQuery[]] {
  const whole = pageQuery(workspaceId, search, after);
  const week = listedByValue(search) ? undefined : firstWeek(search, after, now);
  return week === undefined ? [whole] : [pageQuery(workspaceId, { ...search, ...week }, after), whole];
}

/** Undefined where that is the whole span of time, or nobody knows where it begins. */
function firstWeek(
  { order, from, to }: Search,
  after: Micros | undefined,
  now: Micros,
): Pick<Search, 'from' | 'to'> | undefined {
  if (order === 'desc') {
    const weekAgo = Math.min(after ?? now, to ?? now) - WEEK_MICROS;
    return weekAgo > (from ?? 0) ? { from: weekAgo, to } : undefined;
  }
  const beginning = after ?? from;
  if (beginning === undefined) return undefined;
  const weekOn = beginning + WEEK_MICROS;
  return weekOn < Math.min(to ?? now, now) ? { from, to: weekOn } : undefined;
}

const WEEK_MICROS = 7 * 86_400_000_000;

function pageQuery(workspaceId: string, search: Search, after: Micros | undefined): SqlQuery {
  const where = beyond(after, search.order, conditions(workspaceId, search));
  return {
    sql: `SELECT ${EVENT_COLUMNS}
      FROM ${TABLES.events}
      WHERE ${where.sql}
      ORDER BY workspace_id ${search.order}, created_at ${search.order}
      LIMIT {rows:UInt32}`,
    params: { ...where.params, rows: search.limit + 1 },
  };
}

function beyond(after: Micros | undefined, order: Order, { sql, params }: Conditions): Conditions {
  if (after === undefined) return { sql, params };
  return {
    sql: `${sql} AND created_at ${order === 'desc' ? '<' : '>'} {after:DateTime64(6, 'UTC')}`,
    params: { ...params, after: timeValue(after) },
  };
}

/** One event by its id, wherever in time it is. */
export function eventQuery(workspaceId: string, id: string): SqlQuery {
  return {
    sql: `SELECT ${EVENT_COLUMNS}
      FROM ${TABLES.events}
      WHERE workspace_id = {workspace_id:String} AND id = {id:String}
      LIMIT 1`,
    params: { workspace_id: workspaceId, id },
  };
}

/** How many events are in the search's span of time, filters aside: `events`. Counted from the sort key alone. */
export function spanQuery(workspaceId: string, search: Search): SqlQuery {
  const where = conditions(workspaceId, { ...search, filters: {} });
  return { sql: `SELECT count() AS events FROM ${TABLES.events} WHERE ${where.sql}`, params: where.params };
}

/**
 * Counts matches, up to one more than `most`: `matches`. In no order, so that all cores read and the first
 * that are found end it.
 */
export function countQuery(workspaceId: string, search: Search, most: number): SqlQuery {
  const where = conditions(workspaceId, search);
  return {
    sql: `SELECT count() AS matches
      FROM (SELECT 1 FROM ${TABLES.events} WHERE ${where.sql} LIMIT {most:UInt32})`,
    params: { ...where.params, most: most + 1 },
  };
}

/** Some of the events in a search's span of time, from all over it: how many, and how many of them match. */
export interface Sample {
  sampled: number;
  matches: number;
  /** In the whole span. */
  events: number;
}

/**
 * A `Sample` of about `SAMPLED_EVENTS`: whole granules of ClickHouse's parts, each as far from the next as the
 * others, so that what happened in a burst counts for no more than its time.
 */
export function sampleQuery(workspaceId: string, search: Search): SqlQuery {
  const where = conditions(workspaceId, search);
  const span = conditions(workspaceId, { ...search, filters: {} });
  return {
    sql: `WITH (SELECT count() FROM ${TABLES.events} WHERE ${span.sql}) AS all_events
      SELECT count() AS sampled, countIf(${where.sql}) AS matches, all_events AS events
      FROM ${TABLES.events}
      PREWHERE intDiv(_part_offset, ${GRANULE_ROWS}) % greatest(intDiv(all_events, ${SAMPLED_EVENTS}), 1) = 0
      WHERE ${span.sql}`,
    params: where.params,
  };
}

/** How many of a sample's events match, if all match as often as those that were looked at. */
export function extrapolate({ sampled, matches, events }: Sample): number {
  return sampled === 0 ? 0 : Math.round((matches / sampled) * events);
}

/** Enough to tell how frequent a thing is to some percent, if it is not rare. */
const SAMPLED_EVENTS = 50_000;
/** What is read of a column at a time (`index_granularity` in the migrations); another number would only cost more. */
const GRANULE_ROWS = 2_048;

/** What would make a search cheaper that was refused for its cost. */
export function narrowing({ filters, from }: Search): Violation[] {
  const violations: Violation[] = [];
  const add = (path: string, message: string) => violations.push({ path, message });
  if (filters.search !== undefined && [...filters.search].length < INDEXED_LETTERS) {
    add(
      'search',
      `give at least ${INDEXED_LETTERS} characters: fewer are in no index, and every event is read`,
    );
  }
  if (filters.action?.includes('*')) add('action', 'give the action without *, or less of it as *');
  if (from === undefined) add('from', 'add from and to');
  else add('from', 'bring from and to closer together');
  if (!listedByValue({ filters })) add(BY_VALUE[0], `add one of ${BY_VALUE.join(', ')}`);
  return violations;
}

/** The text index holds every run of three characters. */
const INDEXED_LETTERS = 3;

function listedByValue({ filters }: Pick<Search, 'filters'>): boolean {
  return BY_VALUE.some((name) => filters[name] !== undefined);
}

/** Filters with an index that lists a value's events. */
const BY_VALUE = ['actor_id', 'resource_id', 'session_id', 'tenant_id', 'target_id'] as const;

/** Aliases differ from column names, since ClickHouse would put an alias in a column's place everywhere. */
const EVENT_COLUMNS = `id, seq, toUnixTimestamp64Micro(created_at) AS created_at_micros, body, private,
  lower(hex(event_hash)) AS hash_hex, lower(hex(previous_event_hash)) AS previous_hash_hex`;
