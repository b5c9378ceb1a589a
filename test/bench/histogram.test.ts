import { expect, test } from 'vitest';
import { createHistogram } from './histogram.ts';

test('quantiles of a known set are right within the width of a bucket', () => {
  const histogram = createHistogram();
  for (let ms = 1; ms <= 1000; ms += 1) histogram.record(ms);
  expect(histogram.quantile(0.5) / 500).toBeCloseTo(1, 1);
  expect(histogram.quantile(0.99) / 990).toBeCloseTo(1, 1);
  expect(histogram.quantile(1)).toBe(1000);
  expect(histogram.count).toBe(1000);
});

test('an empty set has no quantile, and one value is every quantile', () => {
  const histogram = createHistogram();
  expect(histogram.quantile(0.99)).toBe(0);
  histogram.record(0);
  histogram.record(0);
  expect(histogram.quantile(0.01)).toBe(histogram.quantile(1));
});
