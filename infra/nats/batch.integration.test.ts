import { jetstream } from '@nats-io/jetstream';
import { headers } from '@nats-io/transport-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestNats, type TestNats } from '../../test/support/nats.ts';
import { pauseProcess } from '../../test/support/pause.ts';
import { createLogger } from '../log.ts';
import { type BatchMessage, publishBatch } from './batch.ts';
import { connectNats, type NatsConnection } from './connect.ts';
import { eventsSubject, HEADERS, STREAM_EVENTS } from './names.ts';
import { lastMessageOfSubject, purgeBelow, readMessage, streamState } from './stream-info.ts';
import { ensureStreams } from './streams.ts';

const log = createLogger('test', 'silent');
const TIMEOUT_MS = 5_000;
const MIB = 1024 ** 2;

let made = 0;

/** `count` messages with ids of their own. */
function batchOf(count: number, options: { bytes?: number; workspace?: string } = {}): BatchMessage[] {
  made += 1;
  return Array.from({ length: count }, (_, index) => ({
    subject: eventsSubject(0, options.workspace ?? 'ws_a'),
    payload: Buffer.alloc(options.bytes ?? 100, `${made}.${index} `),
    messageId: `m${made}.${index}`,
  }));
}

describe('an atomic batch', () => {
  let server: TestNats;
  let nc: NatsConnection;

  beforeAll(async () => {
    server = await startTestNats();
    nc = await connectNats({ url: server.url, name: 'test', log });
    await ensureStreams(nc, { replicas: 1, storeLimitBytes: 900 * MIB });
  });
  afterAll(async () => {
    await nc?.close();
    await server?.stop();
  });

  it('may be a single message', async () => {
    const { lastSequence } = await streamState(nc, STREAM_EVENTS);
    expect(await publishBatch(nc, batchOf(1), TIMEOUT_MS)).toEqual({
      kind: 'stored',
      firstSequence: lastSequence + 1,
      lastSequence: lastSequence + 1,
    });
  });

  it('may have 1,000 messages, which are consecutive and in order', async () => {
    const batch = batchOf(1_000);
    const outcome = await publishBatch(nc, batch, TIMEOUT_MS);
    if (outcome.kind !== 'stored') throw new Error(JSON.stringify(outcome));
    expect(outcome.lastSequence - outcome.firstSequence).toBe(999);
    for (const index of [0, 499, 999]) {
      const message = await readMessage(nc, STREAM_EVENTS, outcome.firstSequence + index);
      expect(message?.payload).toEqual(batch[index]?.payload);
    }
  });

  it('with more, with none, with an id twice or with an oversized message is a mistake of the caller', async () => {
    const [twice] = batchOf(1);
    if (twice === undefined) throw new Error('no message');
    for (const batch of [batchOf(1_001), [], [twice, twice], batchOf(1, { bytes: 3 * MIB })]) {
      await expect(publishBatch(nc, batch, TIMEOUT_MS)).rejects.toThrow(RangeError);
    }
  });

  it.each([1, 2, 50])('of %d that is repeated is known to be stored, and stays single', async (count) => {
    const batch = batchOf(count);
    expect(await publishBatch(nc, batch, TIMEOUT_MS)).toMatchObject({ kind: 'stored' });
    const before = await streamState(nc, STREAM_EVENTS);
    expect(await publishBatch(nc, batch, TIMEOUT_MS)).toEqual({ kind: 'already_stored' });
    expect(await streamState(nc, STREAM_EVENTS)).toEqual(before);
  });

  it('does not mix with batches sent at the same time', async () => {
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, () => publishBatch(nc, batchOf(100), TIMEOUT_MS)),
    );
    const firsts = outcomes.map((outcome) => {
      if (outcome.kind !== 'stored') throw new Error(JSON.stringify(outcome));
      expect(outcome.lastSequence - outcome.firstSequence).toBe(99);
      return outcome.firstSequence;
    });
    expect(new Set(firsts).size).toBe(20);
  });

  it('interleaved message by message on two connections is still stored in one piece each', async () => {
    const other = await connectNats({ url: server.url, name: 'other', log });
    const [left, right] = [batchOf(3), batchOf(3)];
    const send = (connection: NatsConnection, batch: BatchMessage[], id: string, index: number) => {
      const message = batch[index];
      if (message === undefined) throw new Error('no such message');
      connection.publish(message.subject, message.payload, { headers: rawHeaders(id, index + 1, message) });
    };
    for (const index of [0, 1]) {
      send(nc, left, 'left', index);
      await nc.flush();
      send(other, right, 'right', index);
      await other.flush();
    }
    const commit = async (connection: NatsConnection, batch: BatchMessage[], id: string) => {
      const last = batch[2];
      if (last === undefined) throw new Error('no such message');
      const lastHeaders = rawHeaders(id, 3, last);
      lastHeaders.set(HEADERS.batchCommit, '1');
      const reply = await connection.request(last.subject, last.payload, {
        headers: lastHeaders,
        timeout: TIMEOUT_MS,
      });
      return reply.json<{ seq: number; count: number }>();
    };
    const second = await commit(other, right, 'right');
    const first = await commit(nc, left, 'left');
    expect([second.count, first.count]).toEqual([3, 3]);
    expect(first.seq - second.seq).toBe(3);
    await other.close();
  });

  it('without its commit leaves nothing behind', async () => {
    const before = await streamState(nc, STREAM_EVENTS);
    for (const [index, message] of batchOf(5).entries()) {
      nc.publish(message.subject, message.payload, { headers: rawHeaders('abandoned', index + 1, message) });
    }
    await nc.flush();
    expect(await streamState(nc, STREAM_EVENTS)).toEqual(before);
    await server.restart();
    await expect.poll(() => publishBatch(nc, batchOf(1), TIMEOUT_MS)).toMatchObject({ kind: 'stored' });
    const after = await streamState(nc, STREAM_EVENTS);
    expect(after.messages).toBe(before.messages + 1);
  });

  it('is refused when a start got lost, and may be repeated', async () => {
    const batch = batchOf(3);
    const last = batch[2];
    if (last === undefined) throw new Error('no such message');
    const lastHeaders = rawHeaders('headless', 3, last);
    lastHeaders.set(HEADERS.batchCommit, '1');
    const reply = await nc.request(last.subject, last.payload, { headers: lastHeaders, timeout: TIMEOUT_MS });
    expect(reply.json()).toMatchObject({ error: { err_code: 10_176 } });
    expect(await publishBatch(nc, batch, TIMEOUT_MS)).toMatchObject({ kind: 'stored' });
  });

  it('is busy while 50 others are open, which does not concern a single message', async () => {
    for (let open = 0; open < 50; open++) {
      const [message] = batchOf(1);
      if (message === undefined) throw new Error('no message');
      nc.publish(message.subject, message.payload, { headers: rawHeaders(`open${open}`, 1, message) });
    }
    await nc.flush();
    // Its first message is turned away without an answer, so the commit finds no batch.
    const batch = batchOf(2);
    expect(await publishBatch(nc, batch, TIMEOUT_MS)).toMatchObject({ kind: 'busy', code: 10_176 });
    expect(await publishBatch(nc, batchOf(1), TIMEOUT_MS)).toMatchObject({ kind: 'stored' });
    await server.restart();
    await expect.poll(() => publishBatch(nc, batch, TIMEOUT_MS)).toMatchObject({ kind: 'stored' });
  });

  it('waits for no answer once the connection is gone', async () => {
    const alone = await startTestNats();
    const connection = await connectNats({ url: alone.url, name: 'alone', log });
    await ensureStreams(connection, { replicas: 1, storeLimitBytes: 100 * MIB });
    await pauseProcess(alone.pid);
    const startedAt = performance.now();
    const outcome = publishBatch(connection, batchOf(2), 30_000);
    setTimeout(() => void alone.kill9(), 100);
    expect(await outcome).toMatchObject({ kind: 'unknown' });
    expect(await publishBatch(connection, batchOf(2), 30_000)).toEqual({
      kind: 'unknown',
      reason: 'not connected',
    });
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    await connection.close();
    expect(await publishBatch(connection, batchOf(1), 30_000)).toMatchObject({ kind: 'unknown' });
    await alone.stop();
  });

  it('has no answer from a server that hangs, and the repetition settles it', async () => {
    const batch = batchOf(3);
    await pauseProcess(server.pid);
    const outcome = await publishBatch(nc, batch, 300);
    process.kill(server.pid, 'SIGCONT');
    expect(outcome).toMatchObject({ kind: 'unknown' });
    await expect.poll(() => publishBatch(nc, batch, TIMEOUT_MS)).toEqual({ kind: 'already_stored' });
  });

  it('is busy where no stream takes its subject', async () => {
    const [message] = batchOf(1);
    if (message === undefined) throw new Error('no message');
    expect(await publishBatch(nc, [{ ...message, subject: 'nowhere.0' }], TIMEOUT_MS)).toMatchObject({
      kind: 'busy',
      code: 503,
    });
  });
});

