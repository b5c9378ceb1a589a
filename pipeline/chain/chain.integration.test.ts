import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { partitionOf } from '../../control/partition.ts';
import { METADATA_EPOCH, STREAM_CHAINED, STREAM_EVENTS } from '../../infra/nats/names.ts';
import { ensureStreams, streamEpoch } from '../../infra/nats/streams.ts';
import type { ChainRow } from './row.ts';
import type { Chain } from './start.ts';
import type { ChainStore } from './store.ts';
import { type MemoryStore, memoryStore, type Operation } from './testing/memory-store.ts';
import { type Death, mortalStore } from './testing/mortal-store.ts';
import { sampleEvent, samplePayload } from './testing/sample.ts';
import {
  eventually,
  everybodysLeases,
  expectedRows,
  OPERATOR,
  openTestStage,
  type TestStage,
  workspacesOf,
} from './testing/stage.ts';

const PARTITIONS = 2;
const [A = '', B = '', C = ''] = workspacesOf(0, PARTITIONS, 3);
const [D = ''] = workspacesOf(1, PARTITIONS, 1);

let stage: TestStage;
let store: MemoryStore;

beforeAll(async () => {
  stage = await openTestStage(PARTITIONS);
});
beforeEach(async () => {
  await stage.reset();
  store = memoryStore();
});
afterAll(async () => {
  await stage?.close();
});

function rowsOf(partition: number): ChainRow[] {
  return store.rows
    .filter((row) => row.partition === partition)
    .sort((a, b) => a.position.sequence - b.position.sequence || a.position.index - b.position.index)
    .map(({ partition: _, epoch: __, chainedAtMicros: ___, ...row }) => row);
}

async function untilStored(count: number): Promise<void> {
  await eventually(
    () => store.rows.length,
    (length) => length >= count,
  );
}

/** Stored is exactly what the stream says, and CHAINED has each of it once, in order. */
async function expectWhole(): Promise<void> {
  for (let partition = 0; partition < PARTITIONS; partition++) {
    expect(rowsOf(partition)).toEqual(await expectedRows(stage, partition));
  }
  const chained = await eventually(
    async () => [...(await stage.chained()).values()].flat(),
    (events) => events.length >= store.rows.length,
  );
  expect(chained).toHaveLength(store.rows.length);
  for (const [workspaceId, events] of await stage.chained()) {
    const rows = store.rows.filter((row) => row.workspaceId === workspaceId).sort((a, b) => a.seq - b.seq);
    expect(rows).toMatchObject(events);
    expect(events.map((event) => event.seq)).toEqual(rows.map((row) => row.seq));
  }
}

function actionsOf(workspaceId: string): string[] {
  return store.rows
    .filter((row) => row.workspaceId === workspaceId)
    .sort((a, b) => a.seq - b.seq)
    .map((row) => JSON.parse(row.body).action);
}

