import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { publishBatch } from '../infra/nats/batch.ts';
import { connectionState } from '../infra/nats/connect.ts';
import { eventsFilter, STREAM_EVENTS } from '../infra/nats/names.ts';
import { sampleEvent } from './chain/testing/sample.ts';
import { eventually, openTestStage, type TestStage, workspacesOf } from './chain/testing/stage.ts';
import { openReader, type Reader, type ReaderOptions, ReadingInterrupted } from './reader.ts';

const [A = ''] = workspacesOf(0, 2, 1);
const [D = ''] = workspacesOf(1, 2, 1);

const NOW = Promise.resolve();

let stage: TestStage;
const readers: Reader[] = [];

beforeAll(async () => {
  stage = await openTestStage(2);
});
beforeEach(async () => {
  for (const reader of readers.splice(0)) reader.close();
  await stage.reset();
});
afterAll(async () => {
  for (const reader of readers) reader.close();
  await stage?.close();
});

async function open(options: Partial<ReaderOptions> = {}): Promise<Reader> {
  const { losses } = connectionState(stage.nc);
  const reader = await openReader({
    nc: stage.nc,
    stream: STREAM_EVENTS,
    filter: eventsFilter(0),
    fromSequence: 1,
    losses: losses(),
    ...options,
  });
  readers.push(reader);
  return reader;
}

async function take(reader: Reader, count: number): Promise<number[]> {
  const sequences: number[] = [];
  while (sequences.length < count)
    sequences.push(...(await reader.take(NOW)).map((message) => message.sequence));
  return sequences;
}

async function publishSome(count: number, workspaceId = A): Promise<void> {
  for (let number = 0; number < count; number++) await stage.publish(workspaceId, [sampleEvent(workspaceId)]);
}

describe('a reader', () => {
  it('gives the messages of its partition, from a sequence on, in order', async () => {
    await publishSome(3);
    await publishSome(2, D);
    await publishSome(2);
    expect(await take(await open({ fromSequence: 2 }), 4)).toEqual([2, 3, 6, 7]);
    expect(await take(await open({ filter: eventsFilter(1) }), 2)).toEqual([4, 5]);
  });

  it('tells where an atomic batch ends', async () => {
    const inBatches = [[A, A, A], [A], [A, A]];
    for (const [number, workspaces] of inBatches.entries()) {
      const messages = workspaces.map((workspaceId, index) => ({
        subject: `events.0.${workspaceId}`,
        payload: Buffer.from('x'),
        messageId: `${number}-${index}`,
      }));
      await publishBatch(stage.nc, messages, 5_000);
    }
    const reader = await open();
    const ends: boolean[] = [];
    while (ends.length < 6) ends.push(...(await reader.take(NOW)).map(({ endsBatch }) => endsBatch));
    expect(ends).toEqual([false, false, true, true, false, true]);
  });

  it('waits for what is to come, and knows what is behind', async () => {
    const reader = await open();
    const taken = reader.take(NOW);
    await publishSome(1);
    const [message] = await taken;
    expect(message).toMatchObject({ sequence: 1, subject: `events.0.${A}` });
    expect(Math.abs((message?.storedAtMicros ?? 0) - Date.now() * 1000)).toBeLessThan(10_000_000);
    await publishSome(5);
    await eventually(
      () => reader.pending(),
      (pending) => pending === 5,
    );
  });

  it('collects until it is told to stop, and not longer than until a run is full', async () => {
    const reader = await open({ runBytes: 2_000 });
    const taken = reader.take(delay(500));
    await publishSome(2);
    expect((await taken).length).toBe(2);
    const full = reader.take(new Promise(() => {}));
    await publishSome(6);
    expect((await full).length).toBeGreaterThan(2);
  });

  it('keeps little in memory, however much there is', async () => {
    const big = Array.from({ length: 500 }, () => sampleEvent(A));
    for (let number = 0; number < 40; number++) await stage.publish(A, big);
    const reader = await open({ runBytes: 1_000_000 });
    await eventually(
      () => reader.pending(),
      (pending) => pending === 40,
    );
    await new Promise((resolve) => setTimeout(resolve, 300));
    const run = await reader.take(NOW);
    expect(run.length).toBeLessThan(8);
    expect([...run.map((message) => message.sequence), ...(await take(reader, 40 - run.length))]).toEqual(
      Array.from({ length: 40 }, (_, index) => index + 1),
    );
  });

  it('lets go of the stream when nothing is taken for long, after what it has', async () => {
    await publishSome(20);
    const reader = await open({ runBytes: 1_000, longestPauseMs: 100 });
    await new Promise((resolve) => setTimeout(resolve, 400));
    const rest: number[] = [];
    await expect(
      (async () => {
        for (;;) rest.push(...(await reader.take(NOW)).map((message) => message.sequence));
      })(),
    ).rejects.toBeInstanceOf(ReadingInterrupted);
    expect(rest).toEqual(rest.map((_, index) => index + 1));
    expect(rest.length).toBeLessThan(20);
  });

  it('ends when the stream is made anew, and gives nothing of the new one', async () => {
    await publishSome(1);
    const reader = await open();
    expect(await take(reader, 1)).toEqual([1]);
    const { config } = await stage.manager.streams.info(STREAM_EVENTS);
    await stage.manager.streams.delete(STREAM_EVENTS);
    await stage.manager.streams.add(config);
    await publishSome(5);
    await expect(reader.take(NOW)).rejects.toBeInstanceOf(ReadingInterrupted);
  });

  it('ends when the connection is lost', async () => {
    const reader = await open();
    const taken = expect(reader.take(NOW)).rejects.toBeInstanceOf(ReadingInterrupted);
    await stage.nats.kill9();
    await taken;
    await stage.nats.restart();
  });

  it('ends at once when the connection was lost before it began', async () => {
    const { losses } = connectionState(stage.nc);
    await publishSome(1);
    const reader = await open({ losses: losses() - 1 });
    await expect(reader.take(NOW)).rejects.toBeInstanceOf(ReadingInterrupted);
  });

  it('ends when it is closed', async () => {
    const reader = await open();
    const taken = expect(reader.take(NOW)).rejects.toBeInstanceOf(ReadingInterrupted);
    reader.close();
    await taken;
  });
});
