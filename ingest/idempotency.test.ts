import { describe, expect, it } from 'vitest';
import { createIdempotencyMemory } from './idempotency.ts';

const settled = async () => await new Promise((resolve) => setImmediate(resolve));

describe('the memory of keyed events', () => {
  it('knows an id only once its commit is acknowledged', async () => {
    const memory = createIdempotencyMemory(10);
    let acknowledge: () => void = () => {};
    const commit = new Promise<void>((resolve) => {
      acknowledge = resolve;
    });
    expect(memory.find('a')).toBeUndefined();
    memory.begin('a', commit);
    expect(memory.find('a')).toBe(commit);
    acknowledge();
    await settled();
    expect(memory.find('a')).toBe('stored');
  });

  it('forgets an id whose commit failed', async () => {
    const memory = createIdempotencyMemory(10);
    const failing = Promise.reject(new Error('no'));
    memory.begin('a', failing);
    await settled();
    expect(memory.find('a')).toBeUndefined();
  });

  it('holds the ids used last', async () => {
    const memory = createIdempotencyMemory(3);
    for (const id of ['a', 'b', 'c']) memory.begin(id, Promise.resolve());
    await settled();
    expect(memory.find('a')).toBe('stored');
    memory.begin('d', Promise.resolve());
    await settled();
    expect(['a', 'b', 'c', 'd'].map((id) => memory.find(id))).toEqual([
      'stored',
      undefined,
      'stored',
      'stored',
    ]);
  });
});
