import type { BenchCase, Figure } from '../case.ts';
import { measureRawInsert } from '../limits/raw-insert.ts';
import { type MemoryUse, watchMemory } from '../memory.ts';
import { amount } from '../report.ts';
import { withStack } from '../stack.ts';
import { measureThroughput } from '../throughput.ts';

const GOAL_PER_SECOND = 100_000;
const GOAL_MEMORY_MIB = 1536;
const WORKSPACES = 10;

/** Events that are in ClickHouse and countable, in balance with those that come in. */
export const endToEnd: BenchCase = {
  name: 'end-to-end',
  about: `batches of 100 to ${WORKSPACES} workspaces until stored and queryable, in steady state; with memory`,
  async run({ seconds, progress, log }) {
    return await withStack({ progress, log }, async (stack) => {
      const apiKeys = (await stack.workspaces(WORKSPACES)).map(({ apiKey }) => apiKey);
      progress(`${seconds} s in balance`);
      const memory = watchMemory(() => stack.processes());
      const throughput = await measureThroughput(stack, { apiKeys, measureMs: seconds * 1000 });
      const use = memory.stop();
      await stack.untilQuiet();
      progress('raw inserts of the same rows');
      const limit = await measureRawInsert(stack, { measureMs: seconds * 500 });

      const value = throughput.storedPerSecond;
      const figure: Figure = {
        name: 'end-to-end',
        value,
        unit: 'events/s',
        p50Ms: throughput.load.p50Ms,
        p99Ms: throughput.load.p99Ms,
        goal: { text: `≥ ${GOAL_PER_SECOND.toLocaleString('en-US')} /s`, met: value >= GOAL_PER_SECOND },
        limit: { name: 'raw chDB inserts', value: limit.rowsPerSecond },
        remarks: [
          `p50 and p99 are of the requests; ${amount(throughput.backlog)} events were accepted and not yet stored at the end, ` +
            `and all ${amount(throughput.load.totalEvents)} were stored after it`,
        ],
      };
      return use === undefined ? [figure] : [figure, memoryFigure(use)];
    });
  },
};

function memoryFigure(use: MemoryUse): Figure {
  const shares = Object.entries(use.atPeak).map(([name, size]) => `${name} ${amount(size)}`);
  return {
    name: 'memory',
    value: use.peakMiB,
    unit: 'MiB at the peak',
    goal: { text: `< ${GOAL_MEMORY_MIB} MiB`, met: use.peakMiB < GOAL_MEMORY_MIB },
    remarks: [
      `resident memory of all our processes together (${shares.join(', ')}); ` +
        `mean of the first third ${amount(use.earlyMiB)}, of the last third ${amount(use.lateMiB)}`,
    ],
  };
}
