import { jetstreamManager } from '@nats-io/jetstream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestNats, type TestNats } from '../../test/support/nats.ts';
import { createLogger } from '../log.ts';
import { publishBatch } from './batch.ts';
import { connectionState, connectNats, type NatsConnection } from './connect.ts';
import { bucketStream, chainedSubject, eventsSubject, STREAM_CHAINED, STREAM_EVENTS } from './names.ts';
import { lastMessageOfSubject, purgeBelow, readMessage, storedAtMicros, streamState } from './stream-info.ts';
import { ensureStreams, streamEpoch } from './streams.ts';

const log = createLogger('test', 'silent');
const MIB = 1024 ** 2;
const TIMEOUT_MS = 5_000;

describe('the streams', () => {
  let server: TestNats;
  let nc: NatsConnection;

  beforeAll(async () => {
    server = await startTestNats({ storeLimitBytes: 200 * MIB });
    nc = await connectNats({ url: server.url, name: 'test', log });
  });
  afterAll(async () => {
    await nc?.close();
    await server?.stop();
  });

  const untilConnected = () => expect.poll(() => connectionState(nc).connected()).toBe(true);
  const configOf = async (stream: string) => (await (await jetstreamManager(nc)).streams.info(stream)).config;

  async function store(count: number, bytes: number): Promise<void> {
    const messages = Array.from({ length: count }, (_, index) => ({
      subject: eventsSubject(1, 'ws_a'),
      payload: Buffer.alloc(bytes, index),
      messageId: `${performance.now()}.${index}`,
    }));
    expect(await publishBatch(nc, messages, TIMEOUT_MS)).toMatchObject({ kind: 'stored' });
  }

  it('are made once, by however many processes that start together', async () => {
    const others = await Promise.all(
      [1, 2, 3].map(() => connectNats({ url: server.url, name: 'other', log })),
    );
    await Promise.all(
      [nc, ...others].map((one) => ensureStreams(one, { replicas: 1, storeLimitBytes: 200 * MIB })),
    );
    const epochs = await Promise.all(others.map(streamEpoch));
    expect(new Set(epochs).size).toBe(1);
    expect(epochs[0]).toMatch(/^[0-9a-f]{16}$/);
    await Promise.all(others.map((one) => one.close()));
  });

  it('refuse when full (EVENTS) or drop the oldest (CHAINED), and never fill the store', async () => {
    expect(await configOf(STREAM_EVENTS)).toMatchObject({
      discard: 'new',
      max_age: 0,
      max_bytes: 100 * MIB,
      allow_atomic: true,
      storage: 'file',
    });
    expect(await configOf(STREAM_CHAINED)).toMatchObject({
      discard: 'old',
      max_age: 7 * 24 * 3600 * 1e9,
      max_bytes: 60 * MIB,
      max_consumers: 100_000,
    });
    expect(await configOf(bucketStream('keys'))).toMatchObject({ max_msgs_per_subject: 1, discard: 'new' });
  });

  it('follow another limit without being made anew', async () => {
    const epoch = await streamEpoch(nc);
    await store(3, 1_000);
    await ensureStreams(nc, { replicas: 1, storeLimitBytes: 150 * MIB });
    expect((await configOf(STREAM_EVENTS)).max_bytes).toBe(75 * MIB);
    expect(await streamEpoch(nc)).toBe(epoch);
    expect(await streamState(nc, STREAM_EVENTS)).toMatchObject({ messages: 3 });
  });

  it('never lose an event to a lower limit, also over a restart', async () => {
    await store(6, MIB);
    const before = await streamState(nc, STREAM_EVENTS);
    await ensureStreams(nc, { replicas: 1, storeLimitBytes: 4 * MIB });
    const shrunk = { ...before, maxBytes: 2 * MIB };
    expect(await streamState(nc, STREAM_EVENTS)).toEqual(shrunk);
    await server.kill9();
    await server.restart();
    await untilConnected();
    expect(await streamState(nc, STREAM_EVENTS)).toEqual(shrunk);
    await ensureStreams(nc, { replicas: 1, storeLimitBytes: 200 * MIB });
  });

  it('are read message by message and by their newest', async () => {
    const { lastSequence } = await streamState(nc, STREAM_EVENTS);
    const newest = await readMessage(nc, STREAM_EVENTS, lastSequence);
    expect(newest?.subject).toBe(eventsSubject(1, 'ws_a'));
    expect(Math.abs((newest?.storedAtMicros ?? 0) / 1_000 - Date.now())).toBeLessThan(60_000);
    const last = await lastMessageOfSubject(nc, STREAM_EVENTS, eventsSubject(1, 'ws_a'));
    expect([last?.sequence, last?.storedAtMicros]).toEqual([lastSequence, newest?.storedAtMicros]);
    expect(Buffer.compare(Buffer.from(last?.payload ?? []), Buffer.from(newest?.payload ?? []))).toBe(0);
    expect(await readMessage(nc, STREAM_EVENTS, lastSequence + 1)).toBeUndefined();
    expect(await lastMessageOfSubject(nc, STREAM_EVENTS, eventsSubject(1, 'ws_b'))).toBeUndefined();
  });

  it('say the same time of storing to a reader and to a consumer', async () => {
    const consumer = await (await jetstreamManager(nc)).jetstream().consumers.get(STREAM_EVENTS);
    const message = await consumer.next();
    if (message === null) throw new Error('no message');
    const read = await readMessage(nc, STREAM_EVENTS, message.seq);
    expect(storedAtMicros(message)).toBe(read?.storedAtMicros);
    await consumer.delete();
  });

  it('say which messages are gone', async () => {
    const before = await streamState(nc, STREAM_EVENTS);
    await (await jetstreamManager(nc)).streams.deleteMessage(STREAM_EVENTS, before.firstSequence + 2);
    expect(await purgeBelow(nc, before.firstSequence + 1)).toBe(1);
    expect(await streamState(nc, STREAM_EVENTS)).toMatchObject({
      firstSequence: before.firstSequence + 1,
      lastSequence: before.lastSequence,
      deletedSequences: [before.firstSequence + 2],
      lostSequences: [],
    });
    expect(await readMessage(nc, STREAM_EVENTS, before.firstSequence + 2)).toBeUndefined();
  });

  it('are purged below a sequence, and never as a whole for want of one', async () => {
    const before = await streamState(nc, STREAM_EVENTS);
    for (const nothing of [0, 1, before.firstSequence]) expect(await purgeBelow(nc, nothing)).toBe(0);
    await expect(purgeBelow(nc, Number.NaN)).rejects.toThrow(RangeError);
    await expect(purgeBelow(nc, 1.5)).rejects.toThrow(RangeError);
    expect(await streamState(nc, STREAM_EVENTS)).toEqual(before);
  });

  it('survive a kill and keep their epoch', async () => {
    const [epoch, before] = [await streamEpoch(nc), await streamState(nc, STREAM_EVENTS)];
    await server.kill9();
    await server.restart();
    await untilConnected();
    expect(await streamEpoch(nc)).toBe(epoch);
    expect(await streamState(nc, STREAM_EVENTS)).toEqual(before);
  });

  it('carry what is chained in batches as well', async () => {
    const message = {
      subject: chainedSubject(1, 'ws_a'),
      payload: Buffer.from('x'),
      messageId: 'c1',
      expectLastSubjectSequence: 0,
    };
    expect(await publishBatch(nc, [message], TIMEOUT_MS)).toMatchObject({ kind: 'stored' });
  });

  it('that somebody else made under the same name are refused', async () => {
    const manager = await jetstreamManager(nc);
    await manager.streams.delete(STREAM_EVENTS);
    await manager.streams.add({ name: STREAM_EVENTS, subjects: ['events.>'] });
    await expect(ensureStreams(nc, { replicas: 1, storeLimitBytes: 200 * MIB })).rejects.toMatchObject({
      code: 'misconfigured',
    });
  });

  it('that do not fit the server, or need more servers, are refused with the reason', async () => {
    const manager = await jetstreamManager(nc);
    await manager.streams.delete(STREAM_EVENTS);
    await expect(ensureStreams(nc, { replicas: 1, storeLimitBytes: 4_000 * MIB })).rejects.toThrow(
      /refuses the stream EVENTS/,
    );
    await expect(ensureStreams(nc, { replicas: 3, storeLimitBytes: 200 * MIB })).rejects.toMatchObject({
      code: 'misconfigured',
      nextStep: expect.stringContaining('IMMUTABLE_STREAM_REPLICAS'),
    });
  });
});
