import { describe, expect, it } from 'vitest';
import { createFloorRecorder, storedFloor } from './floors.ts';
import { memoryStore } from './testing/memory-store.ts';
import { chainOf, readSample, SAMPLE_EPOCH, sampleEvent } from './testing/sample.ts';

const A = 'ws_aaaaaaaaaaaaaaaa';
const SOURCE = { partition: 0, epoch: SAMPLE_EPOCH };

function bucketInMemory() {
  const entries = new Map<string, unknown>();
  return {
    get: async (key: string) =>
      entries.has(key) ? { key, value: entries.get(key), revision: 1 } : undefined,
    put: async (key: string, value: unknown) => {
      entries.set(key, structuredClone(value));
      return 1;
    },
  };
}

async function recorded(handled: number, stored: { sequence: number; index: number }) {
  const bucket = bucketInMemory();
  const recorder = createFloorRecorder(bucket, 1, () => {});
  recorder.handled(SOURCE, handled, stored);
  await new Promise((resolve) => setTimeout(resolve, 20));
  recorder.stop();
  return bucket;
}

function storeUpTo(sequence: number) {
  const store = memoryStore();
  const messages = Array.from({ length: sequence }, (_, index) => readSample(index + 1, A, [sampleEvent(A)]));
  store.put(SOURCE, chainOf(SOURCE, messages));
  return store;
}

describe('storedFloor', () => {
  it('is how far the partition was handled, as long as what it had then is stored', async () => {
    const bucket = await recorded(9, { sequence: 5, index: 0 });
    expect(await storedFloor(bucket, storeUpTo(5), SOURCE)).toBe(9);
    expect(await storedFloor(bucket, storeUpTo(7), SOURCE)).toBe(9);
  });

  it('is nothing when ClickHouse went back behind it', async () => {
    const bucket = await recorded(9, { sequence: 5, index: 0 });
    expect(await storedFloor(bucket, storeUpTo(4), SOURCE)).toBe(0);
    expect(await storedFloor(bucket, memoryStore(), SOURCE)).toBe(0);
  });

  it('is nothing when it was told of another life of the stream', async () => {
    const bucket = await recorded(9, { sequence: 5, index: 0 });
    expect(await storedFloor(bucket, storeUpTo(5), { partition: 0, epoch: 'f'.repeat(16) })).toBe(0);
  });

  it('is nothing when nothing, or nothing readable, was told', async () => {
    const bucket = bucketInMemory();
    expect(await storedFloor(bucket, storeUpTo(5), SOURCE)).toBe(0);
    for (const value of [null, 7, {}, { epoch: SAMPLE_EPOCH, handled: '9', stored: null }]) {
      await bucket.put('stored.0', value);
      expect(await storedFloor(bucket, storeUpTo(5), SOURCE)).toBe(0);
    }
  });
});
