import type { Violation } from '../core/errors.ts';
import type { Micros } from '../core/time.ts';
import { TABLES } from '../infra/clickhouse/names.ts';
import { readParameters } from './parameters.ts';
import { type SqlQuery, timeValue } from './sql.ts';

/** `GET /events`: request parameters → SQL. Values reach ClickHouse as its own parameters, never as SQL text. */

export const DEFAULT_PAGE_SIZE = 25;
export const MAX_PAGE_SIZE = 100;
/** Matches are counted one by one up to here; a larger total is an estimate. */
export const EXACT_TOTAL = 100_000;

/** Filters that a column of the same name must equal. */
const EQUALITIES = [
  'actor_id',
  'actor_type',
  'action_category',
  'resource',
  'resource_id',
  'tenant_id',
  'session_id',
  'ip_country',
] as const;

export const FILTERS = [...EQUALITIES, 'action', 'target_type', 'target_id', 'search'] as const;
export type FilterName = (typeof FILTERS)[number];

export const ORDERS = ['desc', 'asc'] as const;
/** By `created_at`, which no two events of a workspace share. */
export type Order = (typeof ORDERS)[number];

export interface Search {
  filters: Partial<Record<FilterName, string>>;
  /** Inclusive. */
  from: Micros | undefined;
  /** Inclusive. */
  to: Micros | undefined;
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

/** One page: up to `limit + 1` rows (the last one only says that there are more), read along the sort key. */
export function pageQuery(workspaceId: string, search: Search, after: Micros | undefined): SqlQuery {
  const where = conditions(workspaceId, search);
  if (after !== undefined) {
    where.add(`created_at ${search.order === 'desc' ? '<' : '>'} {after:DateTime64(6, 'UTC')}`, {
      after: timeValue(after),
    });
  }
  return {
    sql: `SELECT ${EVENT_COLUMNS}
      FROM ${TABLES.events}
      WHERE ${where.sql()}
      ORDER BY workspace_id ${search.order}, created_at ${search.order}
      LIMIT {rows:UInt32}`,
    params: { ...where.params, rows: search.limit + 1 },
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

/** The first and the last `seq` in the search's span of time, filters aside: `lowest`, `highest` (0 and 0 if empty). */
export function spanQuery(workspaceId: string, search: Search): SqlQuery {
  const where = conditions(workspaceId, { ...search, filters: {} });
  const end = (order: Order) =>
    `(SELECT seq FROM ${TABLES.events} WHERE ${where.sql()} ORDER BY workspace_id ${order}, created_at ${order} LIMIT 1)`;
  return {
    sql: `SELECT min(seq) AS lowest, max(seq) AS highest FROM (${end('asc')} UNION ALL ${end('desc')})`,
    params: where.params,
  };
}

/** Counts the newest matches, up to one more than `EXACT_TOTAL`: `matches`, and the `lowest` seq among them. */
export function countQuery(workspaceId: string, search: Search): SqlQuery {
  const where = conditions(workspaceId, search);
  return {
    sql: `SELECT count() AS matches, min(seq) AS lowest
      FROM (
        SELECT seq FROM ${TABLES.events} WHERE ${where.sql()}
        ORDER BY workspace_id DESC, created_at DESC LIMIT {most:UInt32}
      )`,
    params: { ...where.params, most: EXACT_TOTAL + 1 },
  };
}

/** Aliases differ from column names, since ClickHouse would put an alias in a column's place everywhere. */
const EVENT_COLUMNS = `id, seq, toUnixTimestamp64Micro(created_at) AS created_at_micros, body, private,
  lower(hex(event_hash)) AS hash_hex, lower(hex(previous_event_hash)) AS previous_hash_hex`;

function conditions(workspaceId: string, { filters, from, to }: Search): Where {
  const where = new Where();
  where.add('workspace_id = {workspace_id:String}', { workspace_id: workspaceId });
  if (from !== undefined) where.add("created_at >= {from:DateTime64(6, 'UTC')}", { from: timeValue(from) });
  if (to !== undefined) where.add("created_at <= {to:DateTime64(6, 'UTC')}", { to: timeValue(to) });

  for (const name of EQUALITIES) {
    const value = filters[name];
    if (value !== undefined) where.add(`${name} = {${name}:String}`, { [name]: value });
  }
  if (filters.action !== undefined) addAction(where, filters.action);
  addTarget(where, filters.target_type, filters.target_id);
  if (filters.search !== undefined) {
    where.add('search_text LIKE lowerUTF8({search:String})', {
      search: `%${literally(filters.search)}%`,
    });
  }
  return where;
}

function addAction(where: Where, action: string): void {
  if (action.includes('*')) {
    const pattern = action.split(/\*+/).map(literally).join('%');
    where.add('action LIKE {action:String}', { action: pattern });
  } else {
    where.add('action = {action:String}', { action });
  }
}

/** Type and id together ask for one target that has both. `has` comes first: that is what the indexes serve. */
function addTarget(where: Where, type: string | undefined, id: string | undefined): void {
  if (type !== undefined) where.add('has(target_types, {target_type:String})', { target_type: type });
  if (id !== undefined) where.add('has(target_ids, {target_id:String})', { target_id: id });
  if (type !== undefined && id !== undefined) {
    where.add(
      'arrayExists((t, i) -> t = {target_type:String} AND i = {target_id:String}, target_types, target_ids)',
      {},
    );
  }
}

/** A text inside a LIKE pattern that matches only itself. */
function literally(text: string): string {
  return text.replace(/[\\%_]/g, '\\$&');
}

class Where {
  readonly params: Record<string, string> = {};
  readonly #conditions: string[] = [];

  add(condition: string, params: Record<string, string>): void {
    this.#conditions.push(condition);
    Object.assign(this.params, params);
  }

  sql(): string {
    return this.#conditions.join(' AND ');
  }
}
