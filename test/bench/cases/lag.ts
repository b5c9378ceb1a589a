import { setTimeout as sleep } from 'node:timers/promises';
import type { BenchCase } from '../case.ts';
import { documentEvent } from '../event.ts';
import { createHistogram, type Histogram } from '../histogram.ts';
import { startLoad } from '../load/run.ts';
import { amount } from '../report.ts';
import { type BenchStack, type BenchWorkspace, withStack } from '../stack.ts';
import { BATCH_SIZE, measureThroughput, untilStored } from '../throughput.ts';

const GOAL_P99_MS = 1000;
const WORKSPACES = 10;
const CALIBRATION_MS = 4000;
const WARMUP_MS = 3000;
const PROBE_EVERY_MS = 100;
/** How finely the figure is known: a probe is looked for this often. */
const LOOK_EVERY_MS = 20;
const GIVE_UP_MS = 60_000;

/** How long an event that was acknowledged is not there yet for a reader. */
export const lag: BenchCase = {
  name: 'lag',
  about: 'from 202 until GET /events/{id} finds the event, at half the load of end-to-end',
  async run({ seconds, progress, log }) {
    return await withStack({ progress, log }, async (stack) => {
      const workspaces = await stack.workspaces(WORKSPACES);
      const apiKeys = workspaces.map(({ apiKey }) => apiKey);
      progress('finding out what the full load is');
      const full = await measureThroughput(stack, { apiKeys, measureMs: CALIBRATION_MS });
      const eventsPerSecond = full.storedPerSecond / 2;

      progress(`${seconds} s at ${amount(eventsPerSecond)} events/s`);
      const before = await stack.storedEvents();
      const load = startLoad({
        ...stack.address,
        path: '/api/v1/events/batch',
        apiKeys,
        connections: PACED_CONNECTIONS,
        batchSize: BATCH_SIZE,
        warmupMs: WARMUP_MS,
        measureMs: seconds * 1000,
        eventsPerSecond,
      });
      const lags = createHistogram();
      await load.measuring;
      const probes = await probeFor(stack, workspaces, seconds * 1000, lags);
      const result = await load.done;
      await untilStored(stack, before + result.totalEvents + probes);

      const p99Ms = lags.quantile(0.99);
      return [
        {
          name: 'lag',
          value: p99Ms,
          unit: 'ms at p99',
          p50Ms: lags.quantile(0.5),
          p99Ms,
          goal: { text: `p99 < ${GOAL_P99_MS} ms`, met: p99Ms < GOAL_P99_MS },
          remarks: [
            `${lags.count} events looked for every ${LOOK_EVERY_MS} ms, longest ${amount(lags.maxMs)} ms, ` +
              `while ${amount(result.events / result.seconds)} events/s came in (p99 of those requests ${amount(result.p99Ms)} ms)`,
          ],
        },
      ];
    });
  },
};

/** At a pace, more would leave some idle for so long that the server closes them. */
const PACED_CONNECTIONS = 16;

/** Sends single events at an even pace and times each until it is found. Resolves to how many, once all were. */
async function probeFor(
  stack: BenchStack,
  workspaces: BenchWorkspace[],
  durationMs: number,
  lags: Histogram,
): Promise<number> {
  const count = Math.floor(durationMs / PROBE_EVERY_MS);
  const probes: Promise<void>[] = [];
  for (let index = 0; index < count; index += 1) {
    const workspace = workspaces[index % workspaces.length];
    if (workspace === undefined) throw new Error('there is no workspace');
    const probe = timeUntilFound(stack.baseUrl, workspace.apiKey, index).then((ms) => lags.record(ms));
    probe.catch(() => {});
    probes.push(probe);
    await sleep(PROBE_EVERY_MS);
  }
  await Promise.all(probes);
  return count;
}

async function timeUntilFound(baseUrl: string, apiKey: string, variant: number): Promise<number> {
  const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' };
  const accepted = await fetch(`${baseUrl}/api/v1/events`, {
    method: 'POST',
    headers,
    body: documentEvent(variant),
  });
  const from = performance.now();
  if (accepted.status !== 202)
    throw new Error(`a probe was answered ${accepted.status}: ${await accepted.text()}`);
  const { id } = (await accepted.json()) as { id: string };
  while (performance.now() - from < GIVE_UP_MS) {
    const answer = await fetch(`${baseUrl}/api/v1/events/${id}`, { headers });
    await answer.arrayBuffer();
    if (answer.status === 200) return performance.now() - from;
    if (answer.status !== 404) throw new Error(`GET /events/${id} was answered ${answer.status}`);
    await sleep(LOOK_EVERY_MS);
  }
  throw new Error(`event ${id} was not found within ${GIVE_UP_MS / 1000} s`);
}
