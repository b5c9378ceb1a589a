import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { watchItself } from './self-check.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const TIMES = { everyMs: 10, timeoutMs: 100, failures: 3 };

/** Fails, or not, in the order given; then forever as the last one did. */
function checks(...outcomes: ('ok' | 'error' | 'hangs')[]) {
  const failed: unknown[] = [];
  let asked = 0;
  const stop = watchItself({
    ...TIMES,
    check: async () => {
      const outcome = outcomes[Math.min(asked++, outcomes.length - 1)];
      if (outcome === 'error') throw new Error('no pipe');
      if (outcome === 'hangs') await new Promise(() => {});
    },
    failed: (error) => failed.push(error),
  });
  return { failed, stop, asked: () => asked };
}

test('failures in a row are told once, and nothing is asked after', async () => {
  const { failed, asked } = checks('ok', 'error');
  await vi.advanceTimersByTimeAsync(1_000);
  expect(failed).toEqual([new Error('no pipe')]);
  expect(asked()).toBe(4);
});

test('no answer is a failure', async () => {
  const { failed } = checks('hangs');
  await vi.advanceTimersByTimeAsync(329);
  expect(failed).toEqual([]);
  await vi.advanceTimersByTimeAsync(10);
  expect(failed).toEqual([new Error('no answer within 100 ms')]);
});

test('a success begins the count anew', async () => {
  const { failed } = checks('error', 'error', 'ok', 'error', 'error', 'ok');
  await vi.advanceTimersByTimeAsync(1_000);
  expect(failed).toEqual([]);
});

test('stopped, it says nothing', async () => {
  const { failed, stop, asked } = checks('error');
  await vi.advanceTimersByTimeAsync(25);
  stop();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(failed).toEqual([]);
  expect(asked()).toBe(2);
});
