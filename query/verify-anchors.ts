import { setTimeout as delay } from 'node:timers/promises';
import type { AnchorHead } from '../control/anchors.ts';
import { anchorIdOf } from '../core/anchor.ts';
import { nativeHasher } from '../infra/hash.ts';
import { checkpointOf } from './anchors/check.ts';
import {
  type AnchorPair,
  COPY_LAG_MS,
  inspectAnchors,
  LOOK_AGAIN_MS,
  mayBeLate,
} from './anchors/inspector.ts';
import type { AnchorRecords } from './anchors/records.ts';
import { type AnchorRow, storedAnchors } from './anchors/sql.ts';
import type { Break } from './verify.ts';
import { type TreeCheckOptions, treeBreak } from './verify-tree.ts';

export interface AnchorCheckOptions extends TreeCheckOptions {
  records: AnchorRecords;
}

export interface AnchorVerification {
  checked: number;
  breaks: Break[];
}

/** Signatures and tiles of so many at a time. */
const ANCHORS_AT_ONCE = 100;

/**
 * Checks the anchors of a workspace against signatures, tiles, each other and the job's records, which are not in ClickHouse: so
 * that ones cut off at the end are missed, and a transaction that never was is found. The newest is looked at always, and those
 * that cover the events from `fromSeq` to `toSeq`. Looks again for some seconds at what may be on its way.
 */
export async function verifyAnchors(
  options: AnchorCheckOptions,
  workspaceId: string,
  { fromSeq, toSeq }: { fromSeq: number; toSeq: number },
): Promise<AnchorVerification> {
  const deadline = performance.now() + (options.copyLagMs ?? COPY_LAG_MS);
  for (;;) {
    const { isLate, ...found } = await lookOnce(options, workspaceId, { fromSeq, toSeq });
    if (!isLate || performance.now() > deadline) return found;
    await delay(LOOK_AGAIN_MS);
  }
}

async function lookOnce(
  options: AnchorCheckOptions,
  workspaceId: string,
  { fromSeq, toSeq }: { fromSeq: number; toSeq: number },
): Promise<AnchorVerification & { isLate: boolean }> {
  const stored = await options.query<AnchorRow>(storedAnchors(workspaceId));
  const rows = stored.filter((row) => !isUndecided(row, options.records));
  const head = await options.records.head(workspaceId);
  const missing = headBreaks(head, rows);
  const pairs = rows
    .map((row, index): AnchorPair => ({ row, before: rows[index - 1] }))
    .filter(({ row }, index) => index === rows.length - 1 || (row.size >= fromSeq && row.size <= toSeq));
  const breaks: Break[] = [];
  let isWrong = false;
  for (let from = 0; from < pairs.length; from += ANCHORS_AT_ONCE) {
    const some = pairs.slice(from, from + ANCHORS_AT_ONCE);
    const findings = await inspectAnchors(options, some);
    for (const [index, found] of findings.entries()) {
      const row = some[index]?.row;
      if (row === undefined) continue;
      const problems = found.checks.flatMap((check) => (check.outcome === 'failed' ? check.problems : []));
      isWrong ||= problems.length > 0 && !mayBeLate(found);
      breaks.push(...problems.map((problem) => anchorBreak(row.size, row.id, problem)));
    }
  }
  const isLate = !isWrong && (breaks.length > 0 || missing.length > 0);
  return { checked: pairs.length, breaks: [...breaks, ...missing], isLate };
}

/** A row of a tree that the job has not decided on, or will not, because another process was first: it counts for nothing. */
function isUndecided({ id, batch_id, batch, workspace_id }: AnchorRow, records: AnchorRecords): boolean {
  const isByJob = id === anchorIdOf(batch_id, workspace_id, nativeHasher);
  return isByJob && batch.id === '' && records.batch(batch_id) === undefined;
}

/** What the record of the newest anchor tells of the newest row. A row that is newer than it is the job's to explain. */
function headBreaks(head: AnchorHead | undefined, rows: readonly AnchorRow[]): Break[] {
  const newest = rows.at(-1);
  if (head === undefined) return [];
  if (newest === undefined || newest.period_end < head.period_end) {
    return [anchorBreak(head.size, head.anchor_id, 'it is missing, and it was anchored')];
  }
  if (newest.period_end > head.period_end) return [];
  const hash = nativeHasher.hex(checkpointOf(newest)?.text ?? '');
  const problems = [
    ...(newest.id === head.anchor_id ? [] : [`id is another than ${head.anchor_id}, which is on record`]),
    ...(hash === head.checkpoint_hash ? [] : ['its checkpoint is another than the one on record']),
    ...(rows.length === head.number
      ? []
      : [`it is number ${head.number} of its workspace on record, and ${rows.length} are stored`]),
  ];
  return problems.map((problem) => anchorBreak(newest.size, newest.id, problem));
}

function anchorBreak(seq: number, id: string, problem: string): Break {
  return treeBreak({ seq: Math.max(1, seq), part: `anchor ${id}: ${problem}` });
}
