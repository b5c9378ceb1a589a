import fc from 'fast-check';
import { expect, test } from 'vitest';
import { matcherOf } from '../../core/action-pattern.ts';
import { type AlertEvent, type AlertRule, lookBackMicros, patternsOf } from '../../core/alerts/rule.ts';
import {
  createWorkspaceAlerts,
  type WorkspaceAlerts,
  type WorkspaceAlertsOptions,
} from '../../core/alerts/workspace-alerts.ts';
import { alertModel } from '../support/alert-model.ts';

const MINUTE = 60_000_000;
const HOUR = 60 * MINUTE;
/** Some days before clocks change in Europe. */
const BEGIN = Date.UTC(2026, 2, 25, 13, 20) * 1000;

const ACTIONS = ['doc.deleted', 'doc.created', 'user.removed', 'user.login', 'deleted'];
const pattern = fc.constantFrom('*', 'doc.*', '*.deleted', 'doc.deleted', 'user.login', '*o*');
const cooldown = fc.constantFrom(0, 1, 5, 60, 1_440);
const minutes = fc.constantFrom(1, 5, 60);

const withoutId: fc.Arbitrary<AlertRule> = fc.oneof(
  fc.record({
    id: fc.constant(''),
    rule_type: fc.constant('new_country' as const),
    cooldown_minutes: cooldown,
    conditions: fc.record({ action_pattern: pattern, learning_events: fc.integer({ min: 1, max: 3 }) }),
  }),
  fc.record({
    id: fc.constant(''),
    rule_type: fc.constant('high_volume_destructive' as const),
    cooldown_minutes: cooldown,
    conditions: fc.record({
      action_patterns: fc.array(pattern, { minLength: 1, maxLength: 3 }),
      threshold: fc.integer({ min: 1, max: 5 }),
      window_minutes: minutes,
      per: fc.constantFrom('actor' as const, 'workspace' as const),
    }),
  }),
  fc.record({
    id: fc.constant(''),
    rule_type: fc.constant('repeated_action' as const),
    cooldown_minutes: cooldown,
    conditions: fc.record({
      action_pattern: pattern,
      threshold: fc.integer({ min: 1, max: 5 }),
      window_minutes: minutes,
    }),
  }),
  fc.record({
    id: fc.constant(''),
    rule_type: fc.constant('ingestion_spike' as const),
    cooldown_minutes: cooldown,
    conditions: fc.record({
      action_pattern: pattern,
      threshold_multiplier: fc.constantFrom(1, 1.5, 3),
      window_minutes: fc.constantFrom(1, 20, 30, 60),
      baseline_days: fc.constantFrom(1, 2, 7, 8, 14),
      min_events: fc.integer({ min: 1, max: 3 }),
    }),
  }),
  fc.record({
    id: fc.constant(''),
    rule_type: fc.constant('off_hours' as const),
    cooldown_minutes: cooldown,
    conditions: fc.record({
      action_pattern: pattern,
      timezone: fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe'),
      business_hours: fc.constantFrom(
        { mon: [['09:00', '18:00']], wed: [['09:00', '12:00'] as const, ['13:00', '18:00'] as const] },
        { tue: [['22:00', '06:00']], thu: [['13:20', '13:21']], sun: [['00:00', '24:00']] },
      ) as fc.Arbitrary<Extract<AlertRule, { rule_type: 'off_hours' }>['conditions']['business_hours']>,
      holidays: fc.constantFrom<string[]>([], ['2026-03-26', '2026-04-06']),
    }),
  }),
);

const rules = fc
  .array(withoutId, { minLength: 1, maxLength: 6 })
  .map((list) => list.map((rule, index): AlertRule => ({ ...rule, id: `rul_${index}` })));

/** Mostly what lies at an edge of some window, or a microsecond beside it. */
const gap = fc.oneof(
  fc
    .constantFrom(1, 1_000_000, MINUTE, 5 * MINUTE, 20 * MINUTE, HOUR, 24 * HOUR, 7 * 24 * HOUR)
    .chain((length) => fc.constantFrom(-1, 0, 1).map((offset) => Math.max(1, length + offset))),
  fc.integer({ min: 1, max: 2 * MINUTE }),
);

