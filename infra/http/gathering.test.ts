import { describe, expect, it } from 'vitest';
import { createGathering } from './gathering.ts';

const MAX_BYTES = 8 * 1024 * 1024;

describe('a body that comes in pieces', () => {
  it('is put together in order', () => {
    const gathering = createGathering(MAX_BYTES);
    for (const piece of ['a', '', 'bc', 'x'.repeat(10_000), 'd']) gathering.add(Buffer.from(piece));
    expect(gathering.length).toBe(10_004);
    expect(gathering.whole().toString()).toBe(`abc${'x'.repeat(10_000)}d`);
  });

  it('begins anew in the memory it has', () => {
    const gathering = createGathering(MAX_BYTES);
    gathering.add(Buffer.alloc(100_000, 'a'));
    const { heldBytes } = gathering;
    gathering.empty();
    expect(gathering.length).toBe(0);
    gathering.add(Buffer.from('b'));
    expect(gathering.whole().toString()).toBe('b');
    expect(gathering.heldBytes).toBe(heldBytes);
  });

  it('keeps nothing of the memory a piece came in', () => {
    const gathering = createGathering(MAX_BYTES);
    const piece = Buffer.from('kept');
    gathering.add(piece);
    piece.fill('!');
    expect(gathering.whole().toString()).toBe('kept');
  });

  it.each([
    ['one byte each', 1],
    ['a thousand bytes each', 1_000],
    ['a hundred thousand bytes each', 100_000],
  ])('takes at most twice its size, and 4 KiB, in pieces of %s', (_, size) => {
    const gathering = createGathering(MAX_BYTES);
    const piece = Buffer.alloc(size);
    for (let length = size; length <= Math.max(30_000, 3 * size); length += size) {
      gathering.add(piece);
      expect(gathering.heldBytes).toBeLessThanOrEqual(Math.max(4096, 2 * length));
    }
  });

  it('takes no more than the longest body may have', () => {
    const gathering = createGathering(1_000_000);
    for (let count = 0; count < 10; count += 1) gathering.add(Buffer.alloc(100_000));
    expect(gathering.heldBytes).toBe(1_000_000);
    expect(gathering.whole().length).toBe(1_000_000);
  });
});
