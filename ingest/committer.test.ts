import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { decodeQueued, encodeQueuedLine } from '../core/message.ts';
import { crc32 } from '../infra/hash.ts';
import type { BatchMessage, BatchOutcome } from '../infra/nats/batch.ts';
import { type CommitLimits, createCommitter } from './committer.ts';

const log = pino({ level: 'silent' });
const NOW = 1_750_000_000_000_000;
const CLIENTS = 12;

/** What can happen to one attempt. `lost_before` and `lost_after` say the same to the caller. */
type Fault = 'ok' | 'lost_before' | 'lost_after' | 'busy' | 'full' | 'refused';

/** A stream as the server keeps it: a batch is stored whole or not at all, and never twice by its ids. */
function createFakeStream(nextFault: (attempt: number) => Fault = () => 'ok', latencyMs = () => 1) {
  const batches: BatchMessage[][] = [];
  const ids = new Set<string>();
  let attempts = 0;
  let inFlight = 0;
  let mostInFlight = 0;

  function store(messages: readonly BatchMessage[]): BatchOutcome {
    if (messages.some(({ messageId }) => ids.has(messageId))) return { kind: 'already_stored' };
    for (const { messageId } of messages) ids.add(messageId);
    batches.push([...messages]);
    return { kind: 'stored', firstSequence: 1, lastSequence: messages.length };
  }

  async function publish(messages: readonly BatchMessage[]): Promise<BatchOutcome> {
    attempts += 1;
    const fault = nextFault(attempts);
    inFlight += 1;
    mostInFlight = Math.max(mostInFlight, inFlight);
    await delay(latencyMs());
    inFlight -= 1;
    switch (fault) {
      case 'ok':
        return store(messages);
      case 'lost_after':
        store(messages);
        return { kind: 'unknown', reason: 'timeout' };
      case 'lost_before':
        return { kind: 'unknown', reason: 'timeout' };
      case 'busy':
        return { kind: 'busy', code: 10_211, reason: '' };
      case 'full':
        return { kind: 'full', code: 10_077, reason: '' };
      case 'refused':
        return { kind: 'refused', code: 10_059, reason: '' };
    }
  }

  const decoded = () => batches.map((batch) => batch.map(({ payload }) => decodeQueued(payload, crc32)));
  return {
    publish,
    batches,
    decoded,
    /** Ids of the events of a workspace, in stored order. */
    stored: (workspaceId: string) =>
      decoded()
        .flat()
        .filter((message) => message.workspaceId === workspaceId)
        .flatMap(({ events }) => events.map(({ id }) => id)),
    attempts: () => attempts,
    mostInFlight: () => mostInFlight,
  };
}

function committerOn(stream: ReturnType<typeof createFakeStream>, limits: Partial<CommitLimits> = {}) {
  return createCommitter({
    publish: stream.publish,
    subjectOf: (workspaceId) => `events.0.${workspaceId}`,
    nowMicros: () => NOW,
    crc32,
    log,
    limits: { retryMs: 2_000, ...limits },
  });
}

const line = (id: string, bytes = 10) =>
  encodeQueuedLine({ id, keyed: false, salt: 's', body: `"${'b'.repeat(bytes)}"`, private: '{}' });
const lines = (...ids: string[]) => ids.map((id) => line(id));

