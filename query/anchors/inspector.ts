import { setTimeout as delay } from 'node:timers/promises';
import type { ClickHouseClient } from '@clickhouse/client';
import { createTileReader, widest } from '../proofs/tile-reader.ts';
import type { SqlQuery } from '../sql.ts';
import { type AnchorFindings, checkAnchor, checkpointOf, firstEventOf, tilesOfAnchor } from './check.ts';
import type { AnchorRecords } from './records.ts';
import { type AnchorRow, anchorBefore, anchorById, firstEventDay, storedEvents } from './sql.ts';

export type Ask = <Row>(question: SqlQuery) => Promise<Row[]>;

export interface InspectorDeps {
  clickhouse: ClickHouseClient;
  query: Ask;
  /** Whether a key of ours has signed a note, as the log of this workspace. */
  isSigned(workspaceId: string, note: string): boolean;
  /** Undefined where there are none to look into. */
  records: AnchorRecords | undefined;
  copyLagMs?: number;
  now?: () => number;
}

/** An anchor and the one before it. */
export interface AnchorPair {
  row: AnchorRow;
  before: AnchorRow | undefined;
}

/** Reads what anchors of one workspace are held against, and checks them. */
export async function inspectAnchors(
  { clickhouse, query, isSigned, records, now = Date.now }: InspectorDeps,
  pairs: readonly AnchorPair[],
): Promise<AnchorFindings[]> {
  const workspaceId = pairs[0]?.row.workspace_id;
  if (workspaceId === undefined) return [];
  const names = widest(pairs.flatMap(({ row, before }) => tilesOfAnchor(row, before)));
  // What is remembered is no evidence of what is stored.
  const tiles = await createTileReader(clickhouse, 0).tiles(workspaceId, names);
  const needsFirstDay = pairs.some(({ before }) => before === undefined);
  const [first] = needsFirstDay ? await query<{ day: string }>(firstEventDay(workspaceId)) : [];
  const unnamed = pairs.filter(({ row }) => row.first_event_hash === '').map(firstEventOfPair);
  const stored = unnamed.length === 0 ? [] : await query<{ seq: number }>(storedEvents(workspaceId, unnamed));
  return pairs.map(({ row, before }) =>
    checkAnchor(row, {
      before,
      isSigned: isSigned(row.workspace_id, row.checkpoint),
      tiles,
      record: records === undefined ? null : records.batch(row.batch_id),
      firstDay: first?.day,
      hasFirstEvent:
        row.first_event_hash !== '' || stored.some(({ seq }) => seq === firstEventOfPair({ row, before })),
      nowMs: now(),
    }),
  );
}

function firstEventOfPair({ row, before }: AnchorPair): number {
  return firstEventOf(checkpointOf(row)?.said.size ?? 0, before);
}

/** What is followed of the records may be a moment behind the copy. */
export const COPY_LAG_MS = 3_000;
export const LOOK_AGAIN_MS = 250;

/** One anchor, looked at again for some seconds where its copy may be on its way. Null if it is no more. */
export async function inspectAnchor(
  deps: InspectorDeps,
  id: string,
  workspaceId: string | undefined,
): Promise<{ row: AnchorRow; findings: AnchorFindings } | null> {
  const deadline = performance.now() + (deps.copyLagMs ?? COPY_LAG_MS);
  for (;;) {
    const [row] = await deps.query<AnchorRow>(anchorById(id, workspaceId));
    if (row === undefined) return null;
    const [before] = await deps.query<AnchorRow>(anchorBefore(row.workspace_id, row.period_end_micros));
    const [findings] = await inspectAnchors(deps, [{ row, before }]);
    if (findings === undefined) return null;
    if (!mayBeLate(findings) || performance.now() > deadline) return { row, findings };
    await delay(LOOK_AGAIN_MS);
  }
}

/** Whether nothing is wrong but what a record says that has just changed. */
export function mayBeLate({ checks }: AnchorFindings): boolean {
  const failed = checks.filter(({ outcome }) => outcome === 'failed');
  return failed.length > 0 && failed.every(({ name }) => name === 'record');
}
