import { jetstreamManager, StorageType } from '@nats-io/jetstream';
import type { Logger } from '../../../infra/log.ts';
import { publishBatch } from '../../../infra/nats/batch.ts';
import { connectNats, type NatsConnection } from '../../../infra/nats/connect.ts';
import { startTestNats } from '../../support/nats.ts';

const STREAM = 'BENCH';
const SUBJECT = 'bench';
const STORE_BYTES = 8 * 1024 ** 3;
const WARMUP_MS = 1000;
const ANSWER_TIMEOUT_MS = 30_000;
/** 8 MiB to a commit was the fastest of the sizes tried from 0.5 to 8 MiB, and more commits at a time were no faster. */
const MESSAGES_PER_COMMIT = 16;

/** What JetStream alone can put on disk: full messages, made beforehand, one synced commit after the other. */
export async function measureJetStream(options: {
  payload: Uint8Array;
  /** In one payload. */
  events: number;
  measureMs: number;
  log: Logger;
}): Promise<{ eventsPerSecond: number }> {
  const server = await startTestNats({ storeLimitBytes: STORE_BYTES });
  const nc = await connectNats({ url: server.url, name: 'bench', log: options.log });
  try {
    await addStream(nc);
    const from = performance.now() + WARMUP_MS;
    let messages = 0;
    for (let commit = 0; ; commit += 1) {
      await storeCommit(nc, options.payload, commit);
      const elapsedMs = performance.now() - from;
      if (elapsedMs >= 0) messages += MESSAGES_PER_COMMIT;
      if (elapsedMs >= options.measureMs) {
        return { eventsPerSecond: (messages * options.events * 1000) / elapsedMs };
      }
    }
  } finally {
    await nc.close();
    await server.stop();
  }
}

async function addStream(nc: NatsConnection): Promise<void> {
  const manager = await jetstreamManager(nc);
  await manager.streams.add({
    name: STREAM,
    subjects: [SUBJECT],
    storage: StorageType.File,
    allow_atomic: true,
    max_bytes: STORE_BYTES / 2,
  });
}

async function storeCommit(nc: NatsConnection, payload: Uint8Array, commit: number): Promise<void> {
  const messages = Array.from({ length: MESSAGES_PER_COMMIT }, (_, index) => ({
    subject: SUBJECT,
    payload,
    messageId: `${commit}.${index}`,
  }));
  const outcome = await publishBatch(nc, messages, ANSWER_TIMEOUT_MS);
  if (outcome.kind !== 'stored') throw new Error(`JetStream answered ${JSON.stringify(outcome)}`);
}