const events = fc
  .array(
    fc.record({
      gap,
      action: fc.constantFrom(...ACTIONS),
      actorId: fc.constantFrom('a', 'b', 'c'),
      ipCountry: fc.constantFrom('DE', 'FR', 'US', undefined),
    }),
    { minLength: 1, maxLength: 50 },
  )
  .map((steps) => {
    let createdAtMicros = BEGIN;
    return steps.map(({ gap: passed, ...rest }, index): AlertEvent => {
      createdAtMicros += passed;
      return { ...rest, id: `event ${index}`, seq: index + 1, createdAtMicros };
    });
  });

function newWorkspace(
  list: readonly AlertRule[],
  countedFrom: number,
  options: WorkspaceAlertsOptions = {},
): WorkspaceAlerts {
  const alerts = createWorkspaceAlerts(options);
  for (const rule of list) alerts.addRule(rule, { afterSeq: 0, countedFrom });
  return alerts;
}

const ruleIds = (alerts: ReturnType<WorkspaceAlerts['evaluate']>) => alerts.map(({ rule }) => rule.id);

test('each rule fires exactly when the slow model does, also when events come twice', () => {
  fc.assert(
    fc.property(rules, events, fc.infiniteStream(fc.nat()), (list, history, random) => {
      const alerts = newWorkspace(list, BEGIN);
      const model = alertModel(list, BEGIN);
      for (const event of history) {
        expect(ruleIds(alerts.evaluate(event))).toEqual(model.evaluate(event));
        const again = history[(random.next().value ?? 0) % event.seq];
        expect(alerts.evaluate(again!)).toEqual([]);
      }
    }),
    { numRuns: 500 },
  );
});

test('a state that was written down and read again goes on as if nothing had been', () => {
  fc.assert(
    fc.property(rules, events, fc.nat(), (list, history, random) => {
      const stop = random % history.length;
      const before = newWorkspace(list, BEGIN);
      for (const event of history.slice(0, stop)) before.evaluate(event);
      const after = newWorkspace(list, Number.POSITIVE_INFINITY);
      after.restore(JSON.parse(JSON.stringify(before.snapshot())));
      expect(after.snapshot().actors).toEqual(before.snapshot().actors);
      for (const event of history.slice(Math.max(0, stop - 3))) {
        expect(after.evaluate(event)).toEqual(before.evaluate(event));
      }
    }),
    { numRuns: 500 },
  );
});

test('a state rebuilt from the events of the look-back, and the alerts, goes on as if nothing had been', () => {
  fc.assert(
    fc.property(rules, events, fc.nat(), (list, history, random) => {
      const stop = random % history.length;
      const before = newWorkspace(list, BEGIN);
      const raised = history.slice(0, stop).flatMap((event) => before.evaluate(event));
      const after = rebuilt(list, history.slice(0, stop), raised);
      for (const event of history.slice(Math.max(0, stop - 3))) {
        expect(after.evaluate(event)).toEqual(before.evaluate(event));
      }
    }),
    { numRuns: 500 },
  );
});

/** Reads no more than it must of what is stored. */
function rebuilt(
  list: readonly AlertRule[],
  stored: readonly AlertEvent[],
  raised: ReturnType<WorkspaceAlerts['evaluate']>,
): WorkspaceAlerts {
  const alerts = createWorkspaceAlerts();
  const last = stored.at(-1)?.createdAtMicros ?? BEGIN;
  for (const rule of list) {
    const from = Math.max(BEGIN, last - lookBackMicros(rule));
    alerts.addRule(rule, { afterSeq: stored.length, countedFrom: from });
    for (const event of stored.filter(({ createdAtMicros }) => createdAtMicros >= from)) {
      alerts.replay(rule.id, event);
    }
    for (const { event } of raised.filter((alert) => alert.rule.id === rule.id)) {
      alerts.recall(rule.id, { actorId: event.actorId, triggeredAtMicros: event.createdAtMicros });
    }
  }
  return alerts;
}

test('new_country is rebuilt from how many events each actor has of each country', () => {
  const list = rules.map((all) =>
    all.filter((rule) => rule.rule_type === 'new_country').map((rule) => ({ ...rule, cooldown_minutes: 0 })),
  );
  fc.assert(
    fc.property(list, events, fc.nat(), (chosen, history, random) => {
      const stop = random % history.length;
      const before = newWorkspace(chosen, BEGIN);
      for (const event of history.slice(0, stop)) before.evaluate(event);
      const after = createWorkspaceAlerts();
      for (const rule of chosen) {
        after.addRule(rule, { afterSeq: stop, countedFrom: BEGIN });
        for (const event of standIns(rule, history.slice(0, stop))) after.replay(rule.id, event);
      }
      for (const event of history.slice(stop)) {
        expect(ruleIds(after.evaluate(event))).toEqual(ruleIds(before.evaluate(event)));
      }
    }),
    { numRuns: 300 },
  );
});

