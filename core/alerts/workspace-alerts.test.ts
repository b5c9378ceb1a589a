import { describe, expect, it } from 'vitest';
import { portableHasher } from '../hash.ts';
import { parseConditions } from './conditions.ts';
import { type AlertEvent, type AlertRule, alertId, type RuleType } from './rule.ts';
import { createWorkspaceAlerts, type WorkspaceAlertsOptions } from './workspace-alerts.ts';

const MINUTE = 60_000_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** Monday, 2026-03-02. */
const MONDAY = Date.UTC(2026, 2, 2) * 1000;

function ruleOf<Type extends RuleType>(rule_type: Type, conditions: object, cooldown_minutes = 0) {
  const parsed = parseConditions(rule_type, conditions);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.violations));
  return { id: 'rul_1', rule_type, cooldown_minutes, conditions: parsed.conditions } as AlertRule;
}

type Given = Partial<AlertEvent> & { createdAtMicros: number };

/** Which of the events raise an alert. */
function firing(rule: AlertRule, events: Given[], options?: WorkspaceAlertsOptions): boolean[] {
  const alerts = createWorkspaceAlerts(options);
  alerts.addRule(rule, { afterSeq: 0, countedFrom: MONDAY });
  return events.map((given, index) => alerts.evaluate(eventOf(given, index + 1)).length > 0);
}

function eventOf(given: Given, seq: number): AlertEvent {
  return {
    id: `evt_${seq}`,
    seq,
    action: 'doc.deleted',
    actorId: 'sarah@example.test',
    ipCountry: 'DE',
    ...given,
  };
}

const times = (...micros: number[]): Given[] => micros.map((time) => ({ createdAtMicros: MONDAY + time }));

describe('windows', () => {
  const rule = ruleOf('repeated_action', { action_pattern: '*', threshold: 3 });

  it('hold an event for the whole window, and not when it has just passed', () => {
    expect(firing(rule, times(0, MINUTE, 5 * MINUTE - 1))).toEqual([false, false, true]);
    expect(firing(rule, times(0, MINUTE, 5 * MINUTE))).toEqual([false, false, false]);
  });

  it('are of each actor, or of all', () => {
    const mixed = times(0, 1, 2).map((event, index) => ({ ...event, actorId: `actor ${index}` }));
    expect(firing(rule, mixed)).toEqual([false, false, false]);
    const ofAll = ruleOf('high_volume_destructive', { threshold: 3, per: 'workspace' });
    expect(firing(ofAll, mixed)).toEqual([false, false, true]);
  });
});

describe('a cooldown', () => {
  const rule = ruleOf('repeated_action', { action_pattern: '*', threshold: 1 }, 60);

  it('ends to the microsecond', () => {
    expect(firing(rule, times(0, HOUR - 1, HOUR, 2 * HOUR - 1, 2 * HOUR))).toEqual([
      true,
      false,
      true,
      false,
      true,
    ]);
  });

  it('of one actor hides nothing of another', () => {
    const [first, second] = times(0, 1);
    expect(firing(rule, [first!, { ...second!, actorId: 'another' }])).toEqual([true, true]);
  });
});

describe('new_country', () => {
  const from = (...countries: (string | undefined)[]) =>
    countries.map((ipCountry, index) => ({ createdAtMicros: MONDAY + index, ipCountry }));

  it('learns the first, fires for each other once, and never for an unknown one', () => {
    const countries = from(undefined, 'DE', 'ZZ', 'FR', 'FR', 'DE', undefined, 'US');
    expect(firing(ruleOf('new_country', {}), countries)).toEqual([
      false,
      false,
      false,
      true,
      false,
      false,
      false,
      true,
    ]);
  });

  it('learns for as many events as it is told', () => {
    const rule = ruleOf('new_country', { learning_events: 3 });
    expect(firing(rule, from('DE', 'FR', 'US', 'DE', 'IT'))).toEqual([false, false, false, false, true]);
  });

  it('learns again whom it has forgotten for want of room', () => {
    const acts = [
      ['a', 'DE'],
      ['b', 'DE'],
      ['c', 'DE'],
      ['a', 'FR'],
      ['a', 'US'],
    ].map(([actorId, ipCountry], index) => ({
      createdAtMicros: MONDAY + index,
      actorId: actorId!,
      ipCountry,
    }));
    expect(firing(ruleOf('new_country', {}), acts, { mostActors: 3 })).toEqual([
      false,
      false,
      false,
      true,
      true,
    ]);
    expect(firing(ruleOf('new_country', {}), acts, { mostActors: 2 })).toEqual([
      false,
      false,
      false,
      false,
      true,
    ]);
  });
});

