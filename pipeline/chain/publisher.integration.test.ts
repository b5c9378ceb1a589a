import type { NatsConnection } from '@nats-io/transport-node';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { BEFORE_ALL, type Position } from '../../control/position.ts';
import { crc32 } from '../../infra/hash.ts';
import { STREAM_CHAINED } from '../../infra/nats/names.ts';
import { lastSequences } from './published.ts';
import { type Publisher, type PublisherOptions, startPublisher } from './publisher.ts';
import type { ChainRow } from './row.ts';
import { type MemoryStore, memoryStore } from './testing/memory-store.ts';
import { chainOf, readSample, SAMPLE_EPOCH, sampleEvent } from './testing/sample.ts';
import { eventually, openTestStage, type TestStage, workspacesOf } from './testing/stage.ts';

const PARTITION = 0;
const SOURCE = { partition: PARTITION, epoch: SAMPLE_EPOCH };
const [A = '', B = '', C = ''] = workspacesOf(PARTITION, 2, 3);

let stage: TestStage;
let store: MemoryStore;
const publishers: Publisher[] = [];

beforeAll(async () => {
  stage = await openTestStage(2);
});
beforeEach(async () => {
  await Promise.all(publishers.splice(0).map((publisher) => publisher.stop()));
  await stage.reset();
  store = memoryStore();
});
afterAll(async () => {
  await Promise.all(publishers.map((publisher) => publisher.stop()));
  await stage?.close();
});

function start(storedThrough: Position, options: Partial<PublisherOptions> = {}): Publisher {
  const publisher = startPublisher({
    nc: stage.nc,
    store,
    partition: PARTITION,
    crc32,
    storedThrough,
    longestRetryMs: 50,
    publishTimeoutMs: 2_000,
    ...options,
  });
  publishers.push(publisher);
  return publisher;
}

const rows = chainOf(
  SOURCE,
  Array.from({ length: 40 }, (_, index) => {
    const workspaceId = [A, B, A, C][index % 4] ?? A;
    return readSample(index + 1, workspaceId, [sampleEvent(workspaceId), sampleEvent(workspaceId)]);
  }),
);

/** Stores rows from one index to another and says what a writer would tell of them. */
function stored(from: number, to: number) {
  store.put(SOURCE, rows.slice(from, to));
  return { after: rows[from - 1]?.position ?? BEFORE_ALL, rows: rows.slice(from, to) };
}

async function expectPublished(wanted: readonly ChainRow[]): Promise<void> {
  const all = async () => [...(await stage.chained()).values()].flat();
  await eventually(
    async () => (await all()).length,
    (length) => length >= wanted.length,
  );
  await new Promise((resolve) => setTimeout(resolve, 100));
  for (const [workspaceId, events] of await stage.chained()) {
    expect(wanted.filter((row) => row.workspaceId === workspaceId)).toMatchObject(events);
  }
  expect(await all()).toHaveLength(wanted.length);
}

/** A connection whose next answers are lost, though what was asked is done. */
function losingAnswers(count: number): NatsConnection {
  let left = count;
  return new Proxy(stage.nc, {
    get: (target, name) => {
      const value = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      if (name !== 'request') return value.bind(target);
      return async (...given: Parameters<NatsConnection['request']>) => {
        const answer = await target.request(...given);
        if (given[0].startsWith('chained.') && left-- > 0) throw new Error('timeout');
        return answer;
      };
    },
  });
}

