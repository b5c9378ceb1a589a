import type { Summary } from './jobs.ts';

/** Who asks. */
export interface Worker {
  /** Jobs it has in hand. */
  working: ReadonlySet<string>;
  /** The same in every life of one supervised process; whatever its former self had is free. */
  instance: string | null;
  /** Tokens of this life of it. */
  tokens: ReadonlySet<string>;
}

/**
 * The job to take next: of the workspace with the fewest under way, its oldest. So a workspace that asks for
 * five at once does not stand in the way of another that asks for one. A job that somebody works on is
 * free when it showed no sign of life for `silentMs` by our own clock, which is the only one that is read.
 */
export function chooseJob(
  unfinished: readonly Summary[],
  worker: Worker,
  { nowMs, silentMs }: { nowMs: number; silentMs: number },
): Summary | undefined {
  const isFree = (job: Summary) => !worker.working.has(job.id) && !isHeld(job, worker, { nowMs, silentMs });
  const underWay = new Map<string, number>();
  for (const job of unfinished) {
    if (!isFree(job)) underWay.set(job.workspaceId, (underWay.get(job.workspaceId) ?? 0) + 1);
  }
  const load = (job: Summary) => underWay.get(job.workspaceId) ?? 0;
  return unfinished.filter(isFree).sort((a, b) => load(a) - load(b) || byAge(a, b))[0];
}

function isHeld(job: Summary, worker: Worker, clock: { nowMs: number; silentMs: number }): boolean {
  if (job.runner === null) return false;
  const isOfFormerSelf = job.runner.instance !== null && job.runner.instance === worker.instance;
  if (isOfFormerSelf && !worker.tokens.has(job.runner.token)) return false;
  return clock.nowMs - job.seenAtMs < clock.silentMs;
}

function byAge(a: Summary, b: Summary): number {
  if (a.createdAt !== b.createdAt) return a.createdAt < b.createdAt ? -1 : 1;
  return a.id < b.id ? -1 : 1;
}
