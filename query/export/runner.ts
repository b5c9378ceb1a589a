import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { isConflict } from '../../control/workspaces.ts';
import { ImmutableError } from '../../core/errors.ts';
import { parseTimestamp } from '../../core/time.ts';
import { chooseJob } from './choose.ts';
import { type HeldJob, holdJob } from './held.ts';
import type { ExportJobs, StoredExport, Summary } from './jobs.ts';
import { type MakerDeps, makeExport, UnmakableError } from './maker.ts';
import { DAY_MS, isUnfinished } from './record.ts';
import { sweepExports } from './sweep.ts';

export interface RunnerDeps extends MakerDeps {
  jobs: ExportJobs;
  /** The same in every life of one supervised process. */
  instance?: string | undefined;
  now?: () => number;
  timing?: Timing;
}

export interface Timing {
  /** How often a job shows that somebody works on it. */
  beatMs: number;
  /** How long without a sign until another process takes it over: with the look at it, within 15 s. */
  silentMs: number;
  /** How often every process looks for work. */
  lookMs: number;
  sweepMs: number;
  retryMs: { first: number; most: number };
}

const TIMING: Timing = {
  beatMs: 2_500,
  silentMs: 12_000,
  lookMs: 1_000,
  sweepMs: 60_000,
  retryMs: { first: 1_000, most: 30_000 },
};

/** A process makes so many at a time; each keeps ClickHouse busy with some queries. */
const AT_ONCE = 2;
/** A part that is away (ClickHouse, the object store) is waited for so long. */
const PATIENCE_MS = DAY_MS;
/** An error that waiting does not mend ends an export after so many attempts without a part in between. */
const ATTEMPTS = 5;

export interface Runner {
  /** Stops what is under way, to be continued by whoever comes next. */
  stop(): Promise<void>;
}

/** Takes jobs as they come, and those of processes that died, until stopped. */
export function startRunner(deps: RunnerDeps): Runner {
  const { jobs, log, metrics, now = Date.now, timing = TIMING } = deps;
  const stopping = new AbortController();
  const working = new Map<string, Promise<void>>();
  const tokens = new Set<string>();
  const instance = deps.instance ?? null;
  let looking: Promise<void> | undefined;
  let sweeping: Promise<void> | undefined;

  /** One look at a time; it takes as many jobs as there is room for. */
  function look(): void {
    looking ??= takeJobs()
      .catch((error) => log.warn({ err: error }, 'no look at the exports'))
      .finally(() => {
        looking = undefined;
      });
  }

  async function takeJobs(): Promise<void> {
    while (working.size < AT_ONCE && !stopping.signal.aborted) {
      const chosen = chooseJob(
        jobs.unfinished(),
        { working: new Set(working.keys()), instance, tokens },
        { nowMs: performance.now(), silentMs: timing.silentMs },
      );
      const taken = chosen === undefined ? undefined : await take(chosen);
      if (taken === undefined) break;
      working.set(taken.record.id, work(taken));
    }
    metrics.running(working.size);
    metrics.waiting(jobs.unfinished().filter(({ status }) => status === 'pending').length);
  }

  /** Undefined when somebody else took it, or it has ended: the next look sees it as it is. */
  async function take({ id, revision }: Summary): Promise<StoredExport | undefined> {
    const found = await jobs.find(id);
    if (found === undefined || found.revision !== revision || !isUnfinished(found.record)) return undefined;
    const runner = { token: randomUUID(), holder: `${hostname()}/${process.pid}`, instance };
    const record = { ...found.record, status: 'processing' as const, runner, beats: found.record.beats + 1 };
    try {
      tokens.add(runner.token);
      const written = await jobs.update(record, revision);
      return { record, revision: written };
    } catch (error) {
      tokens.delete(runner.token);
      if (isConflict(error)) return undefined;
      throw error;
    }
  }

  async function work(taken: StoredExport): Promise<void> {
    const { id, workspace_id, format, parts, runner } = taken.record;
    const about = { export_id: id, workspace_id, format };
    const job = holdJob(jobs, taken, { beatMs: timing.beatMs, stopping: stopping.signal });
    log.info({ ...about, parts }, taken.record.range === null ? 'export begins' : 'export goes on');
    try {
      await untilEnded(job, about);
      const { status, rows, file_size, error_message } = job.record;
      metrics.ended(status === 'completed' ? 'completed' : 'failed');
      log.info({ ...about, status, rows, file_size, error_message }, 'export ended');
    } catch (error) {
      if (!job.signal.aborted) log.error({ ...about, err: error }, 'export stopped');
      else if (!stopping.signal.aborted) metrics.ended('lost');
    } finally {
      await job.release();
      working.delete(id);
      if (runner !== null) tokens.delete(runner.token);
      look();
    }
  }

  async function untilEnded(job: HeldJob, about: Record<string, unknown>): Promise<void> {
    let waitMs = timing.retryMs.first;
    for (;;) {
      const { parts } = job.record;
      try {
        return await makeExport(job, deps);
      } catch (error) {
        job.signal.throwIfAborted();
        log.warn({ ...about, err: error }, 'export cannot go on for now');
        metrics.retried();
        const message = reasonToGiveUp(error, job, now());
        if (message !== undefined) await job.save({ error_message: message });
        else if (!isPassing(error)) await job.save({ failures: job.record.failures + 1 });
        if (job.record.parts > parts) waitMs = timing.retryMs.first;
        if (message === undefined) await delay(waitMs, undefined, { signal: job.signal });
        waitMs = Math.min(waitMs * 2, timing.retryMs.most);
      }
    }
  }

  async function sweep(): Promise<void> {
    try {
      await sweepExports(jobs, deps.store, { now, log, signal: stopping.signal });
    } catch (error) {
      if (!stopping.signal.aborted) log.warn({ err: error }, 'expired exports could not be removed');
    }
  }

  function sweepInTurn(): void {
    sweeping ??= sweep().finally(() => {
      sweeping = undefined;
    });
  }

  jobs.onChange(() => {
    if (!stopping.signal.aborted && working.size < AT_ONCE) look();
  });
  const timers = [setInterval(look, timing.lookMs), setInterval(sweepInTurn, timing.sweepMs)];
  look();
  return {
    async stop() {
      for (const timer of timers) clearInterval(timer);
      stopping.abort(new Error('the process is to end'));
      await Promise.allSettled([...working.values(), looking, sweeping]);
    },
  };
}

/** Whether waiting may mend it. */
function isPassing(error: unknown): boolean {
  return error instanceof ImmutableError && error.disposition === 'retry';
}

/** For who asked for it, in plain words; undefined while there is hope. */
function reasonToGiveUp(error: unknown, { record }: HeldJob, nowMs: number): string | undefined {
  if (error instanceof UnmakableError) return error.message;
  const createdMs = (parseTimestamp(record.created_at) ?? 0) / 1000;
  if (nowMs - createdMs > PATIENCE_MS) {
    return 'The export could not be made within 24 hours, because a part of the system could not be reached.';
  }
  if (isPassing(error) || record.failures + 1 < ATTEMPTS) return undefined;
  return 'The export failed several times in the same place. The reason is in the log of the service, under the id of the export.';
}
