import { expect, test } from 'vitest';
import { amount, table } from './report.ts';

test('a figure stands beside its goal, its limit and the share it reaches', () => {
  const text = table([
    {
      name: 'edge-single',
      value: 22_500,
      unit: 'requests/s',
      p50Ms: 10.123,
      p99Ms: 24,
      goal: { text: '≥ 40,000 /s', met: false },
      limit: { name: 'bare uWebSockets.js', value: 90_000 },
      remarks: ['the machine was busy'],
    },
  ]);
  expect(text).toMatch(
    /edge-single +22,500 requests\/s +10.1 ms +24 ms +≥ 40,000 \/s: not met +90,000 bare uWebSockets.js +25 %/,
  );
  expect(text.endsWith('edge-single: the machine was busy')).toBe(true);
});

test('amounts are as precise as a reader needs', () => {
  expect([0, 0.12345, 12.345, 999.4, 1000, 1_234_567.8].map(amount)).toEqual([
    '0',
    '0.123',
    '12.3',
    '999',
    '1,000',
    '1,234,568',
  ]);
});
