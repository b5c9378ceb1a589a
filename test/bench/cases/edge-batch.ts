import type { BenchCase, Figure } from '../case.ts';
import { type EdgeLoad, measureEdge } from '../edge.ts';
import { measureJetStream } from '../limits/jetstream.ts';
import { packedMessage } from '../limits/packed.ts';
import type { LoadResult } from '../load/plan.ts';

const GOAL_PER_SECOND = 250_000;
const LOAD: EdgeLoad = { path: '/api/v1/events/batch', batchSize: 100, connections: 32 };

/** What a client sees that sends 100 events a request. */
export const edgeBatch: BenchCase = {
  name: 'edge-batch',
  about: `${LOAD.batchSize} events a request over ${LOAD.connections} connections, each answered after fsync`,
  async run(bench) {
    const { whole, alone, remark } = await measureEdge(bench, LOAD);
    bench.progress('the same events from one packed JetStream publisher');
    const message = packedMessage();
    const jetStream = await measureJetStream({ ...message, measureMs: bench.seconds * 500, log: bench.log });
    const bytes = Math.round(message.payload.length / message.events);
    return [
      {
        ...figure('edge-batch', whole, jetStream.eventsPerSecond),
        remarks: [remark, `the publisher writes ${bytes} bytes an event, as the edge does`],
      },
      figure('edge-batch, alone', alone, jetStream.eventsPerSecond),
    ];
  },
};

function figure(name: string, load: LoadResult, limit: number): Figure {
  const value = load.events / load.seconds;
  return {
    name,
    value,
    unit: 'events/s',
    p50Ms: load.p50Ms,
    p99Ms: load.p99Ms,
    goal: { text: `≥ ${GOAL_PER_SECOND.toLocaleString('en-US')} /s`, met: value >= GOAL_PER_SECOND },
    limit: { name: 'one packed JetStream publisher', value: limit },
  };
}