describe('ingestion_spike', () => {
  const rule = ruleOf('ingestion_spike', { min_events: 4, threshold_multiplier: 2 });
  const burst = (begin: number, count: number) =>
    times(...Array.from({ length: count }, (_, index) => begin + index));

  /** How many of the last events raise an alert, which come at the same hour and minute so many days after the others. */
  function fired(daysLater: number, before: number, now: number, countedFrom = MONDAY): number {
    const alerts = createWorkspaceAlerts();
    alerts.addRule(rule, { afterSeq: 0, countedFrom });
    const events = [...allWindowsOfAnHour(before), ...burst(daysLater * DAY, now)].map((given, index) =>
      eventOf(given, index + 1),
    );
    return events.filter((event) => alerts.evaluate(event).length > 0).length;
  }

  /** So many events in each of the twelve windows of the first hour of a day. */
  function allWindowsOfAnHour(count: number, day = 0): Given[] {
    return Array.from({ length: 12 }, (_, window) => burst(day * DAY + window * 5 * MINUTE, count)).flat();
  }

  it('is silent until there is a day, then compares with the same hour of the day', () => {
    expect(fired(1 - 1 / 24, 0, 10)).toBe(0);
    expect(fired(1, 3, 6)).toBe(0);
    expect(fired(1, 3, 8)).toBe(2);
  });

  it('compares with each of the last six days, while there is no week', () => {
    const days = [0, 1, 2].flatMap((day) => allWindowsOfAnHour(9, day));
    // Of six hours, three are without events: the median lies between 0 and 9.
    expect(firing(rule, [...days, ...burst(6 * DAY, 11)]).filter(Boolean)).toHaveLength(2);
  });

  it('is silent where that hour was not counted from its beginning', () => {
    expect(fired(1, 3, 8, MONDAY + 1)).toBe(0);
  });

  it('compares with the same hour of the week, once there is one', () => {
    expect(fired(7, 3, 8)).toBe(2);
  });

  it('takes a window without events for 0, and then asks for the least number only', () => {
    expect(fired(2, 0, 6)).toBe(3);
  });

  it('holds an event for the window to the second in which it began', () => {
    const baseline = [{ createdAtMicros: MONDAY }];
    const late = (last: number) => [
      ...baseline,
      ...times(DAY + 500_000, DAY + MINUTE, DAY + 2 * MINUTE, last),
    ];
    expect(firing(rule, late(DAY + 5 * MINUTE - 1)).at(-1)).toBe(true);
    expect(firing(rule, late(DAY + 5 * MINUTE)).at(-1)).toBe(false);
  });
});

describe('off_hours', () => {
  const hours = { mon: [['09:00', '18:00']], tue: [['22:00', '06:00']] };
  const rule = ruleOf('off_hours', { timezone: 'UTC', business_hours: hours, holidays: ['2026-03-09'] });
  const day = (days: number, hour: number, micros = 0) => days * DAY + hour * HOUR + micros;

  it('begins and ends to the microsecond', () => {
    expect(firing(rule, times(day(0, 9, -1), day(0, 9), day(0, 18, -1), day(0, 18)))).toEqual([
      true,
      false,
      false,
      true,
    ]);
  });

  it('is open past midnight where a range is', () => {
    const moments = times(day(1, 22, -1), day(1, 22), day(2, 0), day(2, 6, -1), day(2, 6));
    expect(firing(rule, moments)).toEqual([true, false, false, false, true]);
  });

  it('is closed on a holiday, and open to the end of what began on its eve', () => {
    expect(firing(rule, times(day(7, 10)))).toEqual([true]);
    const eve = ruleOf('off_hours', { timezone: 'UTC', business_hours: hours, holidays: ['2026-03-04'] });
    expect(firing(eve, times(day(2, 5)))).toEqual([false]);
    const begun = ruleOf('off_hours', { timezone: 'UTC', business_hours: hours, holidays: ['2026-03-03'] });
    expect(firing(begun, times(day(2, 5)))).toEqual([true]);
  });
});

