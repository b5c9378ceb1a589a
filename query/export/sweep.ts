import { isConflict } from '../../control/workspaces.ts';
import { parseTimestamp } from '../../core/time.ts';
import type { Logger } from '../../infra/log.ts';
import type { ObjectStore } from '../../infra/object-store/types.ts';
import type { ExportJobs, Summary } from './jobs.ts';
import { removeObjects } from './maker.ts';
import { DAY_MS, isUnfinished, keysOf, RECORD_DAYS } from './record.ts';

/**
 * Removes what has expired: after 7 days the file, its manifest and whatever a failed or doubled attempt
 * left, after 30 days the job. Several processes may do it at once.
 */
export async function sweepExports(
  jobs: ExportJobs,
  store: ObjectStore,
  { now, log, signal }: { now: () => number; log: Logger; signal: AbortSignal },
): Promise<void> {
  for (const summary of jobs.list()) {
    signal.throwIfAborted();
    if (isUnfinished(summary)) continue;
    const nowMs = now();
    const forgotten = nowMs - msOf(summary.createdAt) >= RECORD_DAYS * DAY_MS;
    if (!forgotten && (summary.removed || nowMs < msOf(summary.expiresAt))) continue;
    await sweepOne(jobs, store, summary, forgotten);
    log.info({ export_id: summary.id, forgotten }, 'expired export removed');
  }
}

async function sweepOne(
  jobs: ExportJobs,
  store: ObjectStore,
  { id }: Summary,
  forgotten: boolean,
): Promise<void> {
  const found = await jobs.find(id);
  if (found === undefined) return;
  await removeObjects(store, keysOf(found.record).folder);
  try {
    if (forgotten) await jobs.drop(id, found.revision);
    else await jobs.update({ ...found.record, removed: true }, found.revision);
  } catch (error) {
    // Another process did the same.
    if (!isConflict(error)) throw error;
  }
}

function msOf(time: string): number {
  return (parseTimestamp(time) ?? 0) / 1000;
}
