import type { BenchCase, Figure } from '../case.ts';
import { type EdgeLoad, measureEdge } from '../edge.ts';
import { measureBareUws } from '../limits/uws.ts';
import type { LoadResult } from '../load/plan.ts';

const GOAL_PER_SECOND = 40_000;
const GOAL_P99_MS = 25;
const LOAD: EdgeLoad = { path: '/api/v1/events', batchSize: 0, connections: 256 };

/** What a client sees that sends one event a request and waits for each answer. */
export const edgeSingle: BenchCase = {
  name: 'edge-single',
  about: `one event a request over ${LOAD.connections} connections, each answered after fsync`,
  async run(bench) {
    const { whole, alone, remark } = await measureEdge(bench, LOAD);
    bench.progress('the same load on bare uWebSockets.js');
    const bare = await measureBareUws({
      ...LOAD,
      apiKeys: ['imk_none'],
      warmupMs: 1000,
      measureMs: bench.seconds * 500,
    });
    const limit = bare.requests / bare.seconds;
    return [
      { ...figure('edge-single', whole, limit), remarks: [remark] },
      figure('edge-single, alone', alone, limit),
    ];
  },
};

function figure(name: string, load: LoadResult, limit: number): Figure {
  const value = load.requests / load.seconds;
  return {
    name,
    value,
    unit: 'requests/s',
    p50Ms: load.p50Ms,
    p99Ms: load.p99Ms,
    goal: {
      text: `≥ ${GOAL_PER_SECOND.toLocaleString('en-US')} /s, p99 < ${GOAL_P99_MS} ms`,
      met: value >= GOAL_PER_SECOND && load.p99Ms < GOAL_P99_MS,
    },
    limit: { name: 'bare uWebSockets.js', value: limit },
  };
}
