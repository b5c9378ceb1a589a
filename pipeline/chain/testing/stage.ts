import { setTimeout as delay } from 'node:timers/promises';
import { type JetStreamManager, jetstreamManager } from '@nats-io/jetstream';
import { partitionOf } from '../../../control/partition.ts';
import { type ChainedEvent, decodeChained, type QueuedEvent } from '../../../core/message.ts';
import type { Micros } from '../../../core/time.ts';
import { crc32 } from '../../../infra/hash.ts';
import { createLogger } from '../../../infra/log.ts';
import { createMetrics } from '../../../infra/metrics.ts';
import { publishBatch } from '../../../infra/nats/batch.ts';
import { connectionState, connectNats, type NatsConnection } from '../../../infra/nats/connect.ts';
import { type Bucket, openBucket } from '../../../infra/nats/kv.ts';
import { BUCKETS, eventsSubject, STREAM_CHAINED, STREAM_EVENTS } from '../../../infra/nats/names.ts';
import { readMessage } from '../../../infra/nats/stream-info.ts';
import { ensureStreams, streamEpoch } from '../../../infra/nats/streams.ts';
import { startTestNats, type TestNats } from '../../../test/support/nats.ts';
import { decodeMessage } from '../decode.ts';
import type { ChainRow } from '../row.ts';
import type { StageOptions, StageTiming } from '../stage.ts';
import { type Chain, startStage } from '../start.ts';
import type { ChainStore } from '../store.ts';
import { chainOf, sampleDecode, samplePayload } from './sample.ts';

/* The chain stage on a real NATS server, for tests. */

export const TEST_TIMING: Partial<StageTiming> = {
  leaseTtlMs: 2_000,
  steppedDownMs: 50,
  stoppedMs: 200,
  firstRetryMs: 20,
  longestRetryMs: 200,
  insertIntervalMs: 5,
  refusalRetryMs: 5,
  floorIntervalMs: 50,
  houseIntervalMs: 100,
  writer: { droppedTokenMs: 200, lookAgainMs: 20, firstRetryMs: 10, longestRetryMs: 100 },
};

const STREAM_LIMITS = { replicas: 1, storeLimitBytes: 512 * 1024 * 1024 };

export interface TestStage {
  nats: TestNats;
  nc: NatsConnection;
  manager: JetStreamManager;
  partitions: number;
  buckets: { leases: Bucket; alarms: Bucket; floors: Bucket };
  /** Removes every stream and makes them anew: another epoch, no leases, no alarms. */
  reset(): Promise<void>;
  /** Stores one message of EVENTS as an edge would; resolves to its sequence. */
  publish(workspaceId: string, events: QueuedEvent[], receivedAtMicros?: Micros): Promise<number>;
  publishRaw(subject: string, payload: Uint8Array): Promise<number>;
  /** Another process of the stage. All of them are ended by `reset` and `close`. */
  start(store: ChainStore, options?: Partial<StageOptions>): Chain;
  /** Everything in CHAINED, by workspace, in the order of the stream. */
  chained(): Promise<Map<string, ChainedEvent[]>>;
  close(): Promise<void>;
}

