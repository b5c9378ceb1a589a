import { ClickHouseError } from '@clickhouse/client';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ALARM_KEYS } from '../../control/alarms.ts';
import { changeAlertRule, deleteAlertRule, muteAlertRule } from '../../control/alert-rules.ts';
import { chainedSubject, STREAM_CHAINED } from '../../infra/nats/names.ts';
import { eventually, everybodysLeases } from '../chain/testing/stage.ts';
import { type Death, mortalProcess } from '../tree/testing/mortal.ts';
import type { AlertStage, AlertStageOptions } from './start.ts';
import type { AlertStore } from './store.ts';
import { type Act, type AlertWorld, MINUTE, MONDAY, openAlertWorld, untilWorking } from './testing/stage.ts';

const PARTITIONS = 2;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const REPEATED = {
  rule_type: 'repeated_action',
  conditions: { action_pattern: 'doc.*', threshold: 2, window_minutes: 5 },
};
const ABROAD = { rule_type: 'new_country' };
const EVERY = {
  rule_type: 'repeated_action',
  conditions: { action_pattern: '*', threshold: 1, window_minutes: 1 },
};

let world: AlertWorld;
const started: AlertStage[] = [];

beforeAll(async () => {
  world = await openAlertWorld(PARTITIONS);
});
afterEach(async () => {
  const stopped = Promise.all(started.splice(0).map((alerts) => alerts.stop()));
  await Promise.race([stopped, new Promise((resolve) => setTimeout(resolve, 300))]);
});
afterAll(async () => {
  await world?.close();
});

async function working(options?: Partial<AlertStageOptions>): Promise<AlertStage> {
  const alerts = world.start(options);
  started.push(alerts);
  await untilWorking(alerts, PARTITIONS);
  return alerts;
}

const workspaceOf = (partition = 0): string => world.workspaces(1, partition)[0] ?? '';

/** Five kinds of rules at once, some that cool down. */
async function allKinds(workspaceId: string) {
  return [
    await world.rule(workspaceId, ABROAD),
    await world.rule(workspaceId, {
      rule_type: 'high_volume_destructive',
      cooldown_minutes: 3,
      conditions: { threshold: 3, window_minutes: 5, per: 'workspace' },
    }),
    await world.rule(workspaceId, { ...REPEATED, cooldown_minutes: 2 }),
    await world.rule(workspaceId, {
      rule_type: 'ingestion_spike',
      cooldown_minutes: 1,
      conditions: { min_events: 3, threshold_multiplier: 2 },
    }),
    await world.rule(workspaceId, {
      rule_type: 'off_hours',
      conditions: {
        action_pattern: 'doc.deleted',
        timezone: 'Europe/Berlin',
        business_hours: { mon: [['09:00', '18:00']], tue: [['09:00', '11:05']] },
      },
    }),
  ];
}

/** Two days of it: quiet hours, and bursts of two people in three countries. */
function acts(count: number): Act[] {
  const actions = ['doc.read', 'doc.deleted', 'user.deleted'];
  const countries = ['DE', 'FR', undefined, 'US'];
  return Array.from({ length: count }, (_, index) => {
    const isLater = index >= count / 3;
    const country = countries[(index * 7) % 11 > 8 ? index % 4 : 0];
    return {
      at: MONDAY + 10 * HOUR + (isLater ? DAY : 0) + index * 40_000_000 + (index % 3),
      actor: index % 3 === 0 ? 'b' : 'a',
      action: actions[index % 3] ?? '',
      ...(country === undefined ? {} : { country }),
    };
  });
}

describe('the stage of alerts', () => {
  it('raises what each type of rule finds, in every partition, and hands it on', async () => {
    await working();
    for (const partition of [0, 1]) {
      const workspaceId = workspaceOf(partition);
      const rules = await allKinds(workspaceId);
      const all = acts(36);
      await world.add(workspaceId, all.slice(0, 20));
      await world.add(workspaceId, all.slice(20));
      await world.untilLooked(partition);
      const expected = world.expected(workspaceId, rules);
      expect(await world.alerts(workspaceId, '')).toEqual(expected);
      const told = world.delivered.filter((alert) => alert.workspaceId === workspaceId);
      expect(told.map(({ id }) => id).sort()).toEqual([...expected].sort());
      expect(new Set(told.map(({ ruleType }) => ruleType)).size).toBe(5);
    }
  });

  it('costs a workspace without rules nothing, and begins with the events behind a new one', async () => {
    await working();
    const workspaceId = workspaceOf();
    await world.add(workspaceId, [{ at: MONDAY }, { at: MONDAY + 1 }]);
    await world.untilLooked();
    await world.rule(workspaceId, REPEATED, MONDAY + 1);
    await world.add(workspaceId, [{ at: MONDAY + 2 }, { at: MONDAY + 10 * MINUTE }]);
    await world.untilLooked();
    // What came before is known to the rule, and raises nothing.
    expect(world.delivered.filter((alert) => alert.workspaceId === workspaceId)).toMatchObject([
      { eventSeq: 3 },
    ]);
  });

  it('takes what comes again for known, and reads a hole, and what was damaged, from ClickHouse', async () => {
    await working();
    const workspaceId = workspaceOf();
    const rule = await world.rule(workspaceId, EVERY);
    const first = await world.add(workspaceId, [{ at: MONDAY }, { at: MONDAY + 1 }]);
    await world.publish(first);
    await world.chain(workspaceId, [{ at: MONDAY + 2 }]);
    const third = await world.add(workspaceId, [{ at: MONDAY + 3 }]);
    await world.publish(first.slice(1));
    await world.publish(third);
    await world.chain(workspaceId, [{ at: MONDAY + 4 }]);
    await world.stage.publishRaw(chainedSubject(0, workspaceId), Buffer.from('imk-chained/1\tdamaged'));
    await eventually(
      async () => (await world.alerts(workspaceId)).length,
      (count) => count === 5,
    );
    expect(await world.alerts(workspaceId, '')).toEqual(world.expected(workspaceId, [rule]));
  });
});

