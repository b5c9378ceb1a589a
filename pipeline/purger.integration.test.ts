import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { STREAM_EVENTS } from '../infra/nats/names.ts';
import { streamEpoch } from '../infra/nats/streams.ts';
import { type MemoryStore, memoryStore } from './chain/testing/memory-store.ts';
import { chainOf, readSample, sampleEvent } from './chain/testing/sample.ts';
import { eventually, openTestStage, type TestStage, workspacesOf } from './chain/testing/stage.ts';
import { purgeOnce } from './purger.ts';

const PARTITIONS = 2;
const [A = ''] = workspacesOf(0, PARTITIONS, 1);
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

async function firstSequence(): Promise<number> {
  return (await stage.manager.streams.info(STREAM_EVENTS)).state.first_seq;
}

async function floorOf(partition: number): Promise<unknown> {
  const entry = await stage.buckets.floors.get(`stored.${partition}`);
  return entry?.value;
}

/** Partition 0 has sequences 1, 2 and 5, partition 1 has 3 and 4. */
async function publishFive(): Promise<void> {
  for (const workspaceId of [A, A, D, D, A]) await stage.publish(workspaceId, [sampleEvent(workspaceId)]);
}

describe('purging', () => {
  const purge = (floors: Record<number, number>, keepMs: number) =>
    purgeOnce({
      nc: stage.nc,
      partitions: PARTITIONS,
      floorSources: [async ({ partition }) => floors[partition] ?? 0],
      keepMs,
    });

  it('removes what every partition is done with, once it is old', async () => {
    await publishFive();
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(await purge({ 0: 2, 1: 3 }, 1)).toBe(2);
    expect(await firstSequence()).toBe(3);
    expect(await purge({ 0: 5, 1: 3 }, 1)).toBe(1);
    expect(await purge({ 0: 5, 1: 4 }, 1)).toBe(2);
    expect(await firstSequence()).toBe(6);
  });

  it('keeps what is young', async () => {
    await publishFive();
    expect(await purge({ 0: 5, 1: 4 }, 60_000)).toBe(0);
  });

  it('keeps nothing for being young when half of the limit is used', async () => {
    await publishFive();
    const { config, state } = await stage.manager.streams.info(STREAM_EVENTS);
    await stage.manager.streams.update(STREAM_EVENTS, {
      ...config,
      max_bytes: Math.floor(state.bytes * 1.5),
    });
    expect(await purge({ 0: 2, 1: 3 }, 60_000)).toBe(2);
  });

  it('removes nothing when one partition cannot tell', async () => {
    await publishFive();
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(await purge({ 0: 5 }, 1)).toBe(0);
  });
});

describe('the floors that the chain stage tells', () => {
  it('follow what is stored', async () => {
    await publishFive();
    stage.start(store);
    await eventually(
      () => floorOf(0),
      (floor) => JSON.stringify(floor).includes('"handled":5'),
    );
    await eventually(
      () => floorOf(1),
      (floor) => JSON.stringify(floor).includes('"handled":4'),
    );
    expect(await floorOf(0)).toEqual({
      epoch: await streamEpoch(stage.nc),
      handled: 5,
      stored: { sequence: 5, index: 0 },
    });
  });

  it('pass over messages that held only what was known', async () => {
    await stage.publish(A, [sampleEvent(A, { key: 'k' })]);
    await stage.publish(A, [sampleEvent(A, { key: 'k' })]);
    stage.start(store);
    await eventually(
      () => floorOf(0),
      (floor) => JSON.stringify(floor).includes('"handled":2'),
    );
    expect(await floorOf(0)).toMatchObject({ handled: 2, stored: { sequence: 1, index: 0 } });
  });

  it('wait for what is not stored', async () => {
    store.fault = (operation) => {
      if (operation === 'insert') throw new Error('connection refused');
    };
    await publishFive();
    stage.start(store);
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(await floorOf(0)).toBeUndefined();
    expect(await firstSequence()).toBe(1);
  });
});

describe('the housekeeping of the chain stage', () => {
  it('purges what is stored', async () => {
    await publishFive();
    stage.start(store, { timing: { keepMs: 1 } });
    await eventually(firstSequence, (sequence) => sequence === 6);
  });

  it('purges nothing while an alarm stands against a partition', async () => {
    await stage.publish(D, [sampleEvent(D)]);
    await stage.publish(A, [sampleEvent(A)]);
    const source = { partition: 0, epoch: await streamEpoch(stage.nc) };
    const notWhatWasSent = readSample(2, A, [sampleEvent(A)]);
    store.put(source, chainOf(source, [notWhatWasSent]));
    stage.start(store, { timing: { keepMs: 1 } });
    await eventually(
      () => stage.buckets.alarms.get('partition.0'),
      (alarm) => alarm !== undefined,
    );
    await eventually(
      () => floorOf(1),
      (floor) => floor !== undefined,
    );
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await firstSequence()).toBe(1);
  });
});
