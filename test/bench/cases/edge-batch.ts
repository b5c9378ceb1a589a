import type { BenchCase } from '../case.ts';
import { measureJetStream } from '../limits/jetstream.ts';
import { packedMessage } from '../limits/packed.ts';
import { runLoad } from '../load/run.ts';
import { withStack } from '../stack.ts';

const GOAL_PER_SECOND = 250_000;
const WARMUP_MS = 2000;
const BATCH_SIZE = 100;
const CONNECTIONS = 32;

/** What a client sees that sends 100 events a request. */
export const edgeBatch: BenchCase = {
  name: 'edge-batch',
  about: `${BATCH_SIZE} events a request over ${CONNECTIONS} connections, each answered after fsync`,
  async run({ seconds, progress, log }) {
    const product = await withStack({ progress, log }, async (stack) => {
      const workspace = await stack.workspace();
      progress(`${CONNECTIONS} connections for ${seconds} s`);
      return await runLoad({
        ...stack.address,
        path: '/api/v1/events/batch',
        apiKeys: [workspace.apiKey],
        connections: CONNECTIONS,
        batchSize: BATCH_SIZE,
        warmupMs: WARMUP_MS,
        measureMs: seconds * 1000,
      });
    });
    progress('the same events from one packed JetStream publisher');
    const message = packedMessage();
    const jetStream = await measureJetStream({ ...message, measureMs: seconds * 500, log });

    const value = product.events / product.seconds;
    return [
      {
        name: 'edge-batch',
        value,
        unit: 'events/s',
        p50Ms: product.p50Ms,
        p99Ms: product.p99Ms,
        goal: { text: `≥ ${GOAL_PER_SECOND.toLocaleString('en-US')} /s`, met: value >= GOAL_PER_SECOND },
        limit: { name: 'one packed JetStream publisher', value: jetStream.eventsPerSecond },
        remarks: [
          `the publisher writes ${Math.round(message.payload.length / message.events)} bytes an event`,
        ],
      },
    ];
  },
};
