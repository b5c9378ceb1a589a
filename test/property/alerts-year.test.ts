import { expect, test } from 'vitest';
import type { BusinessHours } from '../../core/alerts/business-hours.ts';
import type { AlertRule } from '../../core/alerts/rule.ts';
import { createWorkspaceAlerts } from '../../core/alerts/workspace-alerts.ts';
import { isOpen } from '../support/alert-model.ts';

const MINUTE = 60_000_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const YEAR_BEGIN = Date.UTC(2026, 0, 1) * 1000;
const YEAR_END = Date.UTC(2027, 0, 1) * 1000;

/** When the rule raises an alert, of events at these moments. */
function firing(rule: AlertRule, moments: Iterable<number>): number[] {
  const alerts = createWorkspaceAlerts();
  alerts.addRule(rule, { afterSeq: 0, countedFrom: YEAR_BEGIN });
  const fired: number[] = [];
  let seq = 0;
  for (const createdAtMicros of moments) {
    seq += 1;
    const event = { id: `${seq}`, seq, createdAtMicros, action: 'a', actorId: 'a', ipCountry: undefined };
    if (alerts.evaluate(event).length > 0) fired.push(createdAtMicros);
  }
  return fired;
}

const WEEKDAYS: BusinessHours = Object.fromEntries(
  ['mon', 'tue', 'wed', 'thu', 'fri'].map((day) => [day, [['09:00', '18:00']]]),
);
/** Open across every change of clocks, which come at night and on Sundays, and shut in the middle of some. */
const NIGHTS: BusinessHours = {
  sat: [['22:00', '02:30']],
  sun: [
    ['01:15', '01:45'],
    ['02:45', '07:00'],
  ],
};

test.each([
  ['Europe/Berlin', WEEKDAYS],
  ['Europe/Berlin', NIGHTS],
  ['America/New_York', NIGHTS],
  ['Asia/Kathmandu', WEEKDAYS],
  ['Australia/Lord_Howe', NIGHTS],
])('a year of off_hours in %s', (timezone, business_hours) => {
  const conditions = { action_pattern: '*', timezone, business_hours, holidays: ['2026-12-25'] };
  const moments: number[] = [];
  for (let at = YEAR_BEGIN; at < YEAR_END; at += 15 * MINUTE) moments.push(at - 1, at, at + 7 * MINUTE);
  const fired = firing({ id: 'rul_1', rule_type: 'off_hours', cooldown_minutes: 0, conditions }, moments);
  const expected = moments.filter((at) => !isOpen(conditions, at));
  expect(fired).toEqual(expected);
  expect(expected.length).toBeGreaterThan(moments.length / 2);
  expect(expected.length).toBeLessThan(moments.length);
});

test('on the two days on which clocks change, shops in Berlin open at nine by the wall', () => {
  const sundays: BusinessHours = { sun: [['09:00', '18:00']] };
  const rule: AlertRule = {
    id: 'rul_1',
    rule_type: 'off_hours',
    cooldown_minutes: 0,
    conditions: { action_pattern: '*', timezone: 'Europe/Berlin', business_hours: sundays, holidays: [] },
  };
  for (const [opening, closing] of [
    ['2026-03-22T08:00:00Z', '2026-03-22T17:00:00Z'],
    ['2026-03-29T07:00:00Z', '2026-03-29T16:00:00Z'],
    ['2026-10-18T07:00:00Z', '2026-10-18T16:00:00Z'],
    ['2026-10-25T08:00:00Z', '2026-10-25T17:00:00Z'],
  ] as const) {
    const [from, to] = [Date.parse(opening) * 1000, Date.parse(closing) * 1000];
    expect(firing(rule, [from - 1, from, to - 1, to])).toEqual([from - 1, to]);
  }
});

test('a year of a weekly rhythm: no alert but for what breaks it', () => {
  const rule: AlertRule = {
    id: 'rul_1',
    rule_type: 'ingestion_spike',
    cooldown_minutes: 60,
    conditions: {
      action_pattern: '*',
      threshold_multiplier: 3,
      window_minutes: 5,
      baseline_days: 28,
      min_events: 20,
    },
  };
  // Too early; at night; by day, where it is no more than three times as much; and by day.
  const bursts: [at: number, events: number][] = [
    [YEAR_BEGIN + 12 * HOUR, 500],
    [YEAR_BEGIN + 40 * DAY + 3 * HOUR, 40],
    [YEAR_BEGIN + 90 * DAY + 12 * HOUR, 15],
    [YEAR_BEGIN + 215 * DAY + 12 * HOUR, 200],
    [YEAR_BEGIN + 364 * DAY + 23 * HOUR, 40],
  ];
  const fired = firing(rule, rhythm(bursts));
  expect(fired.map((at) => Math.floor(at / HOUR) * HOUR)).toEqual([
    bursts[1]![0],
    bursts[3]![0],
    bursts[4]![0],
  ]);
});

/** Three events in five minutes at night and at weekends, twelve by day; a burst comes within a second. */
function* rhythm(bursts: [at: number, events: number][]): Generator<number> {
  const pending = [...bursts];
  for (let at = YEAR_BEGIN; at < YEAR_END; ) {
    const [next] = pending;
    if (next !== undefined && at >= next[0]) {
      pending.shift();
      for (let event = 0; event < next[1]; event += 1) yield at + event;
      at += next[1];
    }
    yield at;
    const date = new Date(at / 1000);
    const isBusy = date.getUTCHours() >= 9 && date.getUTCHours() < 18 && date.getUTCDay() % 6 !== 0;
    at += isBusy ? 25_000_000 : 100_000_000;
  }
}
