import type { RuleType } from '../../core/alerts/rule.ts';
import type { Micros } from '../../core/time.ts';
import { Counter, Gauge, type Registry } from '../../infra/metrics.ts';
import type { PartitionState } from '../holder.ts';

/** What the work on one partition is counted by. */
export interface AlertMetrics {
  /** Events of workspaces that have rules. */
  evaluated(events: number): void;
  alert(ruleType: RuleType): void;
  /** `createdAtMicros`: of the newest event that was looked at. */
  lag(createdAtMicros: Micros): void;
  /** Workspaces with rules that are remembered, and that could not be looked at. */
  workspaces(remembered: number, behind: number): void;
  state(state: PartitionState): void;
}

export function createAlertMetrics(registry: Registry): (partition: number) => AlertMetrics {
  const labelNames = ['partition'] as const;
  const registers = [registry];
  const evaluated = new Counter({
    name: 'immutable_alerts_evaluated_total',
    help: 'Events that alert rules have looked at',
    labelNames,
    registers,
  });
  const alerts = new Counter({
    name: 'immutable_alerts_total',
    help: 'Alerts that were stored, by the type of their rule; again after a crash, so more than there are',
    labelNames: ['partition', 'rule_type'],
    registers,
  });
  const lagSeconds = new Gauge({
    name: 'immutable_alerts_lag_seconds',
    help: 'From receipt of the newest event that was looked at to that moment',
    labelNames,
    registers,
  });
  const remembered = new Gauge({
    name: 'immutable_alerts_workspaces',
    help: 'Workspaces with alert rules whose events are remembered',
    labelNames,
    registers,
  });
  const behind = new Gauge({
    name: 'immutable_alerts_behind',
    help: 'Workspaces whose alert rules could not look at the newest events, and are tried again',
    labelNames,
    registers,
  });
  const held = new Gauge({
    name: 'immutable_alerts_held',
    help: '1 while this process evaluates the alert rules of the partition',
    labelNames,
    registers,
  });
  return (partition) => {
    const label = { partition: String(partition) };
    return {
      evaluated: (events) => evaluated.inc(label, events),
      alert: (rule_type) => alerts.inc({ ...label, rule_type }),
      lag: (micros) => lagSeconds.set(label, Math.max(0, Date.now() / 1000 - micros / 1_000_000)),
      workspaces: (count, late) => {
        remembered.set(label, count);
        behind.set(label, late);
      },
      state: (state) => held.set(label, state === 'waiting' ? 0 : 1),
    };
  };
}