describe('a commit', () => {
  it('resolves once the lines are stored, and says when they were received', async () => {
    const stream = createFakeStream();
    await committerOn(stream).commit('w1', lines('a', 'b'));
    expect(stream.decoded()).toMatchObject([
      [{ workspaceId: 'w1', receivedAtMicros: NOW, events: [{ id: 'a' }, { id: 'b' }] }],
    ]);
    expect(stream.batches[0]?.[0]?.subject).toBe('events.0.w1');
  });

  it('shares a batch with what arrives in the same turn: one message a workspace', async () => {
    const stream = createFakeStream();
    const committer = committerOn(stream);
    await Promise.all([
      committer.commit('w1', lines('a')),
      committer.commit('w2', lines('x')),
      committer.commit('w1', lines('b', 'c')),
    ]);
    expect(stream.batches.length).toBe(1);
    expect(stream.batches[0]?.length).toBe(2);
    expect(stream.stored('w1')).toEqual(['a', 'b', 'c']);
    expect(stream.stored('w2')).toEqual(['x']);
  });

  it('has at most four groups in flight, and gathers meanwhile', async () => {
    const stream = createFakeStream(
      () => 'ok',
      () => 20,
    );
    const committer = committerOn(stream);
    const commits: Promise<void>[] = [];
    for (let index = 0; index < 200; index += 1) {
      commits.push(committer.commit('w', lines(String(index))));
      if (index % 10 === 0) await delay(1);
    }
    await Promise.all(commits);
    expect(stream.mostInFlight()).toBe(4);
    expect(stream.batches.length).toBeLessThan(30);
    expect(stream.stored('w').map(Number)).toEqual(Array.from({ length: 200 }, (_, index) => index));
  });

  it('keeps messages under their limit and a request in one batch', async () => {
    const stream = createFakeStream();
    const committer = committerOn(stream, { messageBytes: 1_000, groupBytes: 3_000 });
    const many = Array.from({ length: 20 }, (_, index) => line(String(index), 200));
    await Promise.all([committer.commit('w', many), committer.commit('w', [line('last', 200)])]);
    expect(stream.batches.length).toBe(2);
    for (const message of stream.batches.flat()) expect(message.payload.length).toBeLessThan(1_100);
    expect(stream.stored('w')).toEqual([...many.keys(), 'last'].map(String));
  });

  it('puts no more messages into a batch than the server takes', async () => {
    const stream = createFakeStream();
    const committer = committerOn(stream);
    const commits = Array.from({ length: 2_500 }, (_, index) => committer.commit(`w${index}`, lines('a')));
    await Promise.all(commits);
    expect(stream.batches.every((batch) => batch.length <= 1_000)).toBe(true);
    expect(stream.batches.flat().length).toBe(2_500);
  });
});