describe('the chain stage', () => {
  it('stores and publishes what EVENTS has, of every partition', async () => {
    await stage.publish(A, [sampleEvent(A), sampleEvent(A)]);
    await stage.publish(D, [sampleEvent(D)]);
    stage.start(store);
    await stage.publish(B, [sampleEvent(B)]);
    await stage.publish(A, [sampleEvent(A)]);
    await untilStored(5);
    await expectWhole();
  });

  it('holds many partitions in one process, or waits for them', async () => {
    const warnings: string[] = [];
    const onWarning = ({ message }: Error) => warnings.push(message);
    process.on('warning', onWarning);
    const chain = stage.start(store, { partitions: 32 });
    await eventually(
      () => [...chain.states().values()],
      (states) => states.length === 32 && states.every((state) => state === 'working'),
    );
    stage.start(store, { partitions: 32, instance: 'another process' });
    await new Promise((resolve) => setTimeout(resolve, 300));
    process.off('warning', onWarning);
    expect(warnings).toEqual([]);
  });

  it('goes on where it stopped', async () => {
    await stage.publish(A, [sampleEvent(A), sampleEvent(A)]);
    const chain = stage.start(store);
    await untilStored(2);
    await chain.stop();
    await stage.publish(A, [sampleEvent(A)]);
    await stage.publish(D, [sampleEvent(D)]);
    stage.start(store);
    await untilStored(4);
    await expectWhole();
  });

  it('keeps one event of a key: within a message, across messages, and across restarts', async () => {
    const keyed = () => sampleEvent(A, { key: 'k' });
    await stage.publish(A, [keyed(), keyed(), sampleEvent(A)]);
    await stage.publish(A, [keyed()]);
    const chain = stage.start(store);
    await untilStored(2);
    await stage.publish(A, [keyed(), sampleEvent(A)]);
    await untilStored(3);
    await chain.stop();
    stage.start(store);
    await stage.publish(A, [keyed(), sampleEvent(A)]);
    await untilStored(4);
    await expectWhole();
  });

  it('goes on after messages that held nothing new', async () => {
    const keyed = () => sampleEvent(A, { key: 'k' });
    await stage.publish(A, [keyed()]);
    stage.start(store);
    await untilStored(1);
    await stage.publish(A, [keyed()]);
    await stage.publish(A, [keyed()]);
    await stage.publish(A, [sampleEvent(A)]);
    await untilStored(2);
    await expectWhole();
  });

  it('ends an insert where the month changes', async () => {
    const midnight = Date.UTC(2026, 2, 1) * 1000;
    await stage.publish(A, [sampleEvent(A), sampleEvent(A), sampleEvent(A)], midnight - 2);
    await stage.publish(B, [sampleEvent(B)], midnight + 10);
    await stage.publish(C, [sampleEvent(C)], midnight - 1);
    stage.start(store);
    await untilStored(5);
    expect(store.rows.map((row) => row.createdAt.slice(0, 7))).toEqual([
      '2026-02',
      '2026-02',
      '2026-03',
      '2026-03',
      '2026-02',
    ]);
    await expectWhole();
  });

  it('waits while the store is away, and loses nothing', async () => {
    let away = false;
    store.fault = () => {
      if (away) throw new Error('connection refused');
    };
    stage.start(store);
    await stage.publish(A, [sampleEvent(A)]);
    await untilStored(1);
    away = true;
    for (let count = 0; count < 5; count++) await stage.publish(A, [sampleEvent(A)]);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(store.rows).toHaveLength(1);
    away = false;
    await untilStored(6);
    await expectWhole();
  });

  it('goes on after NATS was killed and came back', async () => {
    stage.start(store);
    await stage.publish(A, [sampleEvent(A)]);
    await untilStored(1);
    await stage.nats.kill9();
    await stage.nats.restart();
    await eventually(
      () =>
        stage.publish(A, [sampleEvent(A)]).then(
          () => true,
          () => false,
        ),
      (published) => published,
    );
    const publishedMs = performance.now();
    await untilStored(2);
    // A request that was lost with the connection would have run into its timeout of 5 s first.
    expect(performance.now() - publishedMs).toBeLessThan(3_000);
    await expectWhole();
  });
});

describe('a process that is killed', () => {
  const deaths: Death[] = (
    [
      'highestPosition',
      'rowAt',
      'heads',
      'knownIds',
      'insert',
      'quarantine',
      'positionOf',
      'firstPositionSince',
    ] as Operation[]
  ).flatMap((operation) =>
    [1, 2, 3].flatMap((call) =>
      (['before', 'after'] as const).map((moment) => ({ operation, moment, call })),
    ),
  );

  it.each(deaths)(
    '$moment the effect of call $call of $operation leaves work for the next, and no trace',
    async (death) => {
      await stage.publish(A, [sampleEvent(A), sampleEvent(A, { key: 'k' })]);
      await stage.publishRaw(`events.0.${B}`, Buffer.from('damaged'));
      const mortal = mortalStore(store, death);
      stage.start(mortal.view);
      await stage.publish(A, [sampleEvent(A, { key: 'k' }), sampleEvent(A, { key: 'l' })]);
      await stage.publish(B, [sampleEvent(B)]);
      await Promise.race([mortal.died, untilStored(5)]);
      await stage.publish(A, [sampleEvent(A, { key: 'l' }), sampleEvent(A)]);
      stage.start(store);
      await untilStored(6);
      await expectWhole();
      expect(store.quarantined).toHaveLength(1);
    },
  );
});

