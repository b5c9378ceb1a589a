import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ALARM_KEYS } from '../../control/alarms.ts';
import { readSignedFloor, signedFloor } from '../../control/floors.ts';
import { checkpointText, signNote } from '../../core/checkpoint.ts';
import { chainedSubject, STREAM_CHAINED, STREAM_EVENTS } from '../../infra/nats/names.ts';
import { ensureStreams } from '../../infra/nats/streams.ts';
import { heldBytes } from '../../test/support/memory.ts';
import { sampleEvent } from '../chain/testing/sample.ts';
import { eventually, everybodysLeases, workspacesOf } from '../chain/testing/stage.ts';
import { TREE_TIMING } from './partition.ts';
import type { TreeStageOptions } from './start.ts';
import { type Death, mortalProcess } from './testing/mortal.ts';
import { faultsOf, LOG_ORIGIN, openTreeWorld, type TreeWorld } from './testing/stage.ts';

const PARTITIONS = 2;
const MIB = 1024 ** 2;
const [A = '', B = '', C = ''] = workspacesOf(0, PARTITIONS, 3);
const [D = ''] = workspacesOf(1, PARTITIONS, 1);
const MIDNIGHT = Date.UTC(2026, 2, 16) * 1000;
const HOUR = 3_600_000_000;

let world: TreeWorld;

beforeAll(async () => {
  world = await openTreeWorld(PARTITIONS);
});
beforeEach(async () => {
  await world.reset();
});
afterAll(async () => {
  await world?.close();
});

async function untilSigned(workspaceId: string, size: number): Promise<void> {
  await eventually(
    () => world.kept(workspaceId).at(-1)?.size,
    (kept) => kept === size,
  );
}

async function expectWhole(sizes: Record<string, number>): Promise<void> {
  for (const [workspaceId, size] of Object.entries(sizes)) {
    await untilSigned(workspaceId, size);
    expect((await world.signed(workspaceId))?.size).toBe(size);
    expect(faultsOf(world, workspaceId, size)).toEqual([]);
  }
}

const sizesOf = (workspaceId: string) => [...new Set(world.kept(workspaceId).map(({ size }) => size))];
const alarmOf = (workspaceId: string) => world.stage.buckets.alarms.get(ALARM_KEYS.treeMismatch(workspaceId));

async function untilAlarm(workspaceId: string): Promise<string> {
  const entry = await eventually(
    () => alarmOf(workspaceId),
    (alarm) => alarm !== undefined,
  );
  return (entry?.value as { message?: string } | undefined)?.message ?? '';
}

async function untilWorking(tree: { states(): ReadonlyMap<number, string> }): Promise<void> {
  await eventually(
    () => [...tree.states().values()],
    (states) => states.length === PARTITIONS && states.every((state) => state === 'working'),
  );
}

/** A process, from its start to its end; by then everything that is stored is signed. */
async function runOnce(sizes: Record<string, number>): Promise<void> {
  const tree = world.start();
  for (const [workspaceId, size] of Object.entries(sizes)) await untilSigned(workspaceId, size);
  await untilWorking(tree);
  await tree.stop();
}