/** Of each actor and country that fit as many events as there are, but no more than are learned from; numbered from 1. */
function standIns(rule: AlertRule, stored: readonly AlertEvent[]): AlertEvent[] {
  const learningEvents = rule.rule_type === 'new_country' ? rule.conditions.learning_events : 0;
  const isFitting = matcherOf(patternsOf(rule));
  const counts = new Map<string, number>();
  const kept = stored.filter(({ action, actorId, ipCountry }) => {
    const group = `${actorId} ${ipCountry}`;
    const count = counts.get(group) ?? 0;
    if (!isFitting(action) || count === learningEvents) return false;
    counts.set(group, count + 1);
    return true;
  });
  return kept.map((event, index) => ({ ...event, seq: index + 1 }));
}

test('what is forgotten for want of room makes windows hold less, never more, after a restart with less room too', () => {
  const withoutCooldown = rules.map((list) =>
    list
      .filter((rule) => rule.rule_type !== 'new_country') // it learns again, what it knew before as well
      .map((rule) => ({ ...rule, cooldown_minutes: 0 })),
  );
  fc.assert(
    fc.property(withoutCooldown, events, fc.nat(), (list, history, random) => {
      let alerts = newWorkspace(list, BEGIN, { mostActors: 3, mostRemembered: 12 });
      const model = alertModel(list, BEGIN);
      for (const [index, event] of history.entries()) {
        if (index === random % history.length) {
          const snapshot = alerts.snapshot();
          alerts = newWorkspace(list, BEGIN, { mostActors: 2, mostRemembered: 6 });
          alerts.restore(snapshot);
        }
        const expected = model.evaluate(event);
        expect(ruleIds(alerts.evaluate(event)).filter((id) => !expected.includes(id))).toEqual([]);
        expect(alerts.actorCount).toBeLessThanOrEqual(3);
      }
    }),
    { numRuns: 1_000 },
  );
});

/** Volumes around a normal that is not 0, in windows that overlap, and hours counted from their very beginning. */
test('a spike is what the slow model calls one', () => {
  const hour = BEGIN - (BEGIN % HOUR);
  const steps = fc.oneof(
    { weight: 4, arbitrary: fc.integer({ min: 1, max: 40_000_000 }) },
    { weight: 2, arbitrary: fc.integer({ min: 1, max: 15 * MINUTE }) },
    { weight: 1, arbitrary: fc.constantFrom(23 * HOUR, 24 * HOUR - 1, 24 * HOUR, 144 * HOUR, 168 * HOUR) },
  );
  const spike = fc.record({
    window_minutes: fc.constantFrom(1, 2, 10, 60),
    baseline_days: fc.constantFrom(1, 6, 7, 21),
    threshold_multiplier: fc.constantFrom(1, 1.5, 2),
    min_events: fc.integer({ min: 1, max: 6 }),
  });
  const countedFrom = fc.constantFrom(0, 1, HOUR, 24 * HOUR).map((offset) => hour + offset);
  fc.assert(
    fc.property(
      spike,
      fc.array(steps, { minLength: 20, maxLength: 120 }),
      countedFrom,
      (conditions, gaps, from) => {
        const rule: AlertRule = {
          id: 'rul_0',
          rule_type: 'ingestion_spike',
          cooldown_minutes: 0,
          conditions: { action_pattern: '*', ...conditions },
        };
        const [alerts, model] = [newWorkspace([rule], from), alertModel([rule], from)];
        let createdAtMicros = hour;
        for (const [index, passed] of gaps.entries()) {
          createdAtMicros += passed;
          const event = {
            id: '',
            seq: index + 1,
            createdAtMicros,
            action: '',
            actorId: '',
            ipCountry: undefined,
          };
          expect(ruleIds(alerts.evaluate(event))).toEqual(model.evaluate(event));
        }
      },
    ),
    { numRuns: 1_000 },
  );
});