describe('two processes on one partition', () => {
  function startWithoutLease(view: ChainStore): Chain {
    const leases = everybodysLeases(stage.buckets.leases);
    return stage.start(view, { buckets: { ...stage.buckets, leases } });
  }

  async function publishRounds(rounds: number): Promise<void> {
    for (let round = 0; round < rounds; round++) {
      await stage.publish(A, [sampleEvent(A), sampleEvent(A, { key: `k${round % 7}` })]);
      await stage.publish(B, [sampleEvent(B)]);
    }
  }

  it('do not fork the chain, though neither is stopped by a lease', async () => {
    startWithoutLease(store);
    startWithoutLease(store);
    await publishRounds(30);
    await untilStored(67);
    await expectWhole();
  });

  const seeds = [1, 2, 3, 4].map((number) => (Date.now() % 100_000) * 10 + number);
  it.each(seeds)(
    'do not fork it while the store is slow and fails, before and after the effect (seed %i)',
    async (seed) => {
      const random = randomFrom(seed);
      store.fault = async () => {
        await new Promise((resolve) => setTimeout(resolve, random() * 8));
        if (random() < 0.08) throw new Error('connection reset');
        if (random() < 0.02) store.dropNextInsert();
      };
      const running = [startWithoutLease(store), startWithoutLease(store), startWithoutLease(store)];
      for (let round = 0; round < 4; round++) {
        await publishRounds(8);
        await running[round % 3]?.stop();
        running[round % 3] = startWithoutLease(store);
      }
      await untilStored(71);
      store.fault = () => {};
      await expectWhole();
    },
  );

  it('share the work by leases', async () => {
    const [one, other] = [stage.start(store, { instance: 'one' }), stage.start(store, { instance: 'other' })];
    const working = () =>
      [one, other].flatMap((chain) =>
        [...chain.states()].filter(([, state]) => state === 'working').map(([id]) => id),
      );
    await eventually(working, (ids) => ids.length === PARTITIONS);
    expect(working().sort()).toEqual([0, 1]);
    await one.stop();
    await eventually(
      () => [...other.states().values()],
      (states) => states.every((state) => state === 'working'),
    );
    await stage.publish(A, [sampleEvent(A)]);
    await stage.publish(D, [sampleEvent(D)]);
    await untilStored(2);
  });
});

describe('a stream that does not belong to what is stored', () => {
  const alarm = () => stage.buckets.alarms.get('partition.0');

  async function storeSome(count: number): Promise<void> {
    for (let number = 0; number < count; number++) await stage.publish(A, [sampleEvent(A)]);
    const chain = stage.start(store);
    await untilStored(count);
    await eventually(
      async () => (await stage.chained()).get(A)?.length,
      (published) => published === count,
    );
    await chain.stop();
  }

  async function recreate(sameEpoch: boolean): Promise<void> {
    const epoch = await streamEpoch(stage.nc);
    const { config } = await stage.manager.streams.info(STREAM_EVENTS);
    await stage.manager.streams.delete(STREAM_EVENTS);
    if (sameEpoch) await stage.manager.streams.add({ ...config, metadata: { [METADATA_EPOCH]: epoch } });
    else await ensureStreams(stage.nc, { replicas: 1, storeLimitBytes: 512 * 1024 * 1024 });
  }

  async function expectStopped(stored: number, reason: RegExp): Promise<void> {
    const chain = stage.start(store);
    const raised = await eventually(alarm, (entry) => entry !== undefined);
    expect(raised?.value).toMatchObject({ message: expect.stringMatching(reason) });
    await eventually(
      () => chain.states().get(0),
      (state) => state === 'stopped',
    );
    await stage.publish(A, [sampleEvent(A)]);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(store.rows).toHaveLength(stored);
  }

  it('stops the partition when it has another epoch', async () => {
    await storeSome(3);
    await recreate(false);
    for (let number = 0; number < 5; number++) await stage.publish(A, [sampleEvent(A)]);
    await expectStopped(3, /another one/);
  });

  it('stops every partition then, also one that has nothing stored', async () => {
    await storeSome(3);
    await recreate(false);
    const chain = stage.start(store);
    await eventually(
      () => [0, 1].map((partition) => chain.states().get(partition)).join(),
      (states) => states === 'stopped,stopped',
    );
    await stage.publish(D, [sampleEvent(D)]);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(store.rows).toHaveLength(3);
  });

  it('stops the partition when it ends before what is stored', async () => {
    await storeSome(3);
    await recreate(true);
    await stage.publish(A, [sampleEvent(A)]);
    await expectStopped(3, /ends before/);
  });

  it('stops the partition when its message is not what is stored', async () => {
    await storeSome(3);
    await recreate(true);
    for (let number = 0; number < 5; number++) await stage.publish(A, [sampleEvent(A)]);
    await expectStopped(3, /not what the stream has/);
  });

  it('stops the partition when published events are not stored and cannot be chained again', async () => {
    await storeSome(3);
    await stage.manager.streams.purge(STREAM_EVENTS, { seq: 3 });
    const older = memoryStore();
    older.put({ partition: 0, epoch: await streamEpoch(stage.nc) }, store.rows.slice(0, 1));
    store = older;
    await expectStopped(1, /missing from ClickHouse/);
  });

  it('stops the partition when CHAINED remembers nothing of them either, and only the purge was told', async () => {
    await storeSome(3);
    const epoch = await streamEpoch(stage.nc);
    await stage.buckets.floors.put('stored.0', { epoch, handled: 3, stored: { sequence: 3, index: 0 } });
    await stage.manager.streams.purge(STREAM_EVENTS, { seq: 4 });
    await stage.manager.streams.purge(STREAM_CHAINED);
    store = memoryStore();
    await expectStopped(0, /missing from ClickHouse/);
  });

  it('chains again what is missing as long as the stream has it, and publishes nothing twice', async () => {
    await storeSome(3);
    const older = memoryStore();
    older.put({ partition: 0, epoch: await streamEpoch(stage.nc) }, store.rows.slice(0, 1));
    store = older;
    stage.start(store);
    await untilStored(3);
    await stage.publish(A, [sampleEvent(A)]);
    await untilStored(4);
    await expectWhole();
  });

  it('stops the partition while it is at work', async () => {
    stage.start(store);
    for (let number = 0; number < 3; number++) await stage.publish(A, [sampleEvent(A)]);
    await untilStored(3);
    await recreate(false);
    await eventually(alarm, (entry) => entry !== undefined);
    for (let number = 0; number < 5; number++) await stage.publish(A, [sampleEvent(A)]);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(store.rows).toHaveLength(3);
  });

  it('lets the partition go on, and takes the alarm back, once both belong together again', async () => {
    await storeSome(2);
    await recreate(false);
    const chain = stage.start(store);
    await eventually(alarm, (entry) => entry !== undefined);
    store = Object.assign(store, memoryStore());
    await eventually(alarm, (entry) => entry === undefined);
    await stage.publish(A, [sampleEvent(A)]);
    await untilStored(1);
    expect(chain.states().get(0)).toBe('working');
  });

  it('compares nothing with a message that was purged', async () => {
    await storeSome(3);
    await stage.manager.streams.purge(STREAM_EVENTS);
    stage.start(store);
    await stage.publish(A, [sampleEvent(A)]);
    await untilStored(4);
    expect(store.rows.map((row) => row.seq)).toEqual([1, 2, 3, 4]);
  });
});