describe('an alert', () => {
  const rule = ruleOf('repeated_action', { action_pattern: '*', threshold: 1 });

  it('has the id of its rule and event', () => {
    expect(alertId('rul_1', 'evt_1', portableHasher)).toBe('alt_ffac0ef3-f2e8-80ed-9658-6964d1ddd304');
    expect(alertId('rul_1', 'evt_2', portableHasher)).not.toBe(alertId('rul_1', 'evt_1', portableHasher));
  });

  it.each<[AlertRule, string]>([
    [
      ruleOf('repeated_action', { action_pattern: 'doc.*', threshold: 2 }),
      '2 or more events of doc.* within 5 minutes, by one actor.',
    ],
    [
      ruleOf('high_volume_destructive', { threshold: 2, window_minutes: 1, per: 'workspace' }),
      '2 or more events of *.deleted, *.removed, *.destroyed, *.purged within 1 minute, in the workspace.',
    ],
    [
      ruleOf('high_volume_destructive', {
        action_patterns: ['a', 'b', 'c', 'd', 'doc.*', 'f'],
        threshold: 2,
      }),
      '2 or more events of a, b, c, d and 2 more within 5 minutes, by one actor.',
    ],
    [ruleOf('new_country', {}), 'An actor acted from FR, a country it had not been seen in.'],
    [
      ruleOf('ingestion_spike', { min_events: 2 }),
      '2 events of * within 5 minutes; the normal for this hour is 0.',
    ],
    [
      ruleOf('off_hours', { timezone: 'UTC', business_hours: { sun: [['09:00', '10:00']] } }),
      'An event of * outside business hours (UTC).',
    ],
  ])('says why, and nothing of who', (one, reason) => {
    const alerts = createWorkspaceAlerts();
    alerts.addRule(one, { afterSeq: 0, countedFrom: 0 });
    const events = ['DE', 'FR'].map((ipCountry, index) =>
      eventOf({ createdAtMicros: MONDAY + DAY + index, ipCountry }, index + 1),
    );
    const reasons = events.flatMap((event) => alerts.evaluate(event)).map((alert) => alert.reason);
    expect(reasons.at(-1)).toBe(reason);
  });

  it('comes from no event that came before, nor from one before the beginning of its rule', () => {
    const alerts = createWorkspaceAlerts();
    alerts.addRule(rule, { afterSeq: 5, countedFrom: 0 });
    const event = (seq: number) => eventOf({ createdAtMicros: MONDAY + seq }, seq);
    expect([5, 6, 6, 4, 7].map((seq) => alerts.evaluate(event(seq)).length)).toEqual([0, 1, 0, 0, 1]);
  });
});

describe('rules', () => {
  it('can be taken away, and added to those at work', () => {
    const alerts = createWorkspaceAlerts();
    const rule = ruleOf('repeated_action', { action_pattern: '*', threshold: 1 });
    const firingRules = (seq: number) =>
      alerts.evaluate(eventOf({ createdAtMicros: MONDAY + seq }, seq)).map((alert) => alert.rule.id);
    alerts.addRule(rule, { afterSeq: 0, countedFrom: 0 });
    expect(firingRules(1)).toEqual(['rul_1']);
    alerts.addRule({ ...rule, id: 'rul_2' }, { afterSeq: 1, countedFrom: 0 });
    expect(firingRules(2)).toEqual(['rul_1', 'rul_2']);
    alerts.removeRule('rul_1');
    expect(firingRules(3)).toEqual(['rul_2']);
    expect(() => alerts.removeRule('rul_1')).toThrow('there is no alert rule rul_1');
    expect(() => alerts.addRule({ ...rule, id: 'rul_2' }, { afterSeq: 0, countedFrom: 0 })).toThrow(
      'already',
    );
  });

  it('leave room behind for those that come', () => {
    const alerts = createWorkspaceAlerts({ mostRemembered: 5 });
    const rule = ruleOf('repeated_action', { action_pattern: '*', threshold: 2 });
    const event = (seq: number) => eventOf({ createdAtMicros: MONDAY + seq, actorId: `actor ${seq}` }, seq);
    alerts.addRule(rule, { afterSeq: 0, countedFrom: 0 });
    for (const seq of [1, 2, 3, 4, 5]) alerts.evaluate(event(seq));
    alerts.removeRule('rul_1');
    alerts.addRule(rule, { afterSeq: 5, countedFrom: 0 });
    alerts.evaluate(event(6));
    expect(alerts.actorCount).toBe(6);
  });

  it('take over what was remembered, also where there is room for less', () => {
    const rule = ruleOf('repeated_action', { action_pattern: '*', threshold: 4 });
    const before = createWorkspaceAlerts();
    const after = createWorkspaceAlerts({ mostRemembered: 4 });
    for (const alerts of [before, after]) alerts.addRule(rule, { afterSeq: 0, countedFrom: 0 });
    const act = (actorId: string, seq: number) => eventOf({ createdAtMicros: MONDAY + seq, actorId }, seq);
    for (const [index, actor] of ['b', 'a', 'a', 'a', 'b', 'b'].entries())
      before.evaluate(act(actor, index + 1));
    after.restore(before.snapshot());
    expect([7, 8, 9].map((seq) => after.evaluate(act('c', seq)).length)).toEqual([0, 0, 0]);
    expect(after.evaluate(act('c', 10))).toHaveLength(1);
  });
});