describe('a restart', () => {
  it('at every point of a history changes nothing', async () => {
    const workspaceId = workspaceOf();
    const rules = await allKinds(workspaceId);
    const all = acts(14);
    await world.runOnce();
    for (const [index, act] of all.entries()) {
      // Some while it works, some while it is away.
      if (index % 3 === 0) {
        await world.add(workspaceId, [act]);
        await world.runOnce();
      } else {
        const alerts = await working();
        await world.add(workspaceId, [act]);
        await world.untilLooked();
        await alerts.stop();
      }
    }
    const expected = world.expected(workspaceId, rules);
    expect(await world.alerts(workspaceId, '')).toEqual(expected);
    const types = world.delivered.filter(({ id }) => expected.includes(id)).map(({ ruleType }) => ruleType);
    expect(new Set(types).size).toBe(5);
  });

  it('goes on from ClickHouse where CHAINED was purged', async () => {
    const workspaceId = workspaceOf();
    const rule = await world.rule(workspaceId, REPEATED);
    await world.add(workspaceId, [{ at: MONDAY }]);
    await world.runOnce();
    await world.add(workspaceId, [{ at: MONDAY + MINUTE }, { at: MONDAY + HOUR }]);
    await world.stage.manager.streams.purge(STREAM_CHAINED);
    await world.runOnce();
    const expected = world.expected(workspaceId, [rule]);
    expect(expected).toHaveLength(1);
    expect(await world.alerts(workspaceId, '')).toEqual(expected);
  });

  it.each<Death>([
    { of: 'store', operation: 'writeAlerts', moment: 'before', call: 1 },
    { of: 'store', operation: 'writeAlerts', moment: 'after', call: 1 },
    { of: 'deliver', operation: 'deliver', moment: 'before', call: 1 },
    { of: 'deliver', operation: 'deliver', moment: 'after', call: 1 },
    { of: 'positions', operation: 'update', moment: 'before', call: 1 },
    { of: 'positions', operation: 'update', moment: 'after', call: 1 },
  ])('after a death $moment $operation misses no alert, and repeats none', async (death) => {
    const workspaceId = workspaceOf();
    const rule = await world.rule(workspaceId, { ...REPEATED, cooldown_minutes: 1 });
    await world.add(workspaceId, [{ at: MONDAY }]);
    await world.runOnce();
    const mortal = mortalProcess(death);
    const deliver = {
      deliver: async (rows: readonly { id: string }[]) => {
        world.delivered.push(...(rows as typeof world.delivered));
      },
    };
    const view = mortal.view('deliver', deliver);
    // Nobody's lease stands in the way of the next life.
    const leases = everybodysLeases(world.buckets.leases);
    await working({
      store: mortal.view('store', world.store),
      deliver: (rows) => view.deliver(rows),
      buckets: {
        ...world.buckets,
        leases,
        alertPositions: mortal.view('positions', world.buckets.alertPositions),
      },
    });
    await world.add(workspaceId, [{ at: MONDAY + 1 }, { at: MONDAY + 2 }, { at: MONDAY + MINUTE + 1 }]);
    await mortal.died;
    await world.add(workspaceId, [{ at: MONDAY + MINUTE + 2 }, { at: MONDAY + 2 * MINUTE + 1 }]);
    await world.runOnce();
    const expected = world.expected(workspaceId, [rule]);
    expect(expected).toHaveLength(3);
    expect(await world.alerts(workspaceId)).toEqual(expected);
    const told = world.delivered.filter((alert) => alert.workspaceId === workspaceId);
    expect([...new Set(told.map(({ id }) => id))].sort()).toEqual([...expected].sort());
  });
});