describe('what cannot enter the chain as it came', () => {
  it('goes to the quarantine, raises an alarm, and leaves an event in its place', async () => {
    await stage.publish(A, [sampleEvent(A)]);
    const damaged = Buffer.from(samplePayload(A, [sampleEvent(A), sampleEvent(A)]));
    damaged[damaged.length - 9] = (damaged[damaged.length - 9] ?? 0) ^ 1;
    const sequence = await stage.publishRaw(`events.0.${A}`, damaged);
    await stage.publish(A, [sampleEvent(A)]);
    stage.start(store);
    await untilStored(3);
    await expectWhole();
    expect(actionsOf(A)).toEqual(['document.viewed', 'immutable.message_damaged', 'document.viewed']);
    expect(store.quarantined).toHaveLength(1);
    expect(Buffer.from(store.quarantined[0]!.bytes)).toEqual(damaged);
    expect(store.quarantined[0]).toMatchObject({ position: { sequence, index: 0 }, workspaceId: A });
    expect(await stage.buckets.alarms.get('quarantine.0')).toBeDefined();
    expect(await stage.buckets.alarms.get('partition.0')).toBeUndefined();
  });

  it('is told to the operator when its subject names a workspace of another partition', async () => {
    await stage.publishRaw(`events.0.${D}`, Buffer.from(samplePayload(D, [sampleEvent(D)])));
    stage.start(store);
    await eventually(
      () => actionsOf(OPERATOR),
      (actions) => actions.length > 0,
    );
    expect(actionsOf(OPERATOR)).toEqual(['immutable.messages_lost']);
    expect(actionsOf(D)).toEqual([]);
    expect(store.quarantined).toHaveLength(1);
    await expectWhole();
  });

  it('is found by halving a batch that ClickHouse refuses, and everything else is stored', async () => {
    store.constraint = (row) => (row.private.includes('poison') ? 'it is bad' : undefined);
    const events = (count: number) => Array.from({ length: count }, () => sampleEvent(A));
    const poison = sampleEvent(A, { key: 'p', note: 'poison' });
    await stage.publish(A, [...events(20), poison, ...events(11)]);
    await stage.publish(B, [sampleEvent(B, { note: 'poison' })]);
    await stage.publish(A, events(3));
    stage.start(store);
    await untilStored(36);
    expect(actionsOf(A).filter((action) => action === 'immutable.event_refused')).toHaveLength(1);
    expect(actionsOf(A)[20]).toBe('immutable.event_refused');
    expect(actionsOf(A)).toHaveLength(35);
    expect(actionsOf(B)).toEqual(['immutable.event_refused']);
    expect(store.quarantined.map((entry) => Buffer.from(entry.bytes).toString())).toEqual([
      expect.stringContaining(poison.body),
      expect.stringContaining('poison'),
    ]);
    const chain = store.rows.filter((row) => row.workspaceId === A).sort((a, b) => a.seq - b.seq);
    expect(chain.map((row) => row.previousEventHash)).toEqual([
      '',
      ...chain.slice(0, -1).map((row) => row.eventHash),
    ]);
    const chained = await eventually(
      async () => (await stage.chained()).get(A) ?? [],
      (published) => published.length === 35,
    );
    expect(chained.map((event) => event.eventHash)).toEqual(chain.map((row) => row.eventHash));
  });

  it('survives a restart right behind it', async () => {
    store.constraint = (row) => (row.private.includes('poison') ? 'it is bad' : undefined);
    await stage.publish(A, [sampleEvent(A), sampleEvent(A, { note: 'poison' })]);
    const chain = stage.start(store);
    await untilStored(2);
    await chain.stop();
    stage.start(store);
    await stage.publish(A, [sampleEvent(A)]);
    await untilStored(3);
    expect(actionsOf(A)).toEqual(['document.viewed', 'immutable.event_refused', 'document.viewed']);
    expect(await stage.buckets.alarms.get('partition.0')).toBeUndefined();
  });

  it('is never an event while the store refuses everything', async () => {
    let refusing = true;
    store.constraint = () => (refusing ? 'the server is confused' : undefined);
    await stage.publish(A, [sampleEvent(A)]);
    stage.start(store);
    await eventually(
      () => store.quarantined.length,
      (length) => length > 0,
    );
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(store.rows).toEqual([]);
    refusing = false;
    await untilStored(1);
    expect(
      [...actionsOf(A)].every((action) => action.startsWith('document') || action.startsWith('immutable')),
    ).toBe(true);
  });
});