describe('the tree stage', () => {
  it('makes tiles and signs checkpoints of what CHAINED brings, of every partition', async () => {
    const tree = world.start();
    await untilWorking(tree);
    await world.add(A, 3);
    await world.add(D, 300);
    await world.add(B, 1);
    await world.add(A, 255);
    await expectWhole({ [A]: 258, [B]: 1, [D]: 300 });
  });

  it('begins with what is stored, when CHAINED has nothing of it', async () => {
    await world.chain(A, 25_000);
    await world.chain(D, 2);
    world.start();
    await expectWhole({ [A]: 25_000, [D]: 2 });
  });

  it('goes on where it stopped, and signs no size twice', async () => {
    await world.add(A, 3);
    await runOnce({ [A]: 3 });
    await world.add(A, 300);
    await world.add(B, 1);
    await runOnce({ [A]: 303, [B]: 1 });
    await runOnce({});
    world.start();
    await world.add(A, 1);
    await expectWhole({ [A]: 304, [B]: 1 });
    const sizes = world.signedEver.map(({ workspaceId, record }) => `${workspaceId} ${record.size}`);
    expect(new Set(sizes).size).toBe(sizes.length);
    expect(world.warnings()).toEqual([]);
  });

  it('signs within ten seconds, at its own pace', async () => {
    const tree = world.start({
      timing: { lingerMs: TREE_TIMING.lingerMs, signIntervalMs: TREE_TIMING.signIntervalMs },
    });
    await untilWorking(tree);
    for (const size of [1, 2, 3]) {
      await world.add(A, 1);
      await eventually(
        async () => (await world.signed(A))?.size,
        (signed) => signed === size,
        10_000,
      );
    }
  });

  it('keeps nothing of the messages it has read', async () => {
    const tree = world.start();
    await untilWorking(tree);
    const rows = await world.add(A, 300);
    await untilSigned(A, 300);
    const before = heldBytes();
    // The same again and again, of which nothing is new.
    for (let round = 0; round < 150; round += 1) await world.publish(rows);
    await world.add(A, 1);
    await untilSigned(A, 301);
    expect(heldBytes() - before).toBeLessThan(8 * MIB);
  });

  it('reads a hole in CHAINED from ClickHouse', async () => {
    const tree = world.start();
    await untilWorking(tree);
    await world.add(A, 2);
    await world.chain(A, 300);
    await world.add(A, 1);
    await expectWhole({ [A]: 303 });
  });

  it('reads what a damaged message held from ClickHouse', async () => {
    const tree = world.start();
    await untilWorking(tree);
    await world.add(A, 2);
    await world.chain(A, 3);
    await world.stage.publishRaw(chainedSubject(0, A), Buffer.from('imk-chained/1\tdamaged'));
    await expectWhole({ [A]: 5 });
    await world.stage.publishRaw(chainedSubject(0, C), Buffer.from('of a workspace that has no event'));
    await world.add(A, 1);
    await expectWhole({ [A]: 6 });
  });

  it('takes what comes again for known', async () => {
    const tree = world.start();
    await untilWorking(tree);
    const first = await world.add(A, 3);
    const second = await world.add(A, 2);
    await world.publish(first);
    await world.publish([...first, ...second]);
    const third = await world.chain(A, 2);
    await world.publish([...second, ...third]);
    await world.publish(second);
    await expectWhole({ [A]: 7 });
  });

  it.each(['while it works', 'while it is away'])('goes on when CHAINED was made anew %s', async (when) => {
    await world.add(A, 4);
    await world.add(B, 1);
    if (when === 'while it is away') await runOnce({ [A]: 4, [B]: 1 });
    else await untilWorking(world.start());
    await world.stage.manager.streams.delete(STREAM_CHAINED);
    await eventually(
      () =>
        ensureStreams(world.stage.nc, { replicas: 1, storeLimitBytes: 512 * 1024 * 1024 }).then(() => true),
      (made) => made,
    );
    if (when === 'while it is away') world.start();
    await world.add(A, 2);
    await expectWhole({ [A]: 6, [B]: 1 });
  });

  it('goes on when CHAINED was made anew in the middle of a start', async () => {
    await world.add(A, 4);
    const heads = world.store.heads.bind(world.store);
    let anew = false;
    // Behind the look at where CHAINED ends, before it is read.
    world.store.heads = async (partition) => {
      if (!anew && partition === 0) {
        anew = true;
        await world.stage.manager.streams.delete(STREAM_CHAINED);
        await eventually(
          () =>
            ensureStreams(world.stage.nc, { replicas: 1, storeLimitBytes: 512 * 1024 * 1024 }).then(
              () => true,
            ),
          (made) => made,
        );
      }
      return await heads(partition);
    };
    for (let count = 0; count < 5; count += 1) await world.publish(await world.chain(B, 1));
    world.start();
    await untilSigned(A, 4);
    await world.add(A, 2);
    await expectWhole({ [A]: 6 });
  });

  it('keeps up with one quiet time after another without a warning of leaks', async () => {
    const warnings: string[] = [];
    const onWarning = ({ message }: Error) => warnings.push(message);
    process.on('warning', onWarning);
    const tree = world.start({ timing: { signIntervalMs: 1, lingerMs: 1 } });
    await untilWorking(tree);
    for (let size = 1; size <= 30; size += 1) {
      await world.add(A, 1);
      await untilSigned(A, size);
    }
    process.off('warning', onWarning);
    expect(warnings).toEqual([]);
  });

  it('shares partitions by leases', async () => {
    const [one, other] = [world.start({ instance: 'one' }), world.start({ instance: 'other' })];
    const working = () =>
      [one, other].flatMap((tree) =>
        [...tree.states()].filter(([, state]) => state === 'working').map(([id]) => id),
      );
    await eventually(working, (ids) => ids.length === PARTITIONS);
    expect(working().sort()).toEqual([0, 1]);
    await one.stop();
    await world.add(A, 1);
    await world.add(D, 1);
    await expectWhole({ [A]: 1, [D]: 1 });
  });
});

