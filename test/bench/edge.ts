import type { Bench } from './case.ts';
import type { LoadPlan, LoadResult } from './load/plan.ts';
import { runLoad } from './load/run.ts';
import { amount } from './report.ts';
import { withStack } from './stack.ts';

const WARMUP_MS = 2000;

export type EdgeLoad = Pick<LoadPlan, 'path' | 'batchSize' | 'connections'>;

export interface EdgeMeasurement {
  /** All of the product running, so that what is accepted is chained and stored at the same time. */
  whole: LoadResult;
  /** Edge and NATS only: what the same edge does where the later stages have machines of their own. */
  alone: LoadResult;
  remark: string;
}

/** The same load twice, each on a fresh stack: beside all the other stages, and with them at rest. */
export async function measureEdge(bench: Bench, load: EdgeLoad): Promise<EdgeMeasurement> {
  const { seconds, progress } = bench;
  const run = (others: 'working' | 'resting') =>
    withStack(bench, async (stack) => {
      const { apiKey } = await stack.workspace();
      progress(`${load.connections} connections for ${seconds} s, the other stages ${others}`);
      const resume = others === 'resting' ? stack.pauseChain() : () => {};
      const result = await runLoad({
        ...load,
        ...stack.address,
        apiKeys: [apiKey],
        warmupMs: WARMUP_MS,
        measureMs: seconds * 1000,
      });
      const stored = await stack.storedEvents();
      resume();
      return { result, stored };
    });
  const { result: whole, stored } = await run('working');
  const { result: alone } = await run('resting');
  return {
    whole,
    alone,
    remark: `${amount(stored)} of ${amount(whole.totalEvents)} events were stored by the end of the load; "alone" is with the chain stage at rest`,
  };
}