describe('messages that the broker lost', () => {
  it('raise an alarm and make one event in the operator’s chain, also across restarts', async () => {
    for (let number = 0; number < 6; number++) await stage.publish(A, [sampleEvent(A)]);
    for (const sequence of [2, 3, 5])
      await stage.manager.streams.deleteMessage(STREAM_EVENTS, sequence, false);
    const chain = stage.start(store);
    await eventually(
      () => actionsOf(OPERATOR).length,
      (count) => count === 2,
    );
    await untilStored(5);
    await chain.stop();
    stage.start(store);
    await stage.publish(A, [sampleEvent(A)]);
    await untilStored(6);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(actionsOf(OPERATOR)).toEqual(['immutable.messages_lost', 'immutable.messages_lost']);
    expect(await stage.buckets.alarms.get('events.lost')).toBeDefined();
    expect(actionsOf(A)).toHaveLength(4);
    await expectWhole();
  });
});

describe('CHAINED', () => {
  it('gets everything that is kept when it was emptied while nobody looked', async () => {
    await stage.publish(A, [sampleEvent(A)]);
    const chain = stage.start(store);
    await untilStored(1);
    await chain.stop();
    await stage.manager.streams.purge(STREAM_CHAINED);
    await stage.publish(A, [sampleEvent(A)]);
    stage.start(store);
    await untilStored(2);
    const chained = await eventually(
      async () => (await stage.chained()).get(A) ?? [],
      (events) => events.length > 0 && events.at(-1)?.seq === 2,
    );
    expect(chained.map((event) => event.seq)).toContain(2);
  });
});

function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

describe('partitions', () => {
  it('are what the workspaces of these tests belong to', () => {
    expect([A, B, C, D].map((id) => partitionOf(id, PARTITIONS))).toEqual([0, 0, 0, 1]);
  });
});
