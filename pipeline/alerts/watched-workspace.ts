import { type AlertRuleRecord, ruleOf } from '../../control/alert-rules.ts';
import type { AlertEvent, AlertRule } from '../../core/alerts/rule.ts';
import {
  type Alert,
  createWorkspaceAlerts,
  type WorkspaceAlerts,
} from '../../core/alerts/workspace-alerts.ts';
import type { Hasher } from '../../core/hash.ts';
import { type Micros, parseTimestamp } from '../../core/time.ts';
import { addRememberingRule } from './remember.ts';
import type { AlertRow, AlertStore } from './store.ts';

export interface WatchedWorkspaceOptions {
  workspaceId: string;
  /** The rules have looked at events up to here. */
  seq: number;
  store: AlertStore;
  hasher: Hasher;
  /** Takes an alert, to be stored before the position moves. */
  raise(row: AlertRow): void;
  /** Resolves once all that were raised are stored: what a rule remembers is read from there. */
  settle(): Promise<void>;
}

/** One workspace that has rules. */
export interface WatchedWorkspace {
  /** The rules have looked at events up to here; beyond nothing was raised. */
  readonly seq: number;
  readonly actorCount: number;
  /** From when on a rule may still raise alerts; undefined where none can. */
  wantedAfter(records: readonly AlertRuleRecord[]): Micros | undefined;
  /**
   * The next events, which follow `seq`; those up to it are left out. A rule that is new, or was changed, begins at the
   * first event behind its `effective_from`. Throws when the store cannot answer: events behind `seq` are to come
   * again then.
   */
  look(events: readonly AlertEvent[], records: readonly AlertRuleRecord[]): Promise<void>;
  /** Nothing up to there can raise an alert. */
  pass(seq: number): void;
  /** Frees what is remembered; it is read again for the next event. */
  forget(): void;
}

interface Effective {
  record: AlertRuleRecord;
  rule: AlertRule;
  effectiveMicros: Micros;
  mutedMicros: Micros;
}

export function createWatchedWorkspace(options: WatchedWorkspaceOptions): WatchedWorkspace {
  const { workspaceId, store, hasher, raise, settle } = options;
  let { seq } = options;
  let known: readonly AlertRuleRecord[] = [];
  let alerts: WorkspaceAlerts | undefined;
  /** Rules that look at events, by id, and those that begin at a later one. */
  const active = new Map<string, Effective>();
  let waiting: Effective[] = [];

  function forget(): void {
    alerts = undefined;
    active.clear();
    waiting = known.filter(({ enabled }) => enabled).map(effective);
  }

  function reconcile(records: readonly AlertRuleRecord[]): void {
    if (records === known) return;
    known = records;
    const wanted = new Map(
      records.filter(({ enabled }) => enabled).map((record) => [record.id, effective(record)]),
    );
    for (const [id, before] of active) {
      const now = wanted.get(id);
      if (now !== undefined && looksAlike(before, now)) {
        active.set(id, now);
      } else {
        active.delete(id);
        alerts?.removeRule(id);
      }
    }
    waiting = [...wanted.values()].filter(({ record }) => !active.has(record.id));
  }

  async function begin(event: AlertEvent): Promise<void> {
    const beginning = waiting.filter(({ effectiveMicros }) => effectiveMicros < event.createdAtMicros);
    if (beginning.length === 0) return;
    await settle();
    alerts ??= createWorkspaceAlerts({ hasher });
    const place = { workspaceId, throughSeq: event.seq - 1, nextMicros: event.createdAtMicros };
    for (const one of beginning) {
      await addRememberingRule(alerts, one.rule, place, store);
      active.set(one.record.id, one);
    }
    waiting = waiting.filter((one) => !beginning.includes(one));
  }

  function raiseAll(found: readonly Alert[]): void {
    for (const alert of found) {
      const by = active.get(alert.rule.id);
      if (by !== undefined) raise(rowOf(workspaceId, alert, by));
    }
  }

  return {
    get seq() {
      return seq;
    },
    get actorCount() {
      return alerts?.actorCount ?? 0;
    },
    wantedAfter(records) {
      reconcile(records);
      const times = [...active.values(), ...waiting].map(({ effectiveMicros }) => effectiveMicros);
      return times.length === 0 ? undefined : Math.min(...times);
    },
    async look(events, records) {
      reconcile(records);
      try {
        for (const event of events) {
          if (event.seq <= seq) continue;
          if (waiting.length > 0) await begin(event);
          if (alerts !== undefined) raiseAll(alerts.evaluate(event));
          seq = event.seq;
        }
      } catch (error) {
        // A rule may have been read by half.
        forget();
        throw error;
      }
    },
    pass(through) {
      seq = Math.max(seq, through);
    },
    forget,
  };
}

function effective(record: AlertRuleRecord): Effective {
  return {
    record,
    rule: ruleOf(record),
    effectiveMicros: parseTimestamp(record.effective_from) ?? 0,
    mutedMicros: parseTimestamp(record.muted_until ?? '') ?? 0,
  };
}

/** Whether what the one remembers is what the other would. */
function looksAlike(before: Effective, now: Effective): boolean {
  return (
    before.effectiveMicros === now.effectiveMicros && JSON.stringify(before.rule) === JSON.stringify(now.rule)
  );
}

function rowOf(
  workspaceId: string,
  { id, reason, event }: Alert,
  { record, mutedMicros }: Effective,
): AlertRow {
  return {
    workspaceId,
    id,
    ruleId: record.id,
    ruleName: record.name,
    ruleType: record.rule_type,
    severity: record.severity,
    reason,
    eventId: event.id,
    eventSeq: event.seq,
    action: event.action,
    actorId: event.actorId,
    ipCountry: event.ipCountry,
    isMuted: event.createdAtMicros < mutedMicros,
    triggeredAtMicros: event.createdAtMicros,
  };
}