export async function openTestStage(partitions = 2): Promise<TestStage> {
  const nats = await startTestNats();
  const log = createLogger('test', process.env.TEST_LOG ?? 'silent');
  const nc = await connectNats({ url: nats.url, name: 'test', log });
  const manager = await jetstreamManager(nc, { checkAPI: false });
  const running: Chain[] = [];
  let number = 0;
  const buckets = await makeStreams();

  async function makeStreams() {
    await ensureStreams(nc, STREAM_LIMITS);
    return {
      leases: await openBucket(nc, BUCKETS.leases),
      alarms: await openBucket(nc, BUCKETS.alarms),
      floors: await openBucket(nc, BUCKETS.floors),
    };
  }

  /** The server may still be removing the folder of a stream that it has just reported as deleted. */
  async function makeStreamsAnew(attempts = 5): ReturnType<typeof makeStreams> {
    try {
      return await makeStreams();
    } catch (error) {
      if (attempts === 1) throw error;
      await delay(200);
      return makeStreamsAnew(attempts - 1);
    }
  }

  /** One that a test has killed does not answer; it is left behind. */
  async function stopAll(): Promise<void> {
    await Promise.race([Promise.all(running.splice(0).map((chain) => chain.stop())), delay(500)]);
  }

  async function publishRaw(subject: string, payload: Uint8Array): Promise<number> {
    number += 1;
    const outcome = await publishBatch(nc, [{ subject, payload, messageId: `test-${number}` }], 5_000);
    if (outcome.kind !== 'stored') throw new Error(JSON.stringify(outcome));
    return outcome.lastSequence;
  }

  return {
    nats,
    nc,
    manager,
    partitions,
    buckets,
    reset: async () => {
      await stopAll();
      await eventually(connectionState(nc).connected, (connected) => connected);
      for await (const stream of manager.streams.list()) await manager.streams.delete(stream.config.name);
      Object.assign(buckets, await makeStreamsAnew());
    },
    publish: (workspaceId, events, receivedAtMicros = Date.now() * 1000) =>
      publishRaw(
        eventsSubject(partitionOf(workspaceId, partitions), workspaceId),
        samplePayload(workspaceId, events, receivedAtMicros),
      ),
    publishRaw,
    start: (store, options = {}) => {
      const chain = startStage({
        nc,
        store,
        buckets,
        log,
        metrics: createMetrics('chain'),
        partitions,
        operatorWorkspaceId: OPERATOR,
        laterFloors: [],
        instance: 'the supervised process',
        ...options,
        timing: { ...TEST_TIMING, ...options.timing },
      });
      running.push(chain);
      return chain;
    },
    chained: () => readChained(manager),
    close: async () => {
      await stopAll();
      await nc.close();
      await nats.stop();
    },
  };
}

/** Leases that everybody gets, for two processes that both believe they hold a partition. */
export function everybodysLeases(leases: Bucket): Bucket {
  return {
    ...leases,
    get: async () => undefined,
    create: async () => 1,
    update: async () => 1,
    delete: async () => {},
  };
}

export const OPERATOR = 'ws_00000000000000fe';

async function readChained(manager: JetStreamManager): Promise<Map<string, ChainedEvent[]>> {
  const found = new Map<string, ChainedEvent[]>();
  const { state } = await manager.streams.info(STREAM_CHAINED);
  for (let sequence = Math.max(1, state.first_seq); sequence <= state.last_seq; sequence++) {
    const message = await manager.streams.getMessage(STREAM_CHAINED, { seq: sequence });
    if (message === null) continue;
    const { workspaceId, events } = decodeChained(message.data, crc32);
    found.set(workspaceId, [...(found.get(workspaceId) ?? []), ...events]);
  }
  return found;
}

/** The rows of a partition as the stream alone says they must be. */
export async function expectedRows(
  { nc, manager, partitions }: TestStage,
  partition: number,
): Promise<ChainRow[]> {
  const source = { partition, epoch: await streamEpoch(nc) };
  const messages = [];
  const { state } = await manager.streams.info(STREAM_EVENTS);
  for (let sequence = Math.max(1, state.first_seq); sequence <= state.last_seq; sequence++) {
    const found = await readMessage(nc, STREAM_EVENTS, sequence);
    if (found === undefined || !found.subject.startsWith(`events.${partition}.`)) continue;
    const { payload: data, ...message } = found;
    messages.push(decodeMessage({ ...message, data }, { source, ...sampleDecode(partitions) }));
  }
  return chainOf(source, messages);
}

/** Asks until it is so, whatever fails in between; fails with what was seen last. */
export async function eventually<T>(
  look: () => Promise<T> | T,
  isSo: (seen: T) => boolean,
  timeoutMs = 20_000,
): Promise<T> {
  const until = performance.now() + timeoutMs;
  let last: unknown;
  while (performance.now() < until) {
    try {
      const seen = await look();
      if (isSo(seen)) return seen;
      last = seen;
    } catch (error) {
      last = error;
    }
    await delay(10);
  }
  throw new Error(`it never came to be; seen last: ${last instanceof Error ? last : JSON.stringify(last)}`);
}

/** `count` workspaces of one partition. */
export function workspacesOf(partition: number, partitions: number, count: number): string[] {
  const found: string[] = [];
  for (let number = 0; found.length < count; number++) {
    const id = `ws_${number.toString(16).padStart(16, '0')}`;
    if (partitionOf(id, partitions) === partition && id !== OPERATOR) found.push(id);
  }
  return found;
}