describe('a start', () => {
  it('asks once for the checkpoints of all workspaces that agree', async () => {
    for (const workspaceId of [A, B, C]) await world.add(workspaceId, 2);
    await runOnce({ [A]: 2, [B]: 2, [C]: 2 });
    const asked: string[] = [];
    world.store.fault = (operation, moment) => {
      if (moment === 'before') asked.push(operation);
    };
    await untilWorking(world.start());
    expect(asked.filter((operation) => operation === 'newestCheckpoint')).toEqual([]);
    expect(asked).toContain('largestSizes');
  });
});

describe('a day that ends', () => {
  it('has a checkpoint of exactly its size, while events keep coming', async () => {
    const tree = world.start({ timing: { lingerMs: 300 } });
    await untilWorking(tree);
    await world.add(A, 3, MIDNIGHT - 2);
    await world.add(A, 4, MIDNIGHT + HOUR);
    await expectWhole({ [A]: 7 });
    // The third event is received with the first, and a chain rises by a microsecond: it is of the next day.
    expect(sizesOf(A)).toEqual([2, 7]);
  });

  it('has one when the process was away at midnight, and for several days', async () => {
    await world.add(A, 2, MIDNIGHT - HOUR);
    await world.add(B, 1, MIDNIGHT - HOUR);
    await runOnce({ [A]: 2, [B]: 1 });
    await world.add(A, 1, MIDNIGHT - 1);
    await world.add(A, 5, MIDNIGHT);
    await world.add(A, 2, MIDNIGHT + 48 * HOUR);
    await world.add(B, 1, MIDNIGHT + 72 * HOUR);
    world.start();
    await expectWhole({ [A]: 10, [B]: 2 });
    expect(sizesOf(A)).toEqual([2, 3, 8, 10]);
    expect(sizesOf(B)).toEqual([1, 2]);
  });
});

/** What happens in each life and death: much is to do at the start, and more comes. */
const DEATHS: Death[] = [
  ...calls('store', { heads: 1, eventsAfter: 3, eventAt: 1, positionOf: 1, tiles: 2 }),
  ...calls('store', { writeTiles: 2, writeCheckpoints: 4, largestSizes: 1, newestCheckpoint: 1 }),
  ...calls('checkpoints', { watch: 1, create: 2, update: 4 }),
  ...calls('floors', { get: 1, put: 2 }),
  ...calls('alarms', { keys: 1 }),
];

function calls(of: string, operations: Record<string, number>): Death[] {
  return Object.entries(operations).flatMap(([operation, count]) =>
    Array.from({ length: count }, (_, index) => index + 1).flatMap((call) =>
      (['before', 'after'] as const).map((moment) => ({ of, operation, moment, call })),
    ),
  );
}

