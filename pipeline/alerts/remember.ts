import { type AlertRule, lookBackMicros, patternsOf, scopeOf } from '../../core/alerts/rule.ts';
import { neededCounts, snapshotOfCounts } from '../../core/alerts/spike.ts';
import { MOST_ACTORS, type WorkspaceAlerts } from '../../core/alerts/workspace-alerts.ts';
import { MICROS_PER_MINUTE, type Micros } from '../../core/time.ts';
import type { AlertStore, History } from './store.ts';

/** Where a rule begins to raise alerts: at the event behind `throughSeq`, received at `nextMicros`. */
export interface RuleBeginning {
  workspaceId: string;
  throughSeq: number;
  nextMicros: Micros;
}

/**
 * Adds a rule that knows what it would know, had it looked at all stored events up to its beginning, and raised the
 * alerts that are stored of them. What counts together is read as counts, not event by event.
 */
export async function addRememberingRule(
  alerts: WorkspaceAlerts,
  rule: AlertRule,
  { workspaceId, throughSeq, nextMicros }: RuleBeginning,
  store: AlertStore,
): Promise<void> {
  const history: History = { workspaceId, patterns: patternsOf(rule), throughSeq };
  const oldestMicros = (await store.oldestEventAt(workspaceId, throughSeq)) ?? nextMicros;
  const countedFrom = Math.max(oldestMicros, nextMicros - lookBackMicros(rule));
  alerts.addRule(rule, { afterSeq: throughSeq, countedFrom });
  switch (rule.rule_type) {
    case 'new_country':
      await rememberCountries(alerts, rule, history, store);
      break;
    case 'ingestion_spike':
      await rememberVolumes(alerts, rule, history, { nextMicros, countedFrom }, store);
      break;
    case 'high_volume_destructive':
    case 'repeated_action':
      await rememberTimes(alerts, rule, history, nextMicros, store);
      break;
    case 'off_hours':
      break;
  }
  const cooldownMicros = rule.cooldown_minutes * MICROS_PER_MINUTE;
  const range = { throughSeq, afterMicros: nextMicros - cooldownMicros };
  for (const alert of await store.alertsOf({ workspaceId, ruleId: rule.id }, range)) {
    alerts.recall(rule.id, alert);
  }
}

/** As many events of each actor as teach the same as all of them; which ones, and when they came, does not matter. */
async function rememberCountries(
  alerts: WorkspaceAlerts,
  { id, conditions }: AlertRule<'new_country'>,
  history: History,
  store: AlertStore,
): Promise<void> {
  let seq = 0;
  for (const { actorId, action, countries } of await store.countriesOfActors(history, MOST_ACTORS)) {
    let toLearn = conditions.learning_events;
    for (const [ipCountry, events] of countries) {
      const taught = Math.max(1, Math.min(events, toLearn));
      toLearn -= taught;
      for (let time = 0; time < taught; time += 1) {
        seq += 1;
        alerts.replay(id, { id: '', seq, createdAtMicros: 0, action, actorId, ipCountry });
      }
    }
  }
}

async function rememberVolumes(
  alerts: WorkspaceAlerts,
  { id, conditions }: AlertRule<'ingestion_spike'>,
  history: History,
  { nextMicros, countedFrom }: { nextMicros: Micros; countedFrom: Micros },
  store: AlertStore,
): Promise<void> {
  const needed = neededCounts(conditions, nextMicros);
  const memory = snapshotOfCounts(countedFrom, {
    recent: await store.countsBySpan(history, needed.recent),
    windows: await store.countsBySpan(history, needed.windows),
  });
  alerts.restore({ actors: [], rules: [{ id, lastSeq: history.throughSeq, alerted: [], memory }] });
}

async function rememberTimes(
  alerts: WorkspaceAlerts,
  rule: AlertRule<'high_volume_destructive' | 'repeated_action'>,
  history: History,
  nextMicros: Micros,
  store: AlertStore,
): Promise<void> {
  const events = await store.newestEvents(history, {
    afterMicros: nextMicros - lookBackMicros(rule),
    limit: rule.conditions.threshold,
    perActor: scopeOf(rule) === 'actor',
  });
  for (const event of events) alerts.replay(rule.id, event);
}
