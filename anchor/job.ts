import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { ALARM_KEYS } from '../control/alarms.ts';
import { BATCH_KEYS } from '../control/anchors.ts';
import type { Logger } from '../infra/log.ts';
import type { Bucket } from '../infra/nats/kv.ts';
import { holdLease } from '../infra/nats/lease.ts';
import { createAlarmKeeper } from './alarm-keeper.ts';
import { createGatherer, type GathererOptions } from './gatherer.ts';
import type { Ledger, Observation } from './ledger.ts';
import { createMaker, type Made, NO_CHAIN, publishBatches } from './maker.ts';
import type { AnchorMetrics } from './metrics.ts';
import { newestDueEnd, nextDueMs } from './period.ts';
import { anchorRecords } from './records.ts';
import { advanceAll, explainPending } from './runner.ts';
import { STEP_TIMING, type StepSettings } from './step.ts';
import { incompleteness, standingAlarms, stoppage, type WantedAlarm } from './watch.ts';

export interface AnchorJobOptions extends Omit<GathererOptions, 'records' | 'buckets' | 'now'> {
  buckets: GathererOptions['buckets'] & { leases: Bucket; anchors: Bucket };
  /** None: anchors are made, and wait. */
  ledger: Ledger | undefined;
  maxFeePerGasWei: bigint;
  log: Logger;
  metrics: AnchorMetrics;
  /** Same in every life of a supervised process. */
  instance?: string | undefined;
  timing?: Partial<AnchorTiming>;
  now?: () => number;
}

export interface AnchorTiming extends Omit<StepSettings, 'maxFeePerGasWei'> {
  leaseTtlMs: number;
  /** Between looks while something is waited for. */
  pollMs: number;
  /** Between looks while nothing is. */
  idleMs: number;
  /** For how long what was received before the end of a day and is not signed holds up its anchor. */
  patienceMs: number;
  /** For how long a confirmed anchor is looked at again. */
  recheckMs: number;
}

export const ANCHOR_TIMING: AnchorTiming = {
  ...STEP_TIMING,
  leaseTtlMs: 15_000,
  pollMs: 15_000,
  idleMs: 10 * 60_000,
  patienceMs: 30 * 60_000,
  recheckMs: 24 * 3600_000,
};

/** Of which no ledger has anything: 32 zero bytes, which the contract takes from nobody. */
const NO_ROOT = '0'.repeat(64);

export interface AnchorJob {
  /** Makes what is due, and does what `advance` does. */
  round(): Promise<boolean>;
  /** Brings every anchor a step further and tells how all stand; true while something is waited for. */
  advance(): Promise<boolean>;
  /** What the last round, or advance, stumbled over first, for people. */
  problem(): string | undefined;
  makeDue(): Promise<Made>;
  makeDay(day: string): Promise<Made>;
  makeNow(): Promise<Made>;
}