describe('a process that is killed', () => {
  it.each(DEATHS)(
    '$moment call $call of $operation ($of) leaves work for the next, and no trace',
    async (death) => {
      await world.add(A, 258, MIDNIGHT - HOUR);
      await world.add(B, 5, MIDNIGHT - HOUR);
      await runOnce({ [A]: 258, [B]: 5 });
      // NATS was restored from a backup of before B's first checkpoint.
      await world.checkpoints.delete(B);
      await world.add(A, 3, MIDNIGHT - 3);
      await world.add(A, 2, MIDNIGHT);
      await world.add(B, 1, MIDNIGHT);
      await world.add(C, 1, MIDNIGHT - 1);
      await world.add(C, 1, MIDNIGHT);

      const mortal = mortalProcess(death);
      const buckets = Object.fromEntries(
        Object.entries(world.buckets()).map(([name, bucket]) => [name, mortal.view(name, bucket)]),
      ) as unknown as TreeStageOptions['buckets'];
      world.start({
        store: mortal.view('store', world.store),
        events: mortal.view('events', world.events),
        buckets,
      });
      await Promise.race([mortal.died, untilSigned(A, 263)]);
      await world.add(A, 1, MIDNIGHT + HOUR);
      await world.add(B, 2, MIDNIGHT + 24 * HOUR);
      await eventually(mortal.isDead, (dead) => dead);

      await world.add(A, 1, MIDNIGHT + 24 * HOUR);
      world.start();
      await expectWhole({ [A]: 265, [B]: 8, [C]: 2 });
      // The ends of days are what anchors commit to.
      expect(sizesOf(A)).toEqual(expect.arrayContaining([258, 261, 264, 265]));
      expect(sizesOf(B)).toEqual(expect.arrayContaining([5, 6, 8]));
      expect(sizesOf(C)).toEqual(expect.arrayContaining([1, 2]));
    },
  );
});

describe('two processes that both believe they hold a partition', () => {
  function startWithoutLease() {
    return world.start({
      buckets: { ...world.buckets(), leases: everybodysLeases(world.stage.buckets.leases) },
    });
  }

  // That one of them steps down where they meet is shown by the signer's own tests: here it is chance whether they do.
  it('sign no fork', async () => {
    const [one, other] = [startWithoutLease(), startWithoutLease()];
    await untilWorking(one);
    await untilWorking(other);
    for (let round = 0; round < 30; round += 1) {
      await world.add(A, 1);
      await world.add(B, 2);
      await delay(20);
    }
    await expectWhole({ [A]: 30, [B]: 60 });
    expect(await alarmOf(A)).toBeUndefined();
  });

  const seeds = [1, 2, 3].map((number) => (Date.now() % 100_000) * 10 + number);
  it.each(seeds)(
    'sign none while the store is slow and fails, before and after the effect (seed %i)',
    async (seed) => {
      const random = randomFrom(seed);
      world.store.fault = async () => {
        await delay(random() * 8);
        if (random() < 0.08) throw new Error('connection reset');
      };
      const running = [startWithoutLease(), startWithoutLease(), startWithoutLease()];
      for (let round = 0; round < 24; round += 1) {
        const received = MIDNIGHT + round * 6 * HOUR;
        if (random() < 0.7) await world.add(A, 1 + Math.floor(random() * 100), received);
        else await world.chain(A, 1, received);
        await world.add(B, 1, received);
        if (round % 6 !== 5) continue;
        await running[0]?.stop();
        running.push(startWithoutLease());
        running.shift();
      }
      await world.add(A, 1, MIDNIGHT + 24 * 24 * HOUR);
      const size = world.events.rows.filter((row) => row.workspaceId === A).length;
      await untilSigned(A, size);
      world.store.fault = () => {};
      await expectWhole({ [A]: size, [B]: 24 });
      expect(await alarmOf(A)).toBeUndefined();
    },
  );

  it('take nothing amiss that the other has signed meanwhile', async () => {
    await world.add(A, 2);
    let isFirst = true;
    world.store.fault = async (operation, moment) => {
      if (operation !== 'heads' || moment !== 'after' || !isFirst) return;
      isFirst = false;
      await world.add(A, 3);
      startWithoutLease();
      await untilSigned(A, 5);
    };
    startWithoutLease();
    await untilSigned(A, 5);
    await world.add(A, 1);
    await expectWhole({ [A]: 6 });
    expect(await alarmOf(A)).toBeUndefined();
  });
});

