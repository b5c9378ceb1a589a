import { expect, test } from 'vitest';
import { insertStatements, type RowPlan, shares } from './query-rows.ts';

const PLAN: RowPlan = {
  rows: 1_000_000,
  workspaces: shares(50).map((share, index) => ({ id: `ws_${String(index).padStart(16, '0')}`, share })),
  untilMillis: Date.UTC(2026, 10, 1),
  spanMillis: 180 * 86_400_000,
};

test('the largest workspace has a fifth, the rest less and less, and all is given out', () => {
  const [largest, ...rest] = shares(50);
  expect(largest).toBe(0.2);
  expect([...rest].sort((a, b) => b - a)).toEqual(rest);
  expect(rest.reduce((sum, share) => sum + share, 0)).toBeCloseTo(0.8);
});

test('the inserts hold as many rows as were asked for, whatever the number', () => {
  for (const rows of [10_000, 999_999, 1_000_000, 10_000_000]) {
    const inserts = [...insertStatements({ ...PLAN, rows })];
    const made = inserts.reduce((sum, insert) => sum + insert.rows, 0);
    expect(made).toBeGreaterThanOrEqual(rows);
    expect(made - rows).toBeLessThan(inserts[0]?.rows ?? 0);
  }
});
