import { randomUUID } from 'node:crypto';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { parseConditions } from '../../../core/alerts/conditions.ts';
import { type AlertRule, DEFAULT_COOLDOWN_MINUTES, type RuleType } from '../../../core/alerts/rule.ts';
import {
  createWorkspaceAlerts,
  MOST_ACTORS,
  type WorkspaceAlerts,
} from '../../../core/alerts/workspace-alerts.ts';
import { formatTimestamp } from '../../../core/time.ts';
import { nativeHasher } from '../../../infra/hash.ts';
import { alertEventOf } from '../../../pipeline/alerts/event.ts';
import type { BenchCase, Figure, Limit } from '../case.ts';
import { amount } from '../report.ts';

const GOAL_PER_SECOND = 20_000;
const RULES = 100;
const BEGIN = Date.UTC(2026, 2, 2) * 1000;
/** So far apart are two events: as under the goal's load. */
const GAP_MICROS = 1_000_000 / GOAL_PER_SECOND;

/**
 * The rules of one workspace, without what brings events and takes alerts away. Seconds are those of the processor, all
 * threads together: nothing waits here, and whatever else runs on the machine does not count.
 */
export const alerts: BenchCase = {
  name: 'alerts',
  about: `events through ${RULES} alert rules of one workspace, of ${amount(MOST_ACTORS)} actors`,
  async run({ seconds, progress }) {
    progress('events that are only read');
    const limit = { name: 'no rules, events read alone', value: measure([], seconds).eventsPerSecond };
    progress('rules of which some fit an event');
    const usual = figure('alerts', measure(usualRules(), seconds), limit);
    progress('rules that all fit every event');
    const worst = figure('alerts-all-fit', measure(rulesThatFitAll(), seconds), limit);
    return [usual, worst];
  },
};

interface Measured {
  eventsPerSecond: number;
  /** How many of all are remembered at the end. */
  actors: number;
  alerts: number;
  events: number;
  memoryMiB: number;
}

function figure(name: string, measured: Measured, limit: Limit): Figure {
  const { eventsPerSecond, actors, alerts, events, memoryMiB } = measured;
  return {
    name,
    value: eventsPerSecond,
    unit: 'events/s',
    goal: {
      text: `≥ ${GOAL_PER_SECOND.toLocaleString('en-US')} /s`,
      met: eventsPerSecond >= GOAL_PER_SECOND,
    },
    limit,
    remarks: [
      `${RULES} rules; ${amount(events)} events, ${amount(alerts)} alerts; by processor time: what one core can do`,
      `${amount(actors)} actors remembered, in ${Math.round(memoryMiB)} MiB`,
    ],
  };
}

function measure(rules: AlertRule[], seconds: number): Measured {
  const before = usedBytes();
  const workspace = createWorkspaceAlerts({ hasher: nativeHasher });
  for (const rule of rules) workspace.addRule(rule, { afterSeq: 0, countedFrom: BEGIN });
  const feed = feeder(workspace);
  for (let event = 0; event < WARM_UP_EVENTS; event += 1) feed.next();
  const alertsBefore = feed.alerts();
  const from = process.cpuUsage();
  let events = 0;
  let usedMicros = 0;
  while (usedMicros < seconds * 1e6) {
    for (let event = 0; event < 1_000; event += 1) feed.next();
    events += 1_000;
    const { user, system } = process.cpuUsage(from);
    usedMicros = user + system;
  }
  const eventsPerSecond = (events * 1e6) / usedMicros;
  const memoryMiB = (usedBytes() - before) / 2 ** 20;
  const alerts = feed.alerts() - alertsBefore;
  return { eventsPerSecond, actors: workspace.actorCount, alerts, events, memoryMiB };
}

/** One event in ten is by one of all actors, in turn, the others by the busy ones. */
const BUSY_ACTORS = 1_000;
/** Each actor has been there by then. */
const WARM_UP_EVENTS = 11 * MOST_ACTORS;

