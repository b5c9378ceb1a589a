import { TABLES } from './names.ts';

/**
 * A row policy on `anchor_batches`: the trees that workspaces are in, so that not even an expression that throws tells of the days
 * of others. `workspaces` is a condition that says which ones.
 */
export function anchoredRows(workspaces: string): string {
  return `has((SELECT groupUniqArray(batch_id) FROM ${TABLES.anchors} WHERE ${workspaces}), id)`;
}
