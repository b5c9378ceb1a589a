import { describe, expect, test } from 'vitest';
import { ImmutableError } from './errors.ts';
import { formatTimestamp, isCanonicalTimestamp, parseTimestamp } from './time.ts';

const MICROS = 1_773_585_138_847_312; // 2026-03-15T14:32:18.847312Z

describe('parseTimestamp', () => {
  test.each([
    ['2026-03-15T14:32:18.847312Z', MICROS],
    ['2026-03-15t14:32:18.847312z', MICROS],
    ['2026-03-15T14:32:18.847312999Z', MICROS],
    ['2026-03-15T14:32:18.8473129999999999999999Z', MICROS],
    ['2026-03-15T16:02:18.847312+01:30', MICROS],
    ['2026-03-15T09:02:18.847312-05:30', MICROS],
    ['2026-03-15T14:32:18.847312-00:00', MICROS],
    ['2026-03-15T14:32:18Z', MICROS - 847_312],
    ['2026-03-15T14:32:18.8Z', MICROS - 47_312],
    ['2026-03-15T14:32:18.000001Z', MICROS - 847_311],
    ['1970-01-01T00:00:00Z', 0],
    ['1969-12-31T23:30:00-00:30', 0],
    ['2024-02-29T00:00:00Z', Date.UTC(2024, 1, 29) * 1000],
    ['2000-02-29T00:00:00Z', Date.UTC(2000, 1, 29) * 1000],
    ['2254-12-31T23:59:59.999999Z', Date.UTC(2255, 0, 1) * 1000 - 1],
  ])('reads %s', (text, micros) => {
    expect(parseTimestamp(text)).toBe(micros);
  });

  test.each([
    ['2016-12-31T23:59:60Z', '2017-01-01T00:00:00.000000Z'],
    ['2016-12-31T23:59:60.25Z', '2017-01-01T00:00:00.250000Z'],
    ['2017-01-01T01:59:60+02:00', '2017-01-01T00:00:00.000000Z'],
    ['2015-06-30T16:59:60-07:00', '2015-07-01T00:00:00.000000Z'],
  ])('reads the leap second %s as the midnight that follows', (text, canonical) => {
    expect(formatTimestamp(parseTimestamp(text) ?? -1)).toBe(canonical);
  });

  test.each([
    '',
    'yesterday',
    '2026-03-15',
    '2026-03-15T14:32:18',
    '2026-03-15 14:32:18Z',
    '2026-03-15T14:32Z',
    '2026-3-15T14:32:18Z',
    '2026-03-15T14:32:18.Z',
    '2026-03-15T14:32:18,5Z',
    '2026-03-15T14:32:18.5',
    '2026-03-15T14:32:18ZZ',
    '2026-03-15T14:32:18Z ',
    ' 2026-03-15T14:32:18Z',
    '2026-03-15T14:32:18+0100',
    '2026-03-15T14:32:18+01',
    '2026-03-15T14:32:18+01:0',
    '2026-03-15T14:32:18+24:00',
    '2026-03-15T14:32:18+01:60',
    '2026-13-15T14:32:18Z',
    '2026-00-15T14:32:18Z',
    '2026-04-31T14:32:18Z',
    '2026-03-00T14:32:18Z',
    '2026-02-29T14:32:18Z',
    '2100-02-29T14:32:18Z',
    '2026-03-15T24:00:00Z',
    '2026-03-15T14:60:18Z',
    '2026-03-15T14:32:60Z', // a leap second ends a month
    '2026-03-15T23:59:60Z',
    '2016-12-31T23:59:61Z',
    '2016-12-31T23:59:60+01:00',
    '1969-12-31T23:59:59.999999Z',
    '1970-01-01T00:00:00+00:01',
    '0099-01-01T00:00:00Z',
    '2255-01-01T00:00:00Z',
    '9999-12-31T23:59:59Z',
    '12026-03-15T14:32:18Z',
    '+2026-03-15T14:32:18Z',
    '-001-03-15T14:32:18Z',
    '２026-03-15T14:32:18Z',
  ])('refuses %j', (text) => {
    expect(parseTimestamp(text)).toBeNull();
  });
});

describe('formatTimestamp', () => {
  test.each([
    [0, '1970-01-01T00:00:00.000000Z'],
    [1, '1970-01-01T00:00:00.000001Z'],
    [MICROS, '2026-03-15T14:32:18.847312Z'],
    [Date.UTC(2255, 0, 1) * 1000 - 1, '2254-12-31T23:59:59.999999Z'],
  ])('writes %d', (micros, text) => {
    expect(formatTimestamp(micros)).toBe(text);
    expect(parseTimestamp(text)).toBe(micros);
  });

  test.each([-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, Date.UTC(2255, 0, 1) * 1000])(
    'refuses %d',
    (micros) => {
      expect(() => formatTimestamp(micros)).toThrow(ImmutableError);
    },
  );
});

test('isCanonicalTimestamp tells the one spelling from the others of a valid time', () => {
  expect(isCanonicalTimestamp('2026-03-15T14:32:18.847312Z')).toBe(true);
  for (const other of [
    '2026-03-15t14:32:18.847312Z',
    '2026-03-15T14:32:18.847312z',
    '2026-03-15T14:32:18.84731Z',
    '2026-03-15T14:32:18.8473120Z',
    '2026-03-15T14:32:18.8+00:00',
    '2016-12-31T23:59:60.000000Z',
  ]) {
    expect(parseTimestamp(other)).not.toBeNull();
    expect(isCanonicalTimestamp(other)).toBe(false);
  }
});
