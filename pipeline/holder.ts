import { setTimeout as delay } from 'node:timers/promises';
import { raiseAlarm } from '../control/alarms.ts';
import { ImmutableError } from '../core/errors.ts';
import type { Logger } from '../infra/log.ts';
import type { Bucket } from '../infra/nats/kv.ts';
import { holdLease } from '../infra/nats/lease.ts';
import { ReadingInterrupted } from './reader.ts';

/**
 * - `waiting`: another process may have it
 * - `starting`: held; stream and store are being compared
 * - `working`: its events are worked on
 * - `stopped`: held; an alarm says why nothing is done
 */
export type PartitionState = 'waiting' | 'starting' | 'working' | 'stopped';

export interface HolderOptions {
  partition: number;
  /** The key of the partition's lease: of each stage one. */
  leaseKey: string;
  /** The alarm that is raised when the partition is stopped. */
  alarmKey: string;
  /** Whether such an end is nothing unusual; `ReadingInterrupted` never is. */
  isUsual?(error: unknown): boolean;
  /** Works on the partition until the signal aborts. */
  run(signal: AbortSignal): Promise<never>;
  onState(state: PartitionState): void;
  onSteppedDown(): void;
  leases: Bucket;
  alarms: Bucket;
  holder: string;
  instance?: string | undefined;
  log: Logger;
  timing: HolderTiming;
}

export interface HolderTiming {
  leaseTtlMs: number;
  /** Before a partition that was found in other hands is asked for again. */
  steppedDownMs: number;
  /** Between looks at a partition that is stopped by an alarm. */
  stoppedMs: number;
  firstRetryMs: number;
  longestRetryMs: number;
}

export const HOLDER_TIMING: HolderTiming = {
  leaseTtlMs: 10_000,
  steppedDownMs: 1_000,
  stoppedMs: 30_000,
  firstRetryMs: 100,
  longestRetryMs: 10_000,
};

/**
 * Gets the partition's lease and works on the partition for as long as it has it, again and again until the
 * signal aborts. The lease keeps two processes from doing the same work; that they do no harm, should both believe
 * they have it, is the doing of what the stage writes with.
 */
export async function holdPartition(options: HolderOptions, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const lost = new AbortController();
    options.onState('waiting');
    try {
      const lease = await holdLease({
        bucket: options.leases,
        key: options.leaseKey,
        holder: options.holder,
        ...(options.instance === undefined ? {} : { instance: options.instance }),
        ttlMs: options.timing.leaseTtlMs,
        onLost: () => lost.abort(new ImmutableError('fenced', 'The lease of the partition was lost.')),
        signal,
      });
      await workUntilFenced(options, AbortSignal.any([signal, lost.signal]));
      await lease.release();
    } catch (error) {
      if (signal.aborted) return;
      options.log.warn(
        { err: error, partition: options.partition },
        'the lease of a partition cannot be had now',
      );
    }
    await delay(options.timing.steppedDownMs, undefined, { signal }).catch(() => {});
  }
}

/** Every way in which the work can end is either a reason to give the partition up, or to start it again. */
async function workUntilFenced(options: HolderOptions, signal: AbortSignal): Promise<void> {
  const { partition, log, timing } = options;
  for (let failures = 0; ; failures++) {
    const startedMs = performance.now();
    try {
      options.onState('starting');
      await options.run(signal);
    } catch (error) {
      if (isFenced(error)) {
        log.warn({ err: error, partition }, 'stepping down from the partition');
        options.onSteppedDown();
      }
      if (signal.aborted || isFenced(error)) return;
      if (performance.now() - startedMs > timing.longestRetryMs) failures = 0;
      await delay(await handled(options, error, failures), undefined, { signal }).catch(() => {});
    }
  }
}

/** Says what ended the work and resolves to how long to wait before it is started again. */
async function handled(options: HolderOptions, error: unknown, failures: number): Promise<number> {
  const { partition, log, timing } = options;
  if (error instanceof ImmutableError && error.code === 'stream_mismatch') {
    await stopWithAlarm(options, error);
    return timing.stoppedMs;
  }
  if (error instanceof ReadingInterrupted || options.isUsual?.(error)) {
    log.info({ partition, reason: String(error) }, 'the partition is started again');
  } else {
    log.warn({ err: error, partition }, 'the partition is started again');
  }
  return Math.min(timing.firstRetryMs * 2 ** Math.min(failures, 10), timing.longestRetryMs);
}

async function stopWithAlarm(options: HolderOptions, error: ImmutableError): Promise<void> {
  const { partition, log, alarms, alarmKey } = options;
  options.onState('stopped');
  log.error({ alarm: true, err: error, partition, nextStep: error.nextStep }, error.message);
  try {
    await raiseAlarm(alarms, alarmKey, {
      message: error.message,
      next_step: error.nextStep ?? '',
      details: error.details ?? {},
    });
  } catch (cause) {
    log.error({ err: cause, partition }, 'the alarm could not be written');
  }
}

function isFenced(error: unknown): boolean {
  return error instanceof ImmutableError && error.code === 'fenced';
}
