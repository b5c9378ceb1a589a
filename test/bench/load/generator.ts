import { setTimeout as sleep } from 'node:timers/promises';
import { createHistogram } from '../histogram.ts';
import { type Connection, openConnection } from './connection.ts';
import type { FromGenerator, LoadPlan, LoadResult, ToGenerator } from './plan.ts';
import { buildRequests } from './requests.ts';
import { createSchedule, type Schedule } from './schedule.ts';

/** The load generator: a process of its own, so that it shares no event loop with what it measures. */

/** How often a run with a rate or a bound looks whether something is due. */
const TICK_MS = 2;
const STATUS_ACCEPTED = 202;
const REJECTED = Buffer.from('"rejected"');

let schedule: Schedule | undefined;

process.on('disconnect', () => process.exit(0));
process.on('message', (message: ToGenerator) => {
  if (message.kind === 'stored') {
    schedule?.stored(message.events);
    return;
  }
  schedule = createSchedule(message.plan);
  run(message.plan, schedule).then(
    (result) => tell({ kind: 'done', result }),
    (error: unknown) => tell({ kind: 'failed', reason: String(error) }),
  );
});

function tell(message: FromGenerator): void {
  process.send?.(message);
}

/** Rejects at the first answer that is not a 202 with every event taken: a figure with failures in it is no figure. */
async function run(plan: LoadPlan, schedule: Schedule): Promise<LoadResult> {
  const meter = createMeter(plan);
  const crew = await openCrew(plan, schedule, meter);
  const ticking = setInterval(() => crew.wakeIdle(), TICK_MS);
  try {
    schedule.start();
    crew.wakeIdle();
    await Promise.race([sleep(plan.warmupMs), crew.failed]);
    meter.begin();
    tell({ kind: 'measuring' });
    await Promise.race([sleep(plan.measureMs), crew.failed]);
    schedule.stop();
    await Promise.race([crew.untilIdle(), crew.failed]);
  } finally {
    clearInterval(ticking);
    crew.close();
  }
  return meter.result();
}

interface Crew {
  /** Lets connections that had nothing to do look again. */
  wakeIdle(): void;
  /** Resolves when every request was answered; call it once nothing more is due. */
  untilIdle(): Promise<void>;
  /** Rejects at the first failure, never resolves. */
  failed: Promise<never>;
  close(): void;
}

/** The connections, each sending its next request as soon as one is due and its last one was answered. */
async function openCrew(plan: LoadPlan, schedule: Schedule, meter: Meter): Promise<Crew> {
  const requests = buildRequests(plan);
  const connections: Connection[] = [];
  const idle: number[] = [];
  const dueAt: number[] = [];
  let next = 0;
  let fail: (error: Error) => void = () => {};
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  failed.catch(() => {});

  /** False if nothing is due. */
  function sendOn(index: number): boolean {
    const due = schedule.takeDue(performance.now());
    const request = requests[next];
    if (due === undefined || request === undefined) return false;
    next = (next + 1) % requests.length;
    dueAt[index] = due;
    connections[index]?.send(request);
    return true;
  }

  function onAnswer(index: number, status: number, body: Buffer): void {
    if (status !== STATUS_ACCEPTED || (plan.batchSize > 0 && body.includes(REJECTED))) {
      fail(new Error(`answered ${status}: ${body.subarray(0, 500).toString()}`));
      return;
    }
    meter.answered(dueAt[index] ?? 0, performance.now());
    if (!sendOn(index)) idle.push(index);
  }

  for (let index = 0; index < plan.connections; index += 1) {
    const connection = await openConnection(plan, {
      onAnswer: (status, body) => onAnswer(index, status, body),
      onFailure: fail,
    });
    connections.push(connection);
    idle.push(index);
  }

  return {
    failed,
    wakeIdle() {
      for (let index = idle.pop(); index !== undefined; index = idle.pop()) {
        if (sendOn(index)) continue;
        idle.push(index);
        return;
      }
    },
    async untilIdle() {
      while (idle.length < connections.length) await sleep(TICK_MS);
    },
    close() {
      for (const connection of connections) connection.close();
    },
  };
}

interface Meter {
  /** From here on answers count, for `measureMs`. */
  begin(): void;
  answered(dueAt: number, now: number): void;
  result(): LoadResult;
}

function createMeter({ batchSize, measureMs }: LoadPlan): Meter {
  const eventsPerRequest = Math.max(1, batchSize);
  const histogram = createHistogram();
  let from = Number.POSITIVE_INFINITY;
  let allRequests = 0;
  return {
    begin() {
      from = performance.now();
    },
    answered(dueAt, now) {
      allRequests += 1;
      if (now >= from && now < from + measureMs) histogram.record(now - dueAt);
    },
    result: () => ({
      requests: histogram.count,
      events: histogram.count * eventsPerRequest,
      totalEvents: allRequests * eventsPerRequest,
      seconds: measureMs / 1000,
      p50Ms: histogram.quantile(0.5),
      p99Ms: histogram.quantile(0.99),
      maxMs: histogram.maxMs,
    }),
  };
}