describe('while something is away', () => {
  it('waits for ClickHouse, and loses nothing', async () => {
    const tree = world.start();
    await untilWorking(tree);
    await world.add(A, 1);
    await untilSigned(A, 1);
    let away = true;
    world.store.fault = () => {
      if (away) throw new Error('connection refused');
    };
    await world.add(A, 300);
    await world.add(B, 1);
    await delay(300);
    expect((await world.signed(A))?.size).toBe(1);
    away = false;
    await expectWhole({ [A]: 301, [B]: 1 });
  });

  it('goes on after NATS was killed and started again', async () => {
    const tree = world.start();
    await untilWorking(tree);
    await world.add(A, 3);
    await untilSigned(A, 3);
    await world.stage.nats.kill9();
    await world.stage.nats.restart();
    await eventually(
      () => world.add(A, 2).then(() => true),
      (added) => added,
    );
    const size = world.events.rows.length;
    await expectWhole({ [A]: size });
    expect(size).toBeGreaterThanOrEqual(5);
  });
});

describe('NATS and ClickHouse, when they disagree about what was signed', () => {
  it('the larger counts: a record that NATS has lost', async () => {
    await world.add(A, 3);
    await runOnce({ [A]: 3 });
    await world.checkpoints.delete(A);
    await world.add(A, 2);
    world.start();
    await expectWhole({ [A]: 5 });
  });

  it('the larger counts: a record older than the table', async () => {
    await world.add(A, 3);
    await runOnce({ [A]: 3 });
    const older = await world.signed(A);
    await world.add(A, 3);
    await runOnce({ [A]: 6 });
    await world.checkpoints.put(A, older);
    world.start();
    await eventually(
      async () => (await world.signed(A))?.size,
      (size) => size === 6,
    );
    await world.add(A, 1);
    await expectWhole({ [A]: 7 });
    expect(await alarmOf(A)).toBeUndefined();
  });

  it('the larger counts: a table that lacks the newest, whatever the floor says', async () => {
    await world.add(A, 3);
    await runOnce({ [A]: 3 });
    await eventually(
      () => readSignedFloor(world.stage.buckets.floors, 0),
      (floor) => floor !== undefined && floor.kept_revision > 0,
    );
    world.store.checkpointRows.splice(0);
    world.start();
    await expectWhole({ [A]: 3 });
  });

  it('a record that is lost while the events are cut off below it stops the workspace', async () => {
    await world.add(A, 5);
    await runOnce({ [A]: 5 });
    await world.checkpoints.delete(A);
    removeEvents(A, (seq) => seq > 3);
    world.start();
    expect(await untilAlarm(A)).toMatch(/a checkpoint of 5 was signed/);
    expect(await world.signed(A)).toBeUndefined();
  });
});

function removeEvents(workspaceId: string, isRemoved: (seq: number) => boolean): void {
  const rows = world.events.rows as unknown as { workspaceId: string; seq: number }[];
  const kept = rows.filter((row) => row.workspaceId !== workspaceId || !isRemoved(row.seq));
  rows.splice(0, rows.length, ...kept);
}

function eventOf(workspaceId: string, seq: number) {
  const row = world.events.rows.find((found) => found.workspaceId === workspaceId && found.seq === seq);
  if (row === undefined) throw new Error(`there is no event ${seq}`);
  return row;
}

