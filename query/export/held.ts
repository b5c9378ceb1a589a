import { setTimeout as delay } from 'node:timers/promises';
import { isConflict } from '../../control/workspaces.ts';
import type { ExportJobs, StoredExport } from './jobs.ts';
import type { ExportRecord } from './record.ts';

/**
 * A job in the hands of this process. Lease and state are one record, changed by compare-and-set: whoever
 * takes the job over changes it, and from then on nothing that this process writes is taken. Beats show
 * others that it lives.
 */
export interface HeldJob {
  readonly record: ExportRecord;
  /** Aborts when the job is somebody else's, or the process is to end. */
  readonly signal: AbortSignal;
  /** Resolves once it is stored; waits while NATS is away. Rejects when `signal` aborts. */
  save(change: Partial<ExportRecord>): Promise<void>;
  /** Lets the next one in at once, if NATS can be reached. */
  release(): Promise<void>;
}

const RETRY_MS = 250;
const RELEASE_MS = 1_000;

/** `stored.record.runner` must be this process. */
export function holdJob(
  jobs: ExportJobs,
  stored: StoredExport,
  { beatMs, stopping }: { beatMs: number; stopping: AbortSignal },
): HeldJob {
  let { record, revision } = stored;
  const token = record.runner?.token;
  const lost = new AbortController();
  const signal = AbortSignal.any([lost.signal, stopping]);
  let writing: Promise<unknown> = Promise.resolve();

  /** One after the other, each on the record that the one before left. */
  function inTurn(change: () => Partial<ExportRecord>): Promise<void> {
    const written = writing.then(() => write({ ...record, ...change() }));
    writing = written.catch(() => {});
    return written;
  }

  async function write(next: ExportRecord): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      try {
        revision = await jobs.update(next, revision);
        record = next;
        return;
      } catch (error) {
        if (isConflict(error) && (await isStored(next))) return;
        await delay(RETRY_MS, undefined, { signal });
      }
    }
  }

  /** After a conflict: an earlier attempt was stored and its answer lost, or the job is somebody else's. */
  async function isStored(next: ExportRecord): Promise<boolean> {
    const found = await jobs.find(record.id).catch(() => 'unknown' as const);
    if (found === 'unknown') return false;
    if (found !== undefined && isSameWrite(found.record, next)) {
      ({ record, revision } = found);
      return true;
    }
    if (found === undefined || found.record.runner?.token !== token) {
      lost.abort(new Error(`the export ${record.id} is in other hands`));
      signal.throwIfAborted();
      return false;
    }
    revision = found.revision;
    return false;
  }

  const beating = setInterval(() => {
    if (record.runner !== null) inTurn(() => ({ beats: record.beats + 1 })).catch(() => {});
  }, beatMs);
  signal.addEventListener('abort', () => clearInterval(beating), { once: true });

  return {
    get record() {
      return record;
    },
    signal,
    save: (change) => inTurn(() => ({ ...change, beats: record.beats + 1 })),
    async release() {
      clearInterval(beating);
      if (lost.signal.aborted || record.runner === null) return;
      const told = writing.then(() => jobs.update({ ...record, runner: null }, revision)).catch(() => {});
      await Promise.race([told, delay(RELEASE_MS)]);
    },
  };
}

/** Every write of a holder has beats of its own. */
function isSameWrite(stored: ExportRecord, written: ExportRecord): boolean {
  return (
    stored.beats === written.beats &&
    stored.status === written.status &&
    stored.runner?.token === written.runner?.token
  );
}