describe('a commit that fails', () => {
  it.each(['lost_before', 'lost_after', 'busy'] as const)(
    'is repeated with the same ids after "%s"',
    async (fault) => {
      const stream = createFakeStream((attempt) => (attempt <= 3 ? fault : 'ok'));
      await committerOn(stream).commit('w', lines('a'));
      expect(stream.attempts()).toBeGreaterThan(1);
      expect(stream.stored('w')).toEqual(['a']);
    },
  );

  it('is given up after its time, as unavailable', async () => {
    const stream = createFakeStream(() => 'lost_before');
    await expect(committerOn(stream, { retryMs: 60 }).commit('w', lines('a'))).rejects.toMatchObject({
      code: 'unavailable',
      retryAfterSeconds: 1,
    });
  });

  it.each(['full', 'refused'] as const)('is not repeated after "%s"', async (fault) => {
    const stream = createFakeStream(() => fault);
    await expect(committerOn(stream).commit('w', lines('a'))).rejects.toMatchObject({ code: 'unavailable' });
    expect(stream.attempts()).toBe(1);
  });

  it('is refused when it cannot even be sent, and leaves the committer as it was', async () => {
    const stream = createFakeStream();
    let unsendable = true;
    const committer = createCommitter({
      publish: async (messages) => {
        if (unsendable) throw new RangeError('a message of 2000 bytes is more than the server takes');
        return await stream.publish(messages);
      },
      subjectOf: (workspaceId) => `events.0.${workspaceId}`,
      nowMicros: () => NOW,
      crc32,
      log,
    });
    await expect(committer.commit('w', lines('a'))).rejects.toMatchObject({ code: 'unavailable' });
    unsendable = false;
    await committer.commit('w', lines('b'));
    expect(stream.stored('w')).toEqual(['b']);
    await committer.drain(1_000);
  });

  it('is refused at once when too much waits', async () => {
    const stream = createFakeStream(() => 'lost_before');
    const committer = committerOn(stream, { queueBytes: 1_000, retryMs: 60 });
    const first = committer.commit('w', [line('a', 800)]);
    await expect(committer.commit('w', [line('b', 800)])).rejects.toMatchObject({ code: 'unavailable' });
    await expect(first).rejects.toMatchObject({ code: 'unavailable' });
    const later = committer.commit('w', [line('c', 800)]); // there is room again
    await expect(later).rejects.toMatchObject({ message: expect.stringContaining('in time') });
  });

  it('never leaves an acknowledged event out, nor a line twice, whatever happens', {
    timeout: 30_000,
  }, async () => {
    const seed = Date.now() % 100_000;
    const random = randomFrom(seed);
    const faults: Fault[] = ['ok', 'ok', 'ok', 'lost_before', 'lost_after', 'lost_after', 'busy', 'full'];
    const stream = createFakeStream(
      () => faults[Math.floor(random() * faults.length)] ?? 'ok',
      () => random() * 4,
    );
    const committer = committerOn(stream, { retryMs: 100, groupBytes: 2_000 });
    const acknowledged: string[] = [];

    /** One client on one connection: the next request follows the answer to the one before. */
    async function client(name: string): Promise<void> {
      for (let request = 0; request < 60; request += 1) {
        const ids = Array.from(
          { length: 1 + Math.floor(random() * 4) },
          (_, place) => `${name}.${request}.${place}`,
        );
        await committer.commit(`w${Number(name) % 3}`, lines(...ids)).then(
          () => acknowledged.push(...ids),
          () => {},
        );
        if (random() < 0.3) await delay(random() * 3);
      }
    }
    await Promise.all(Array.from({ length: CLIENTS }, (_, index) => client(String(index))));

    const stored = ['w0', 'w1', 'w2'].flatMap((workspaceId) => stream.stored(workspaceId));
    const places = new Map(stored.map((id, place) => [id, place]));
    expect(places.size, `seed ${seed}`).toBe(stored.length);
    expect(acknowledged.length).toBeGreaterThan(500);
    expect(
      acknowledged.filter((id) => !places.has(id)),
      `seed ${seed}`,
    ).toEqual([]);
    // Within one client, and within one request, the order is kept.
    for (let name = 0; name < CLIENTS; name += 1) {
      const ids = acknowledged.filter((id) => id.startsWith(`${name}.`));
      const order = ids.map((id) => places.get(id) ?? -1);
      expect(order, `seed ${seed}`).toEqual([...order].sort((left, right) => left - right));
    }
  });
});

describe('draining', () => {
  it('settles what was taken and takes no more', async () => {
    const stream = createFakeStream(
      () => 'ok',
      () => 20,
    );
    const committer = committerOn(stream);
    const taken = Array.from({ length: 5 }, (_, index) => committer.commit('w', lines(String(index))));
    const draining = committer.drain(1_000);
    await expect(committer.commit('w', lines('late'))).rejects.toMatchObject({ code: 'unavailable' });
    await draining;
    await Promise.all(taken);
    expect(stream.stored('w').length).toBe(5);
  });

  it('ends in its time when the store is away', async () => {
    const committer = committerOn(
      createFakeStream(() => 'lost_before'),
      { retryMs: 60_000 },
    );
    const taken = Array.from({ length: 3 }, (_, index) => committer.commit('w', lines(String(index))));
    const outcomes = Promise.allSettled(taken);
    const startedAt = performance.now();
    await committer.drain(50);
    expect(performance.now() - startedAt).toBeLessThan(1_000);
    expect((await outcomes).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
  });

  it('is done at once when there is nothing', async () => {
    await committerOn(createFakeStream()).drain(1_000);
  });
});

/** mulberry32 */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