/** From the body of each event on, whose making counts too: as a decoder hands them on, all texts are new. */
function feeder(workspace: WorkspaceAlerts) {
  let seq = 0;
  let raised = 0;
  const next = () => {
    seq += 1;
    const actor = seq % 10 === 0 ? (seq / 10) % MOST_ACTORS : (seq * 7_919) % BUSY_ACTORS;
    const action = ACTIONS[seq % ACTIONS.length] ?? '';
    const country = COUNTRIES[(actor + (seq % 1_009 === 0 ? 1 : 0)) % COUNTRIES.length] ?? '';
    const createdAt = formatTimestamp(BEGIN + seq * GAP_MICROS);
    const event = alertEventOf({
      ...CHAINED,
      seq,
      createdAt,
      body: bodyOf(action, `user_${actor}`, country),
    });
    raised += workspace.evaluate(event).length;
  };
  return { next, alerts: () => raised };
}

const CHAINED = {
  id: randomUUID(),
  salt: '0'.repeat(32),
  private: '{}',
  eventHash: '0'.repeat(64),
  previousEventHash: '0'.repeat(64),
};

function bodyOf(action: string, actor: string, country: string): string {
  return `{"action":"${action}","actor_id":"${actor}","actor_type":"user","id":"${CHAINED.id}","ip_country":"${country}","occurred_at":"2026-03-02T00:00:00.000000Z","private":"${CHAINED.eventHash}","resource":"document","resource_id":"doc_9","workspace_id":"ws_52b5d804c0af9005"}`;
}

const RESOURCES = ['document', 'user', 'invoice', 'deployment', 'secret', 'config'];
const VERBS = ['created', 'updated', 'deleted', 'viewed', 'exported'];
const ACTIONS = RESOURCES.flatMap((resource) => VERBS.map((verb) => `${resource}.${verb}`));
const COUNTRIES = ['DE', 'FR', 'US', 'NP', 'AU', 'BR', 'IN'];
const ZONES = ['Europe/Berlin', 'America/New_York', 'Asia/Kathmandu', 'Australia/Lord_Howe'];
const HOURS = { mon: [['00:00', '24:00']], tue: [['22:00', '06:00']] };

/** Twenty of each type. */
function usualRules(): AlertRule[] {
  return rulesWith((index) => {
    const [resource, verb] = [RESOURCES[index % RESOURCES.length], VERBS[index % VERBS.length]];
    return [`${resource}.*`, `*.${verb}`, `${resource}.${verb}`][index % 3] ?? '*';
  });
}

function rulesThatFitAll(): AlertRule[] {
  return rulesWith(() => '*');
}

function rulesWith(patternOf: (index: number) => string): AlertRule[] {
  return Array.from({ length: RULES }, (_, index) => {
    const turn = Math.floor(index / 5);
    const pattern = patternOf(turn);
    const timezone = ZONES[turn % ZONES.length];
    const kinds: [RuleType, object][] = [
      ['new_country', { action_pattern: pattern }],
      [
        'high_volume_destructive',
        { action_patterns: [pattern], per: turn % 2 === 0 ? 'actor' : 'workspace' },
      ],
      ['ingestion_spike', { action_pattern: pattern, baseline_days: 28, window_minutes: 1 }],
      ['repeated_action', { action_pattern: pattern }],
      ['off_hours', { action_pattern: pattern, timezone, business_hours: HOURS }],
    ];
    const [type, conditions] = kinds[index % kinds.length] ?? ['new_country', {}];
    return ruleOf(`rul_${index}`, type, conditions);
  });
}

function ruleOf(id: string, rule_type: RuleType, conditions: object): AlertRule {
  const parsed = parseConditions(rule_type, conditions);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.violations));
  return {
    id,
    rule_type,
    cooldown_minutes: DEFAULT_COOLDOWN_MINUTES,
    conditions: parsed.conditions,
  } as AlertRule;
}

/** On the heap and beside it, once garbage is collected. */
function usedBytes(): number {
  setFlagsFromString('--expose-gc');
  const collectGarbage: unknown = runInNewContext('gc');
  if (typeof collectGarbage !== 'function') throw new Error('this Node cannot be made to collect garbage');
  collectGarbage();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}
