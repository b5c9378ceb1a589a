import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { nextDailyRun, runDaily } from './daily.ts';

const HOUR_MS = 3600 * 1000;
const MIDNIGHT = Date.UTC(2026, 1, 28);

it('the next run is today or tomorrow', () => {
  expect(nextDailyRun(MIDNIGHT, 3)).toBe(MIDNIGHT + 3 * HOUR_MS);
  expect(nextDailyRun(MIDNIGHT + 3 * HOUR_MS - 1, 3)).toBe(MIDNIGHT + 3 * HOUR_MS);
  expect(nextDailyRun(MIDNIGHT + 3 * HOUR_MS, 3)).toBe(Date.UTC(2026, 2, 1, 3));
});

describe('daily work', () => {
  beforeEach(() => {
    vi.useFakeTimers({ now: MIDNIGHT });
    return () => vi.useRealTimers();
  });
  const stopping: AbortController[] = [];
  afterEach(() => {
    for (const controller of stopping) controller.abort();
  });

  it('is done once a day, also after it failed, and never again once stopped', async () => {
    const controller = new AbortController();
    stopping.push(controller);
    const runs: number[] = [];
    const failures: unknown[] = [];
    const done = runDaily({
      hourUtc: 3,
      work: async () => {
        runs.push(Date.now());
        if (runs.length === 1) throw new Error('first');
      },
      onFailed: (error) => failures.push(error),
      signal: controller.signal,
    });
    await vi.advanceTimersByTimeAsync(2.9 * HOUR_MS);
    expect(runs).toEqual([]);
    await vi.advanceTimersByTimeAsync(48 * HOUR_MS);
    expect(runs).toEqual([MIDNIGHT + 3 * HOUR_MS, MIDNIGHT + 27 * HOUR_MS]);
    expect(failures).toHaveLength(1);
    controller.abort();
    await done;
    await vi.advanceTimersByTimeAsync(48 * HOUR_MS);
    expect(runs).toHaveLength(2);
  });
});
