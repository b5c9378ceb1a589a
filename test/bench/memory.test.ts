import { expect, test } from 'vitest';
import { summary, watchMemory } from './memory.ts';

test('the peak is that of all processes together, with what each had then', () => {
  const use = summary([
    { serve: 100, chdb: 300 },
    { serve: 150, chdb: 350 },
    { serve: 400, chdb: 50 },
  ]);
  expect(use).toEqual({ peakMiB: 500, earlyMiB: 400, lateMiB: 450, atPeak: { serve: 150, chdb: 350 } });
});

test('without a sample there is nothing to say', () => {
  expect(summary([])).toBeUndefined();
  expect(watchMemory(() => []).stop()).toBeUndefined();
});
