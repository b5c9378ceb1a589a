import { literalsOf } from '../core/action-pattern.ts';
import type { Micros } from '../core/time.ts';
import { type SqlQuery, timeValue } from './sql.ts';

/** Which events of a workspace somebody asks for, as a condition in SQL: one for lists, counts and exports. */

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

/** Events that fit every filter and were created in the span of time. */
export interface EventFilter {
  filters: Partial<Record<FilterName, string>>;
  /** Inclusive, on `created_at`. */
  from: Micros | undefined;
  /** Inclusive, on `created_at`. */
  to: Micros | undefined;
}

/** What stands after `WHERE` in a query of `immutable.events`, and the values of its parameters. */
export type Conditions = SqlQuery;

/** Values reach ClickHouse as its own parameters, named as the filters, and never as text of the statement. */
export function conditions(workspaceId: string, { filters, from, to }: EventFilter): Conditions {
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
  return { sql: where.sql(), params: where.params };
}

function addAction(where: Where, action: string): void {
  if (action.includes('*')) {
    const pattern = literalsOf(action).map(literally).join('%');
    where.add('action LIKE {action:String}', { action: pattern });
  } else {
    where.add('action = {action:String}', { action });
  }
}

/** Type and id together ask for one target that has both, which an index of its own lists. */
function addTarget(where: Where, type: string | undefined, id: string | undefined): void {
  if (type !== undefined && id !== undefined) {
    const pair = targetPair('{target_type:String}', '{target_id:String}');
    where.add(`has(${TARGET_PAIRS}, ${pair})`, { target_type: type, target_id: id });
  } else if (type !== undefined) {
    where.add('has(target_types, {target_type:String})', { target_type: type });
  } else if (id !== undefined) {
    where.add('has(target_ids, {target_id:String})', { target_id: id });
  }
}

/** Both as one text. The length in front keeps apart what would read the same: `a` with `bc`, and `ab` with `c`. */
function targetPair(type: string, id: string): string {
  return `concat(toString(length(${type})), ':', ${type}, ${id})`;
}

/** Must read as the expression of the index `target_pairs_values`, or it is computed for every event. */
const TARGET_PAIRS = `arrayMap((type, id) -> ${targetPair('type', 'id')}, target_types, arrayResize(target_ids, length(target_types)))`;

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