export function createAnchorJob(options: AnchorJobOptions): AnchorJob {
  const { ledger, store, log, buckets, metrics, now = Date.now } = options;
  const timing = { ...ANCHOR_TIMING, ...options.timing };
  const records = anchorRecords(buckets.anchors);
  const alarms = createAlarmKeeper(buckets.alarms, log);
  const maker = createMaker({
    records,
    store,
    gatherer: createGatherer({ ...options, records, now }),
    log,
    now,
    patienceMs: timing.patienceMs,
    onGathered: async (gathered) => {
      metrics.leftOut(gathered.leftOut.length);
      await alarms.tell(ALARM_KEYS.anchorIncomplete, incompleteness(gathered));
    },
  });
  let seen: Observation | undefined;
  let madeUntil = '';
  /** Of the present round. */
  let problems: unknown[] = [];

  async function make(): Promise<boolean> {
    const due = newestDueEnd(now());
    const { isWaiting } = await maker.makeDue();
    if (!isWaiting) madeUntil = due;
    return isWaiting;
  }

  async function advanceBatches(): Promise<boolean> {
    if (ledger === undefined) await explainPending({ records, now }, NO_CHAIN);
    else {
      const settings = { ...timing, maxFeePerGasWei: options.maxFeePerGasWei };
      const looked = await advanceAll({ ...timing, ledger, records, settings, log, now });
      // A chain that is out of reach, or an empty account, should be known before the next anchor needs them.
      seen = looked ?? (await ledger.observe(NO_ROOT, []));
    }
    return ledger !== undefined && (await hasOneOnItsWay());
  }

  /** One that has failed waits for a person, who takes longer. */
  async function hasOneOnItsWay(): Promise<boolean> {
    return (await records.batches()).some(
      ({ batch: { status } }) => status === 'pending' || status === 'submitted',
    );
  }

  async function publish(): Promise<boolean> {
    await publishBatches(records, store);
    return false;
  }

  async function tellHowAllStand(): Promise<boolean> {
    const batches = (await records.batches()).map(({ batch }) => batch);
    metrics.standing(batches, seen, now());
    const standing = { batches, seen, hasChain: ledger !== undefined, madeUntil, nowMs: now() };
    for (const [key, alarm] of standingAlarms(standing)) await alarms.tell(key, alarm);
    return false;
  }

  async function tellWhatStopped(stopped: WantedAlarm | undefined): Promise<boolean> {
    await alarms.tell(ALARM_KEYS.anchorStopped, stopped);
    return false;
  }

  /** What cannot be done now is tried again soon, and holds up nothing else. */
  async function orSoon(work: () => Promise<boolean>): Promise<boolean> {
    try {
      return await work();
    } catch (error) {
      log.warn({ err: error }, 'anchoring is tried again');
      problems.push(error);
      return true;
    }
  }

  async function advance(): Promise<boolean> {
    problems = [];
    return await everyOne(advanceBatches, tellHowAllStand, publish);
  }

  /** Does all of them, in this order, whichever of them fails. */
  async function everyOne(...works: (() => Promise<boolean>)[]): Promise<boolean> {
    let isWaiting = false;
    for (const work of works) isWaiting = (await orSoon(work)) || isWaiting;
    return isWaiting;
  }

  return {
    async round() {
      problems = [];
      const isWaiting = await everyOne(make, advanceBatches, tellHowAllStand, publish);
      return (
        (await orSoon(() => tellWhatStopped(problems.map(stoppage).find((alarm) => alarm !== undefined)))) ||
        isWaiting
      );
    },
    advance,
    problem: () => (problems[0] instanceof Error ? problems[0].message : undefined),
    makeDue: maker.makeDue,
    makeDay: maker.makeDay,
    makeNow: maker.makeNow,
  };
}

export interface RunningAnchorJob {
  stop(): Promise<void>;
}

/** A round in progress is given this long; what it has not kept by then is done by the next. */
const STOP_TIMEOUT_MS = 2_000;
const LEASE_KEY = 'anchor';
/** After a change by somebody else, and after a lease that went. */
const BREATH_MS = 1_000;

/**
 * Anchors day after day, for as long as this process has the lease; others stand by. The lease keeps two processes from
 * doing the same work: that they do no harm is the doing of the records.
 */
export function startAnchorJob(options: AnchorJobOptions): RunningAnchorJob {
  const stopping = new AbortController();
  const work = holdAndWork(options, stopping.signal);
  return {
    stop: async () => {
      stopping.abort();
      await Promise.race([work, delay(STOP_TIMEOUT_MS, undefined, { ref: false })]);
    },
  };
}

async function holdAndWork(options: AnchorJobOptions, signal: AbortSignal): Promise<void> {
  const { leaseTtlMs } = { ...ANCHOR_TIMING, ...options.timing };
  while (!signal.aborted) {
    const lost = new AbortController();
    try {
      const lease = await holdLease({
        bucket: options.buckets.leases,
        key: LEASE_KEY,
        holder: `${hostname()}:${process.pid}`,
        ...(options.instance === undefined ? {} : { instance: options.instance }),
        ttlMs: leaseTtlMs,
        onLost: () => lost.abort(),
        signal,
      });
      await workWhileHeld(options, AbortSignal.any([signal, lost.signal]));
      await lease.release();
    } catch (error) {
      if (!signal.aborted) options.log.warn({ err: error }, 'anchoring is begun again');
    }
    await pause(BREATH_MS, signal);
  }
}

async function workWhileHeld(options: AnchorJobOptions, signal: AbortSignal): Promise<void> {
  const { now = Date.now } = options;
  const timing = { ...ANCHOR_TIMING, ...options.timing };
  const job = createAnchorJob(options);
  let changed = new AbortController();
  const stopWatching = await options.buckets.anchors.watch(() => changed.abort(), BATCH_KEYS);
  try {
    while (!signal.aborted) {
      changed = new AbortController();
      const isWaiting = await job.round();
      const untilDueMs = Math.max(0, nextDueMs(now()) - now());
      await pause(Math.min(BREATH_MS, timing.pollMs), signal);
      const waitMs = isWaiting ? timing.pollMs : Math.min(timing.idleMs, untilDueMs);
      await pause(waitMs, AbortSignal.any([signal, changed.signal]));
    }
  } finally {
    await stopWatching();
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => {});
}
