import { describe, expect, it } from 'vitest';
import { dayEnd, dayStart, endOfNamedDay, newestDueEnd, nextDueMs, periodName } from './period.ts';

describe('periods', () => {
  it('begin and end with days of UTC', () => {
    expect(dayStart('2026-11-23T14:00:00.000001Z')).toBe('2026-11-23T00:00:00.000000Z');
    expect(dayEnd('2026-11-23T23:59:59.999999Z')).toBe('2026-11-24T00:00:00.000000Z');
    expect(dayEnd('2026-11-24T00:00:00.000000Z')).toBe('2026-11-25T00:00:00.000000Z');
    expect(dayEnd('2026-12-31T12:00:00.000000Z')).toBe('2027-01-01T00:00:00.000000Z');
  });

  it('can be anchored from 00:05', () => {
    expect(newestDueEnd(Date.UTC(2026, 10, 24, 0, 4, 59, 999))).toBe('2026-11-23T00:00:00.000000Z');
    expect(newestDueEnd(Date.UTC(2026, 10, 24, 0, 5))).toBe('2026-11-24T00:00:00.000000Z');
    expect(nextDueMs(Date.UTC(2026, 10, 24, 0, 4))).toBe(Date.UTC(2026, 10, 24, 0, 5));
    expect(nextDueMs(Date.UTC(2026, 10, 24, 0, 5))).toBe(Date.UTC(2026, 10, 25, 0, 5));
  });

  it('are named by their day, and by their end where they end elsewhere', () => {
    expect(periodName('2026-11-24T00:00:00.000000Z')).toBe('2026-11-23');
    expect(periodName('2026-11-24T12:00:00.000000Z')).toBe('2026-11-24T12:00:00.000000Z');
    expect(endOfNamedDay('2026-11-23')).toBe('2026-11-24T00:00:00.000000Z');
    for (const wrong of ['', 'yesterday', '2026-02-30', '2026-11-23T00:00:00Z']) {
      expect(() => endOfNamedDay(wrong)).toThrow('is not a day');
    }
  });
});
