import { VIEWS } from './names.ts';

/**
 * The part of a row policy on `events` that hides what is past its retention. `workspaces` is a condition that
 * says of which ones anything may be known: an EXPLAIN shows the values. Without a recorded window everything
 * of a workspace is shown.
 */
export function retainedRows(workspaces: string): string {
  const windows = `(SELECT (groupArray(workspace_id), groupArray(retained_from)) FROM ${VIEWS.retainedFrom} WHERE ${workspaces})`;
  return `created_at >= transform(workspace_id, tupleElement(${windows}, 1), tupleElement(${windows}, 2), toDateTime64(0, 6, 'UTC'))`;
}

/**
 * Settings that the owner of the views keeps as they are. ClickHouse clamps whatever else an analyst sets to the
 * owner's constraints before it reads a table behind a view. With these a query could have windows left out:
 * filtered away, or cut off by a limit that ends a reading in silence.
 */
export const VIEWS_FIXED_SETTINGS = [
  'additional_table_filters',
  'read_overflow_mode',
  'read_overflow_mode_leaf',
  'timeout_overflow_mode',
  'timeout_overflow_mode_leaf',
  'group_by_overflow_mode',
  'result_overflow_mode',
  'max_parallel_replicas',
  'parallel_replicas_count',
] as const;
