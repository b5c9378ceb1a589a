import { describe, expect, it } from 'vitest';
import { createMemory, lookUpMissing } from './memory.ts';
import { memoryStore } from './testing/memory-store.ts';
import { chainOf, readSample, SAMPLE_EPOCH, sampleEvent } from './testing/sample.ts';

const A = 'ws_aaaaaaaaaaaaaaaa';
const B = 'ws_bbbbbbbbbbbbbbbb';
const SOURCE = { partition: 0, epoch: SAMPLE_EPOCH };

const keyed = sampleEvent(A, { key: 'k' });
const later = sampleEvent(A, { key: 'later' });
const messages = [readSample(1, A, [keyed]), readSample(2, A, [later]), readSample(3, B, [sampleEvent(B)])];
const rows = chainOf(SOURCE, messages);

function storeWith(count: number) {
  const store = memoryStore();
  store.put(SOURCE, rows.slice(0, count));
  return store;
}

describe('looking up what memory has not', () => {
  it('finds heads and keyed ids, and remembers them', async () => {
    const memory = createMemory();
    const store = storeWith(3);
    await lookUpMissing(memory, store, 0, messages, { sequence: 3, index: 0 });
    expect(memory.headOf(A)).toMatchObject({ seq: 2, eventHash: rows[1]?.eventHash });
    expect([memory.isKnown(keyed.id), memory.isKnown(later.id)]).toEqual([true, true]);
    store.fault = () => {
      throw new Error('asked again');
    };
    await lookUpMissing(memory, store, 0, messages, { sequence: 3, index: 0 });
  });

  it('does not take for the past what another process has stored behind the given position', async () => {
    const memory = createMemory();
    await lookUpMissing(memory, storeWith(3), 0, messages, { sequence: 1, index: 0 });
    expect(memory.headOf(A)).toMatchObject({ seq: 1, eventHash: rows[0]?.eventHash });
    expect(memory.headOf(B)).toMatchObject({ seq: 0 });
    expect([memory.isKnown(keyed.id), memory.isKnown(later.id)]).toEqual([true, false]);
  });

  it('asks nothing about messages without events, nor about ids without a key', async () => {
    const store = memoryStore();
    store.fault = () => {
      throw new Error('asked');
    };
    await lookUpMissing(createMemory(), store, 0, [readSample(1, A, [])], { sequence: 0, index: 0 });
    const memory = createMemory();
    memory.learn({ heads: new Map([[B, { seq: 0, createdAtMicros: 0, eventHash: '' }]]), keyedIds: [] });
    await lookUpMissing(memory, store, 0, [readSample(1, B, [sampleEvent(B)])], { sequence: 0, index: 0 });
  });

  it('forgets nothing that a run needs while the run is looked up', async () => {
    const memory = createMemory();
    const others = Array.from({ length: 199_999 }, (_, number) => `id ${number}`);
    memory.learn({ heads: new Map(), keyedIds: [keyed.id, ...others] });
    await lookUpMissing(memory, storeWith(3), 0, messages, { sequence: 3, index: 0 });
    expect([memory.isKnown(keyed.id), memory.isKnown(later.id)]).toEqual([true, true]);
  });

  it('forgets the oldest first', () => {
    const memory = createMemory();
    const ids = Array.from({ length: 200_001 }, (_, number) => `id ${number}`);
    memory.learn({ heads: new Map(), keyedIds: ids });
    memory.forgetOldest();
    expect([memory.isKnown('id 0'), memory.isKnown('id 1')]).toEqual([false, true]);
  });
});
