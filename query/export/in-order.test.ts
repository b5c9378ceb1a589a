import { expect, test } from 'vitest';
import { inOrder } from './in-order.ts';

async function* numbers(count: number, onEnd = () => {}) {
  try {
    for (let n = 0; n < count; n += 1) yield n;
  } finally {
    onEnd();
  }
}

const after = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test('results come in the order of the items, though the work ends in another', async () => {
  let running = 0;
  let most = 0;
  const found: number[] = [];
  for await (const result of inOrder(numbers(20), 3, async (n) => {
    running += 1;
    most = Math.max(most, running);
    await after((n * 7) % 5);
    running -= 1;
    return n;
  })) {
    found.push(result);
  }
  expect(found).toEqual(Array.from({ length: 20 }, (_, n) => n));
  expect(most).toBe(3);
});

test('a failure is told in its turn, and nothing is left running', async () => {
  let running = 0;
  let ended = false;
  const found: number[] = [];
  const work = async (n: number) => {
    running += 1;
    await after(5);
    running -= 1;
    if (n === 2) throw new Error('two');
    return n;
  };
  const all = async () => {
    for await (const result of inOrder(
      numbers(20, () => {
        ended = true;
      }),
      2,
      work,
    ))
      found.push(result);
  };
  await expect(all()).rejects.toThrow('two');
  expect(found).toEqual([0, 1]);
  expect([running, ended]).toEqual([0, true]);
});

test('a caller that leaves ends it', async () => {
  let begun = 0;
  let ended = false;
  for await (const result of inOrder(
    numbers(100, () => {
      ended = true;
    }),
    2,
    async (n) => {
      begun += 1;
      return n;
    },
  )) {
    if (result === 3) break;
  }
  expect(ended).toBe(true);
  expect(begun).toBeLessThanOrEqual(6);
});