describe('the expected last sequence of a subject', () => {
  let server: TestNats;
  let nc: NatsConnection;
  beforeAll(async () => {
    server = await startTestNats();
    nc = await connectNats({ url: server.url, name: 'test', log });
    await ensureStreams(nc, { replicas: 1, storeLimitBytes: 100 * MIB });
  });
  afterAll(async () => {
    await nc?.close();
    await server?.stop();
  });

  const expecting = (workspace: string, sequence: number) =>
    batchOf(1, { workspace }).map((message) => ({ ...message, expectLastSubjectSequence: sequence }));

  it('lets the next message in and refuses any other', async () => {
    expect(await publishBatch(nc, expecting('ws_x', 0), TIMEOUT_MS)).toMatchObject({
      kind: 'stored',
      lastSequence: 1,
    });
    expect(await publishBatch(nc, expecting('ws_x', 0), TIMEOUT_MS)).toMatchObject({
      kind: 'refused',
      code: 10_071,
    });
    expect(await publishBatch(nc, expecting('ws_x', 1), TIMEOUT_MS)).toMatchObject({
      kind: 'stored',
      lastSequence: 2,
    });
    expect(await publishBatch(nc, expecting('ws_new', 2), TIMEOUT_MS)).toMatchObject({ kind: 'refused' });
  });

  it('refuses the whole batch when one subject is not as expected', async () => {
    const batch = [...expecting('ws_y', 0), ...expecting('ws_x', 0)];
    expect(await publishBatch(nc, batch, TIMEOUT_MS)).toMatchObject({ kind: 'refused' });
    expect(await lastMessageOfSubject(nc, STREAM_EVENTS, eventsSubject(0, 'ws_y'))).toBeUndefined();
    const good = [...expecting('ws_y', 0), ...expecting('ws_x', 2)];
    expect(await publishBatch(nc, good, TIMEOUT_MS)).toMatchObject({ kind: 'stored' });
  });

  it('can be given for the first message of a subject in a batch only', async () => {
    const first = expecting('ws_z', 0);
    const more = batchOf(2, { workspace: 'ws_z' });
    expect(await publishBatch(nc, [...first, ...expecting('ws_z', 0)], TIMEOUT_MS)).toMatchObject({
      kind: 'refused',
    });
    expect(await publishBatch(nc, [...first, ...more], TIMEOUT_MS)).toMatchObject({ kind: 'stored' });
  });

  it('of a batch that was stored before gives way to the word that it was', async () => {
    const batch = expecting('ws_again', 0);
    expect(await publishBatch(nc, batch, TIMEOUT_MS)).toMatchObject({ kind: 'stored' });
    expect(await publishBatch(nc, batch, TIMEOUT_MS)).toEqual({ kind: 'already_stored' });
  });
});

