import type { BenchCase } from '../case.ts';
import { measureBareUws } from '../limits/uws.ts';
import type { LoadPlan } from '../load/plan.ts';
import { runLoad } from '../load/run.ts';
import { withStack } from '../stack.ts';

const GOAL_PER_SECOND = 40_000;
const GOAL_P99_MS = 25;
const WARMUP_MS = 2000;

const LOAD = { path: '/api/v1/events', batchSize: 0, connections: 256, warmupMs: WARMUP_MS } as const;

/** What a client sees that sends one event a request and waits for each answer. */
export const edgeSingle: BenchCase = {
  name: 'edge-single',
  about: 'one event a request over 256 connections, each answered after fsync',
  async run({ seconds, progress, log }) {
    const measureMs = seconds * 1000;
    const product = await withStack({ progress, log }, async (stack) => {
      const workspace = await stack.workspace();
      const plan: LoadPlan = { ...LOAD, ...stack.address, apiKeys: [workspace.apiKey], measureMs };
      progress(`${plan.connections} connections for ${seconds} s`);
      return await runLoad(plan);
    });
    progress('the same load on bare uWebSockets.js');
    const bare = await measureBareUws({ ...LOAD, apiKeys: ['imk_none'], measureMs: measureMs / 2 });

    const value = product.requests / product.seconds;
    return [
      {
        name: 'edge-single',
        value,
        unit: 'requests/s',
        p50Ms: product.p50Ms,
        p99Ms: product.p99Ms,
        goal: {
          text: `≥ ${GOAL_PER_SECOND.toLocaleString('en-US')} /s, p99 < ${GOAL_P99_MS} ms`,
          met: value >= GOAL_PER_SECOND && product.p99Ms < GOAL_P99_MS,
        },
        limit: { name: 'bare uWebSockets.js', value: bare.requests / bare.seconds },
      },
    ];
  },
};
