import { expect, it } from 'vitest';
import { restartDelayMs } from './supervisor.ts';

it('starts a child again within a second at first, and ever later while it keeps dying', () => {
  const delays = [1, 2, 3, 4, 5, 6, 7, 8, 9].map(restartDelayMs);
  expect(delays).toEqual([100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
});