describe('a checkpoint in the table that was never signed', () => {
  const seed = new Uint8Array(32).fill(9);
  const root = new Uint8Array(32).fill(1);
  const name = `${LOG_ORIGIN}/${A}`;

  function plant(size: number, note: string, rootHex = Buffer.from(root).toString('hex')): void {
    world.store.checkpointRows.push({
      workspaceId: A,
      size,
      root: rootHex,
      note,
      cosignatures: 0,
      isWitnessed: false,
      signedAt: '2026-03-15T12:00:00.000000Z',
    });
  }

  async function expectStopped(): Promise<void> {
    await world.add(A, 1);
    await world.add(B, 1);
    world.start();
    expect(await untilAlarm(A)).toMatch(/never signed/);
    await untilSigned(B, 1);
    await delay(200);
    expect((await world.signed(A))?.size).toBe(3);
  }

  async function expectMendedWithoutIt(): Promise<void> {
    world.store.checkpointRows.splice(
      0,
      world.store.checkpointRows.length,
      ...world.store.checkpointRows.filter((row) => row.size !== 99),
    );
    world.start();
    await expectWhole({ [A]: 4 });
    await eventually(
      () => alarmOf(A),
      (alarm) => alarm === undefined,
    );
  }

  it.each([
    ['by another key', signNote(checkpointText(name, 99, root), { name, seed })],
    ['of no note at all', 'rubbish'],
  ])('raises an alarm, and stops the workspace until it is gone: %s', async (_, note) => {
    await world.add(A, 3);
    await runOnce({ [A]: 3 });
    plant(99, note);
    await expectStopped();
    await expectMendedWithoutIt();
  });

  it('raises one when an older note of ours stands in a row of another size', async () => {
    await world.add(A, 3);
    await runOnce({ [A]: 3 });
    plant(99, (await world.signed(A))?.note ?? '');
    await expectStopped();
    await expectMendedWithoutIt();
  });

  it('raises one when it is of a neighbour’s log', async () => {
    await world.add(A, 3);
    await world.add(B, 120);
    await runOnce({ [A]: 3, [B]: 120 });
    const neighbours = await world.signed(B);
    plant(120, neighbours?.note ?? '', neighbours?.root);
    await world.add(A, 1);
    world.start();
    expect(await untilAlarm(A)).toMatch(/never signed/);
    expect((await world.signed(A))?.size).toBe(3);
  });
});

describe('tiles at the edge', () => {
  const tileOf = (level: number, index: number) => {
    const found = world.store.tileRows.find((tile) => tile.level === level && tile.index === index);
    if (found === undefined) throw new Error(`there is no tile ${level}/${index}`);
    return found;
  };

  it.each([
    ['changed', () => tileOf(0, 1).hashes.set([1, 2, 3], 32)],
    ['swapped', () => swapHashes()],
    ['lost', () => world.store.tileRows.splice(0)],
    ['lost in part', () => world.store.tileRows.splice(world.store.tileRows.indexOf(tileOf(1, 0)), 1)],
  ])('that are %s are made again from the events, with a warning', async (_, tamper) => {
    await world.add(A, 258);
    await runOnce({ [A]: 258 });
    tamper();
    await world.add(A, 1);
    world.start();
    await expectWhole({ [A]: 259 });
    expect(world.warnings().join()).toMatch(/tiles were missing or wrong/);
    expect(await alarmOf(A)).toBeUndefined();
  });

  function swapHashes(): void {
    const { hashes } = tileOf(0, 1);
    const [first, second] = [hashes.slice(0, 32), hashes.slice(32, 64)];
    hashes.set(second, 0);
    hashes.set(first, 32);
  }

  it('stop the workspace when events of before were archived and their tiles are lost', async () => {
    await world.add(A, 300);
    await runOnce({ [A]: 300 });
    removeEvents(A, (seq) => seq <= 100);
    world.store.tileRows.splice(0);
    await world.add(A, 1);
    world.start();
    expect(await untilAlarm(A)).toMatch(/Tile 0\/0, whose events are archived, is missing/);
  });

  it('are made again when the events of before were archived and their tiles are there', async () => {
    await world.add(A, 300);
    await runOnce({ [A]: 300 });
    const before = [...world.events.rows];
    removeEvents(A, (seq) => seq <= 100);
    tileOf(1, 0).hashes.fill(7);
    await world.add(A, 1);
    world.start();
    await untilSigned(A, 301);
    (world.events.rows as unknown[]).unshift(...before.filter((row) => row.seq <= 100));
    expect(faultsOf(world, A, 301)).toEqual([]);
  });
});