describe('a full stream', () => {
  it('refuses a batch that does not fit, whole, and takes it when there is room', async () => {
    const server = await startTestNats({ storeLimitBytes: 24 * MIB });
    const nc = await connectNats({ url: server.url, name: 'test', log });
    await ensureStreams(nc, { replicas: 1, storeLimitBytes: 24 * MIB });
    for (let filled = 0; filled < 9; filled++) {
      expect(await publishBatch(nc, batchOf(1, { bytes: MIB }), TIMEOUT_MS)).toMatchObject({
        kind: 'stored',
      });
    }
    const before = await streamState(nc, STREAM_EVENTS);
    const batch = batchOf(6, { bytes: MIB });
    expect(await publishBatch(nc, batch, TIMEOUT_MS)).toMatchObject({ kind: 'full', code: 10_077 });
    expect(await publishBatch(nc, batch, TIMEOUT_MS)).toMatchObject({ kind: 'full', code: 10_077 });
    expect(await streamState(nc, STREAM_EVENTS)).toEqual(before);
    expect(await purgeBelow(nc, 6)).toBe(5);
    expect(await publishBatch(nc, batch, TIMEOUT_MS)).toMatchObject({ kind: 'stored', lastSequence: 15 });
    expect(await streamState(nc, STREAM_EVENTS)).toMatchObject({
      firstSequence: 6,
      lastSequence: 15,
      messages: 10,
    });
    await nc.close();
    await server.stop();
  });
});