describe('rules that change while it runs', () => {
  it('take effect from then on', async () => {
    await working();
    const workspaceId = workspaceOf();
    const rule = await world.rule(workspaceId, EVERY);
    const other = await world.rule(workspaceId, ABROAD);
    let minute = 0;
    async function act(country?: string): Promise<string[]> {
      minute += 1;
      const before = world.delivered.length;
      const at = MONDAY + minute * 10 * MINUTE;
      await world.add(workspaceId, [{ at, ...(country === undefined ? {} : { country }) }]);
      await world.untilLooked();
      return world.delivered.slice(before).map(({ ruleId }) => ruleId);
    }
    async function change(body: object): Promise<void> {
      const now = () => (MONDAY + minute * 10 * MINUTE + MINUTE) / 1000;
      const { rule: changed } = await changeAlertRule(
        { ...world.ruleContext, now },
        workspaceId,
        rule.id,
        body,
      );
      await world.known(() => current()?.updated_at === changed.updated_at);
    }
    const current = () => world.rules.rulesOf(workspaceId).find(({ id }) => id === rule.id);

    expect(await act('DE')).toEqual([rule.id]);
    await change({ enabled: false });
    expect(await act('FR')).toEqual([other.id]);
    await change({ enabled: true, name: 'Again' });
    expect(await act()).toEqual([rule.id]);
    expect(world.delivered.at(-1)).toMatchObject({ ruleName: 'Again', isMuted: false });

    await change({ conditions: { ...EVERY.conditions, threshold: 2, window_minutes: 15 } });
    // The one before, from before the change, is in the window.
    expect(await act()).toEqual([rule.id]);

    await muteAlertRule(world.ruleContext, workspaceId, rule.id, (MONDAY + DAY) / 1000);
    await world.known(() => current()?.muted_until !== null);
    const kept = (await world.alerts(workspaceId)).length;
    expect(await act()).toEqual([]);
    expect(await world.alerts(workspaceId)).toHaveLength(kept + 1);
    await muteAlertRule(world.ruleContext, workspaceId, rule.id, null);
    await world.known(() => current()?.muted_until === null);
    expect((await act('US')).sort()).toEqual([rule.id, other.id].sort());

    await deleteAlertRule(world.ruleContext.bucket, workspaceId, rule.id);
    await world.known(() => current() === undefined);
    expect(await act('FR')).toEqual([]);
    expect(await act('IT')).toEqual([other.id]);
  });
});

describe('trouble', () => {
  it('with the stream stops the partition with an alarm, which goes when that is mended', async () => {
    const { alertPositions, alarms } = world.buckets;
    await world.runOnce();
    const present = (await alertPositions.get('0'))?.value as object;
    await alertPositions.put('0', { ...present, epoch: 'another' });
    const alerts = world.start();
    started.push(alerts);
    const alarm = () => alarms.get(ALARM_KEYS.alertsStopped(0));
    await eventually(alarm, (raised) => raised !== undefined);
    expect([...alerts.states()]).toContainEqual([0, 'stopped']);
    await alertPositions.put('0', present);
    await eventually(alarm, (raised) => raised === undefined);
    await untilWorking(alerts, PARTITIONS);
  });

  it('two processes on one partition raise nothing twice', async () => {
    const leases = everybodysLeases(world.buckets.leases);
    const buckets = { ...world.buckets, leases };
    const workspaceId = workspaceOf();
    const rule = await world.rule(workspaceId, { ...REPEATED, cooldown_minutes: 3 });
    await world.add(workspaceId, [{ at: MONDAY }]);
    await working({ buckets });
    await working({ buckets });
    for (let index = 1; index <= 12; index += 1) {
      await world.add(workspaceId, [{ at: MONDAY + index * MINUTE }]);
    }
    await world.untilLooked();
    const expected = world.expected(workspaceId, [rule]);
    expect(expected.length).toBeGreaterThan(2);
    expect(await world.alerts(workspaceId)).toEqual(expected);
  });

  it('with one workspace holds up no other, and is made up for', async () => {
    const [bad = '', good = ''] = world.workspaces(2);
    const rules = [await world.rule(bad, REPEATED), await world.rule(good, REPEATED)];
    await world.runOnce();
    let isBroken = true;
    const store: AlertStore = {
      ...world.store,
      oldestEventAt: async (workspaceId, throughSeq) => {
        if (isBroken && workspaceId === bad) {
          throw new ClickHouseError({ message: 'broken', code: '241', type: 'MEMORY_LIMIT_EXCEEDED' });
        }
        return await world.store.oldestEventAt(workspaceId, throughSeq);
      },
    };
    const first = await working({ store });
    for (const workspaceId of [bad, good]) {
      await world.add(workspaceId, [{ at: MONDAY }, { at: MONDAY + 1 }]);
    }
    await world.untilLooked();
    expect(await world.alerts(good)).toEqual(world.expected(good, rules.slice(1)));
    expect(await world.alerts(bad)).toEqual([]);
    // It is not forgotten over a restart either.
    await first.stop();
    await world.add(bad, [{ at: MONDAY + 2 }]);
    await working({ store });
    await world.add(good, [{ at: MONDAY + 2 }]);
    await world.untilLooked();
    isBroken = false;
    await eventually(
      async () => (await world.alerts(bad)).length,
      (count) => count === 2,
    );
    expect(await world.alerts(bad, '')).toEqual(world.expected(bad, rules.slice(0, 1)));
  });
});