describe('a publisher', () => {
  it('publishes what it is told of, each event once and in order', async () => {
    const publisher = start(BEFORE_ALL);
    publisher.offer(stored(0, 10));
    publisher.offer(stored(10, 11));
    publisher.offer(stored(11, 80));
    await publisher.idle();
    await expectPublished(rows);
  });

  it('publishes first what an earlier process stored and left', async () => {
    const first = start(BEFORE_ALL);
    first.offer(stored(0, 8));
    await expectPublished(rows.slice(0, 8));
    await first.stop();
    stored(8, 33);
    const second = start(rows[32]!.position);
    second.offer(stored(33, 40));
    await expectPublished(rows.slice(0, 40));
  });

  it('publishes nothing when everything is published', async () => {
    const first = start(BEFORE_ALL);
    first.offer(stored(0, 8));
    await expectPublished(rows.slice(0, 8));
    await first.stop();
    start(rows[7]!.position);
    await new Promise((resolve) => setTimeout(resolve, 200));
    await expectPublished(rows.slice(0, 8));
  });

  it('publishes once in effect when answers are lost', async () => {
    const publisher = start(BEFORE_ALL, { nc: losingAnswers(3) });
    for (let from = 0; from < 80; from += 10) publisher.offer(stored(from, from + 10));
    await expectPublished(rows);
  });

  it('publishes once in effect beside another that believes the same', async () => {
    const [one, other] = [start(BEFORE_ALL), start(BEFORE_ALL)];
    stored(0, 80);
    const run = (from: number, to: number) => ({
      after: rows[from - 1]?.position ?? BEFORE_ALL,
      rows: rows.slice(from, to),
    });
    for (let from = 0; from < 80; from += 20) {
      for (let part = from; part < from + 20; part += 5) one.offer(run(part, part + 5));
      for (let part = from; part < from + 20; part += 4) other.offer(run(part, part + 4));
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await expectPublished(rows);
  });

  it('reads back from the store what does not fit into memory', async () => {
    const retries: string[] = [];
    const publisher = start(BEFORE_ALL, { waitingBytes: 5_000, onRetry: (reason) => retries.push(reason) });
    for (let from = 0; from < 80; from += 4) publisher.offer(stored(from, from + 4));
    await expectPublished(rows);
    expect(retries).toEqual([]);
  });

  it('goes on when NATS was away', async () => {
    const publisher = start(BEFORE_ALL);
    publisher.offer(stored(0, 8));
    await expectPublished(rows.slice(0, 8));
    await stage.nats.kill9();
    publisher.offer(stored(8, 20));
    await stage.nats.restart();
    await expectPublished(rows.slice(0, 20));
  });

  it('leaves out what is older than CHAINED keeps', async () => {
    const old = Date.now() * 1000 - 8 * 24 * 3600 * 1_000_000;
    store.put(
      SOURCE,
      rows.slice(0, 8).map((row) => ({ ...row, chainedAtMicros: old })),
    );
    stored(8, 12);
    start(rows[11]!.position);
    await eventually(
      async () => (await stage.chained()).size,
      (size) => size > 0,
    );
    const events = [...(await stage.chained()).values()].flat();
    expect(events.map((event) => event.id).sort()).toEqual(
      rows
        .slice(8, 12)
        .map((row) => row.id)
        .sort(),
    );
  });

  it('publishes again since about then when its newest message is damaged', async () => {
    stored(0, 8);
    await stage.publishRaw(`chained.${PARTITION}.${A}`, Buffer.from('damaged'));
    start(rows[7]!.position);
    await eventually(
      async () => (await stage.manager.streams.info(STREAM_CHAINED)).state.messages,
      (messages) => messages > 1,
    );
  });
});

describe('reading the last sequences', () => {
  it('finds those of every workspace', async () => {
    const publisher = start(BEFORE_ALL);
    publisher.offer(stored(0, 80));
    await publisher.idle();
    const found = await lastSequences(stage.nc, PARTITION, new AbortController().signal);
    expect([...found.keys()].sort()).toEqual([A, B, C].sort());
  });

  it('ends when it is told to, and when the connection goes', { timeout: 20_000 }, async () => {
    for (let number = 0; number < 300; number++) {
      await stage.publishRaw(`chained.${PARTITION}.ws_${number}`, Buffer.from('x'));
    }
    await expect(lastSequences(stage.nc, PARTITION, AbortSignal.abort())).rejects.toThrow('stopped');
    const reading = lastSequences(stage.nc, PARTITION, new AbortController().signal);
    const settled = reading.then(
      (found) => found.size,
      () => 'rejected',
    );
    await stage.nats.kill9();
    await stage.nats.restart();
    expect([300, 'rejected']).toContain(await settled);
  });
});
