import { setTimeout as sleep } from 'node:timers/promises';
import type { LoadResult } from './load/plan.ts';
import { startLoad } from './load/run.ts';
import type { BenchStack } from './stack.ts';

const LOOK_EVERY_MS = 100;
const WARMUP_MS = 5000;
/** Enough that the chain stage is never idle, little enough that the run is in balance: about 2 s of work. */
const MAX_BACKLOG_EVENTS = 150_000;
const DRAIN_TIMEOUT_MS = 120_000;

export const BATCH_SIZE = 100;
export const BATCH_CONNECTIONS = 32;

/** A load held in balance: as much is stored as is sent. */
export interface Throughput {
  /** Stored and countable, over the measured time. */
  storedPerSecond: number;
  load: LoadResult;
  /** Most events that were accepted and not yet stored. */
  backlog: number;
}

/**
 * Sends batches to the workspaces in turn, never more than a fixed backlog beyond what is stored, and
 * measures how fast the table grows. Afterwards waits until every event sent is stored, and throws unless
 * it is exactly those.
 */
export async function measureThroughput(
  stack: BenchStack,
  options: { apiKeys: string[]; measureMs: number },
): Promise<Throughput> {
  const before = await stack.storedEvents();
  const load = startLoad({
    ...stack.address,
    path: '/api/v1/events/batch',
    apiKeys: options.apiKeys,
    connections: BATCH_CONNECTIONS,
    batchSize: BATCH_SIZE,
    warmupMs: WARMUP_MS,
    measureMs: options.measureMs,
    maxBacklog: MAX_BACKLOG_EVENTS,
  });
  const growth = watchGrowth(async () => (await stack.storedEvents()) - before, load.stored);
  try {
    await load.measuring;
    const start = await growth.now();
    const result = await load.done;
    const end = await growth.now();
    await untilStored(stack, before + result.totalEvents);
    return {
      storedPerSecond: ((end.events - start.events) * 1000) / (end.atMs - start.atMs),
      load: result,
      backlog: result.totalEvents - end.events,
    };
  } finally {
    await growth.stop();
  }
}

/** Waits until exactly `expected` events are stored; throws when there are more, or when they stop coming. */
export async function untilStored(stack: BenchStack, expected: number): Promise<void> {
  const deadline = performance.now() + DRAIN_TIMEOUT_MS;
  for (;;) {
    const stored = await stack.storedEvents();
    if (stored === expected) return;
    if (stored > expected) throw new Error(`${stored} events are stored, ${expected} were sent`);
    if (performance.now() > deadline) throw new Error(`only ${stored} of ${expected} events were stored`);
    await sleep(LOOK_EVERY_MS);
  }
}

interface Reading {
  atMs: number;
  events: number;
}

/** Tells the load generator how far storing has come, until stopped. */
function watchGrowth(count: () => Promise<number>, tell: (events: number) => void) {
  let stopping = false;
  async function now(): Promise<Reading> {
    const events = await count();
    return { atMs: performance.now(), events };
  }
  async function watch(): Promise<void> {
    while (!stopping) {
      tell((await now()).events);
      await sleep(LOOK_EVERY_MS);
    }
  }
  const watching = watch();
  watching.catch(() => {});
  return {
    now,
    async stop() {
      stopping = true;
      await watching;
    },
  };
}
