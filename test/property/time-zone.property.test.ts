import fc from 'fast-check';
import { expect, test } from 'vitest';
import { zoneOffsetOf } from '../../core/alerts/time-zone.ts';

const ZONES = Intl.supportedValuesOf('timeZone');
const HOUR_SECONDS = 3_600;
const DAY_SECONDS = 24 * HOUR_SECONDS;
const formats = new Map<string, Intl.DateTimeFormat>();

/** Asks `Intl` at every second anew, and reads what it writes: `2026-03-29 03:00:00`. */
function offsetSeconds(timeZone: string, seconds: number): number {
  const format =
    formats.get(timeZone) ??
    new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'medium' });
  formats.set(timeZone, format);
  const wall = format.format(seconds * 1_000).replace(' ', 'T');
  return Date.parse(`${wall}Z`) / 1_000 - seconds;
}

/** Days of the year on which clocks are changed, as the seconds with which they begin. */
function changesIn(timeZone: string, year: number): number[] {
  const from = Date.UTC(year, 0, 1) / 1_000;
  const days = Array.from({ length: 366 }, (_, day) => from + day * DAY_SECONDS);
  return days.filter((day) => offsetSeconds(timeZone, day) !== offsetSeconds(timeZone, day + DAY_SECONDS));
}

const asked = fc.record({
  zone: fc.constantFrom(...ZONES),
  year: fc.integer({ min: 1970, max: 2060 }),
  moments: fc.array(fc.integer({ min: 0, max: DAY_SECONDS * 1_000_000 - 1 }), {
    minLength: 30,
    maxLength: 30,
  }),
});

test('in every zone, on every day on which clocks were changed, the offset is what Intl says', () => {
  let changes = 0;
  fc.assert(
    fc.property(asked, ({ zone, year, moments }) => {
      const offsetAt = zoneOffsetOf(zone);
      const days = changesIn(zone, year);
      changes += days.length;
      for (const day of [Date.UTC(year, 6, 1) / 1_000, ...days]) {
        // In order, as events come, and out of it.
        for (const moment of [...moments.toSorted((a, b) => a - b), ...moments]) {
          const atMicros = day * 1_000_000 + moment;
          const expected = offsetSeconds(zone, Math.floor(atMicros / 1_000_000));
          expect([zone, atMicros, offsetAt(atMicros)]).toEqual([zone, atMicros, expected * 1_000_000]);
        }
      }
    }),
    { numRuns: 200 },
  );
  expect(changes).toBeGreaterThan(20);
});