describe('events that are not what they were', () => {
  it.each([
    [
      'body',
      () => Object.assign(eventOf(A, 4), { body: eventOf(A, 4).body.replace('user_1', 'user_2') }),
      /event 4/i,
    ],
    ['hash', () => Object.assign(eventOf(A, 4), { eventHash: '0'.repeat(64) }), /event 4/i],
    [
      'link',
      () => Object.assign(eventOf(A, 4), { previousEventHash: '0'.repeat(64) }),
      /event 4 does not follow/i,
    ],
    ['number', () => Object.assign(eventOf(A, 4), { seq: 9 }), /does not follow event 3/i],
    [
      'time',
      () => Object.assign(eventOf(A, 4), { createdAt: '2026-03-15T11:00:00.000000Z' }),
      /does not follow event 3/,
    ],
  ])(
    'stop their workspace before they are signed, and no other: a changed %s',
    async (_, tamper, message) => {
      await world.add(A, 2);
      await runOnce({ [A]: 2 });
      await world.chain(A, 4);
      await world.chain(B, 2);
      const right = { ...eventOf(A, 4) };
      const changed = eventOf(A, 4);
      tamper();
      const tree = world.start();
      expect(await untilAlarm(A)).toMatch(message);
      await expectWhole({ [B]: 2 });
      await world.add(B, 1);
      await expectWhole({ [B]: 3 });
      expect((await world.signed(A))?.size).toBe(2);
      await tree.stop();

      Object.assign(changed, right);
      world.start();
      await expectWhole({ [A]: 6 });
      await eventually(
        () => alarmOf(A),
        (alarm) => alarm === undefined,
      );
    },
  );

  it('stop their workspace when one is missing', async () => {
    await world.chain(A, 6);
    await world.chain(B, 1);
    removeEvents(A, (seq) => seq === 3);
    world.start();
    expect(await untilAlarm(A)).toMatch(/event 4 does not follow event 2/i);
    await expectWhole({ [B]: 1 });
    expect(await world.signed(A)).toBeUndefined();
  });

  it.each([
    ['some', 3],
    ['all', 0],
  ])('stop their workspace when %s are cut off below a size that was signed', async (_, left) => {
    await world.add(A, 5);
    await world.add(B, 1);
    await runOnce({ [A]: 5, [B]: 1 });
    removeEvents(A, (seq) => seq > left);
    world.start();
    expect(await untilAlarm(A)).toMatch(
      new RegExp(`a checkpoint of 5 was signed, and only ${left} are stored`),
    );
    await world.add(B, 1);
    await expectWhole({ [B]: 2 });
    expect((await world.signed(A))?.size).toBe(5);
  });

  it('stop their workspace when the chain was written anew from some event on', async () => {
    await world.add(A, 5);
    await runOnce({ [A]: 5 });
    removeEvents(A, (seq) => seq > 2);
    await world.add(A, 6);
    world.start();
    expect(await untilAlarm(A)).toMatch(/event 6 does not follow event 5/i);
    expect((await world.signed(A))?.size).toBe(5);
  });

  it('stop their workspace when that happens while the stage works', async () => {
    const tree = world.start();
    await untilWorking(tree);
    await world.add(A, 5);
    await untilSigned(A, 5);
    removeEvents(A, (seq) => seq > 2);
    await world.add(A, 6);
    expect(await untilAlarm(A)).toMatch(/event 6 does not follow event 5/i);
    await world.add(B, 1);
    await expectWhole({ [B]: 1 });
    expect((await world.signed(A))?.size).toBe(5);
  });
});

describe('EVENTS', () => {
  it('keeps what is not signed yet, and lets go of the rest, duplicates included', async () => {
    const { stage } = world;
    const { floors } = stage.buckets;
    const kept = async () => (await stage.manager.streams.info(STREAM_EVENTS)).state.messages;
    const publish = (workspaceId: string, key: string) =>
      stage.publish(workspaceId, [sampleEvent(workspaceId, { key })]);
    for (const key of ['1', '2', '3']) await publish(A, key);
    await publish(D, '1');
    stage.start(world.events, {
      laterFloors: [(source) => signedFloor(floors, source)],
      timing: { keepMs: 0 },
    });
    await eventually(
      () => world.events.rows.length,
      (rows) => rows === 4,
    );
    await delay(500);
    expect(await kept()).toBe(4);

    world.start();
    await expectWhole({ [A]: 3, [D]: 1 });
    await eventually(kept, (messages) => messages === 0);

    await publish(A, '2');
    await publish(D, '1');
    await eventually(kept, (messages) => messages === 0);
    await publish(A, '4');
    await expectWhole({ [A]: 4 });
    await eventually(kept, (messages) => messages === 0);
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
