import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ActorTable } from '../../core/alerts/actors.ts';
import { parseConditions } from '../../core/alerts/conditions.ts';
import { type AlertRule, RULE_TYPES } from '../../core/alerts/rule.ts';
import { NodePool, SlotLists } from '../../core/alerts/slot-lists.ts';
import { createWorkspaceAlerts } from '../../core/alerts/workspace-alerts.ts';
import { anyJson } from './arbitraries.ts';

test('an actor keeps its slot until it is the one that was inactive for longest', () => {
  const actor = fc.integer({ min: 0, max: 150 }).map((number) => `actor ${number}`);
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 100 }), fc.array(actor, { maxLength: 400 }), (most, touched) => {
      const forgotten: number[] = [];
      const table = new ActorTable(most, (slot) => forgotten.push(slot));
      /** Least recently active first. */
      let expected: { id: string; slot: number }[] = [];
      for (const id of touched) {
        const slot = table.touch(id);
        const known = expected.find((one) => one.id === id);
        if (known !== undefined) expect(slot).toBe(known.slot);
        else if (expected.length === most) {
          const oldest = expected.shift();
          expect(forgotten.pop()).toBe(oldest?.slot);
        }
        expected = [...expected.filter((one) => one.id !== id), { id, slot }];
        expect(new Set(expected.map((one) => one.slot)).size).toBe(expected.length);
        expect(slot >= 1 && slot <= most).toBe(true);
      }
      expect([...table.oldestFirst()]).toEqual(expected.map(({ id }) => id));
      expect(expected.map(({ id }) => table.slotOf(id))).toEqual(expected.map(({ slot }) => slot));
      expect(table.size).toBe(expected.length);
      expect(forgotten).toEqual([]);
    }),
  );
});

test('lists in one pool are lists, and take no more nodes than they hold', () => {
  const step = fc.record({
    list: fc.nat(2),
    slot: fc.nat(40),
    action: fc.constantFrom('push', 'push', 'push', 'drop', 'clear', 'clear all'),
    value: fc.nat(9),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 600 }), (steps) => {
      const pool = new NodePool(Number.POSITIVE_INFINITY, () => false);
      const lists = [0, 1, 2].map(() => new SlotLists(pool));
      const expected = [0, 1, 2].map(() => new Map<number, number[]>());
      let most = 0;
      for (const { list, slot, action, value } of steps) {
        const [tested, model] = [lists[list]!, expected[list]!];
        const values = model.get(slot) ?? [];
        model.set(slot, values);
        if (action === 'push') {
          tested.push(slot, value);
          values.push(value);
        } else if (action === 'drop') {
          tested.dropOldest(slot);
          values.shift();
        } else if (action === 'clear') {
          tested.clear(slot);
          values.length = 0;
        } else {
          tested.clearAll();
          model.clear();
        }
        const left = model.get(slot) ?? [];
        expect(tested.values(slot)).toEqual(left);
        expect([tested.count(slot), tested.oldest(slot), tested.has(slot, value)]).toEqual([
          left.length,
          left[0],
          left.includes(value),
        ]);
        const held = expected.flatMap((one) => [...one.values()]).flat().length;
        most = Math.max(most, held);
      }
      expect(pool.values.length).toBeLessThanOrEqual(Math.max(256, 2 * (most + 1)));
      for (const [index, model] of expected.entries()) {
        const used = [...model].filter(([, values]) => values.length > 0);
        expect([...lists[index]!.usedSlots()]).toEqual(used.map(([slot]) => slot).sort((a, b) => a - b));
      }
    }),
  );
});

test('a pool that is full asks for room, and grows only where there is none', () => {
  const lists: SlotLists[] = [];
  let asked = 0;
  const pool = new NodePool(300, () => {
    asked += 1;
    const isThere = (lists[0]?.count(1) ?? 0) > 0;
    lists[0]?.clear(1);
    return isThere;
  });
  lists.push(new SlotLists(pool));
  for (let value = 0; value < 100; value += 1) lists[0]?.push(1, value);
  for (let value = 0; value < 300; value += 1) lists[0]?.push(2, value);
  expect([asked, lists[0]?.count(1), lists[0]?.count(2)]).toEqual([1, 0, 300]);
  lists[0]?.push(2, 300);
  expect([asked, lists[0]?.count(2)]).toEqual([2, 301]);
});

test('whatever is given as conditions is refused with reasons, or makes a rule that works', () => {
  const known = fc.constantFrom(
    ...['action_pattern', 'action_patterns', 'learning_events', 'threshold', 'window_minutes', 'per'],
    ...['threshold_multiplier', 'baseline_days', 'min_events', 'timezone', 'business_hours', 'holidays'],
    ...['mon', '__proto__', 'constructor'],
  );
  const sensible = fc.constantFrom<unknown>(
    '*',
    'a.*',
    5,
    'actor',
    'Europe/Berlin',
    [['09:00', '18:00']],
    ['a'],
    ['2026-12-25'],
  );
  const hours = fc.constantFrom<unknown>(
    { mon: [['09:00', '18:00']] },
    { tue: [['24:00', '00:00']] },
    { mon: 1 },
  );
  const conditions = fc.oneof(
    anyJson,
    fc.dictionary(known, fc.oneof(sensible, hours, anyJson), { maxKeys: 5 }),
  );
  const event = { id: 'evt', seq: 1, createdAtMicros: 1.7e15, action: 'a.b', actorId: 'a', ipCountry: 'DE' };
  let accepted = 0;
  fc.assert(
    fc.property(fc.constantFrom(...RULE_TYPES), conditions, (rule_type, input) => {
      const parsed = parseConditions(rule_type, input);
      if (!parsed.ok) {
        expect(parsed.violations.length).toBeGreaterThan(0);
        expect(JSON.stringify(parsed.violations).isWellFormed()).toBe(true);
        return;
      }
      accepted += 1;
      const rule = { id: 'rul', rule_type, cooldown_minutes: 60, conditions: parsed.conditions } as AlertRule;
      const alerts = createWorkspaceAlerts();
      alerts.addRule(rule, { afterSeq: 0, countedFrom: 0 });
      expect(alerts.evaluate(event).length).toBeLessThanOrEqual(1);
      expect(parseConditions(rule_type, JSON.parse(JSON.stringify(parsed.conditions)))).toEqual(parsed);
    }),
    { numRuns: 5_000 },
  );
  expect(accepted).toBeGreaterThan(50);
});
