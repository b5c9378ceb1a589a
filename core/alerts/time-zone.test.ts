import { describe, expect, it } from 'vitest';
import { isTimeZone, zoneOffsetOf } from './time-zone.ts';

const HOUR = 3_600_000_000;
const at = (text: string) => Date.parse(text) * 1000;

describe('zoneOffsetOf', () => {
  it.each([
    ['Europe/Berlin', '2026-03-29T01:00:00Z', 1, 2],
    ['Europe/Berlin', '2026-10-25T01:00:00Z', 2, 1],
    ['America/New_York', '2026-03-08T07:00:00Z', -5, -4],
    ['America/New_York', '2026-11-01T06:00:00Z', -4, -5],
    ['Australia/Lord_Howe', '2026-04-04T15:00:00Z', 11, 10.5],
    ['Australia/Lord_Howe', '2026-10-03T15:30:00Z', 10.5, 11],
    // At one minute past midnight, as there was until 2011.
    ['America/St_Johns', '2010-11-07T02:31:00Z', -2.5, -3.5],
  ])('%s changes at %s, to the microsecond', (zone, change, before, after) => {
    const offsetAt = zoneOffsetOf(zone);
    const moment = at(change);
    const offsets = [-HOUR, -1, 0, 1, HOUR, 0, -1].map((micros) => offsetAt(moment + micros) / HOUR);
    expect(offsets).toEqual([before, before, after, after, after, after, before]);
  });

  it('says so where it does not know the zone, as an older Node may not', () => {
    expect(() => zoneOffsetOf('Mars/Olympus')).toThrow('this runtime knows no time zone Mars/Olympus');
  });

  it('knows zones that are not whole hours ahead', () => {
    expect(zoneOffsetOf('Asia/Kathmandu')(at('2026-01-01T00:00:00Z'))).toBe(5.75 * HOUR);
    expect(zoneOffsetOf('UTC')(0)).toBe(0);
  });
});

describe('isTimeZone', () => {
  it.each(['Europe/Berlin', 'UTC', 'Etc/GMT+5'])('%s is one', (name) => {
    expect(isTimeZone(name)).toBe(true);
  });
  it.each(['', 'Berlin', '+01:00', ' Europe/Berlin', 'x'.repeat(1_000)])('%j is none', (name) => {
    expect(isTimeZone(name)).toBe(false);
  });
});