describe('a server killed in the middle of commits', () => {
  const KILLS = 4;

  it('has all of a batch or nothing of it, and the repetition settles which', async () => {
    const server = await startTestNats();
    const nc = await connectNats({ url: server.url, name: 'test', log });
    await ensureStreams(nc, { replicas: 1, storeLimitBytes: 900 * MIB });
    const sent: BatchMessage[][] = [];
    for (let kill = 0; kill < KILLS; kill++) {
      const unanswered: BatchMessage[][] = [];
      const senders = [1, 5, 100, 1_000].map(async (count) => {
        for (;;) {
          const batch = batchOf(count, { bytes: 400 });
          sent.push(batch);
          const outcome = await publishBatch(nc, batch, TIMEOUT_MS);
          if (outcome.kind === 'stored') continue;
          expect(['unknown', 'busy']).toContain(outcome.kind);
          return unanswered.push(batch);
        }
      });
      await new Promise((resolve) => setTimeout(resolve, 30 + Math.random() * 120));
      await server.kill9();
      await Promise.all(senders);
      await server.restart();
      for (const batch of unanswered) await untilAnswered(nc, batch);
    }
    const wanted = sent.flat().map(({ payload }) => Buffer.from(payload).toString());
    expect((await payloadsOf(nc)).sort()).toEqual(wanted.sort());
    await nc.close();
    await server.stop();
  }, 120_000);
});

async function payloadsOf(nc: NatsConnection): Promise<string[]> {
  const consumer = await jetstream(nc).consumers.get(STREAM_EVENTS);
  const { messages } = await streamState(nc, STREAM_EVENTS);
  const payloads: string[] = [];
  for await (const message of await consumer.consume()) {
    payloads.push(message.string());
    if (payloads.length === messages) break;
  }
  return payloads;
}

async function untilAnswered(
  nc: NatsConnection,
  batch: BatchMessage[],
): Promise<'stored' | 'already_stored'> {
  for (;;) {
    const outcome = await publishBatch(nc, batch, TIMEOUT_MS);
    if (outcome.kind === 'stored' || outcome.kind === 'already_stored') return outcome.kind;
    if (outcome.kind !== 'unknown' && outcome.kind !== 'busy') throw new Error(JSON.stringify(outcome));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function rawHeaders(batchId: string, sequence: number, message: BatchMessage) {
  const result = headers();
  result.set(HEADERS.batchId, batchId);
  result.set(HEADERS.batchSequence, String(sequence));
  result.set(HEADERS.messageId, message.messageId);
  return result;
}
