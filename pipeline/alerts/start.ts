import { setMaxListeners } from 'node:events';
import { hostname } from 'node:os';
import { ALARM_KEYS, clearAlarm } from '../../control/alarms.ts';
import type { AlertRuleDirectory } from '../../control/alert-rules.ts';
import { crc32, nativeHasher } from '../../infra/hash.ts';
import type { Logger } from '../../infra/log.ts';
import type { Registry } from '../../infra/metrics.ts';
import type { NatsConnection } from '../../infra/nats/connect.ts';
import type { Bucket } from '../../infra/nats/kv.ts';
import { HOLDER_TIMING, type HolderTiming, holdPartition, type PartitionState } from '../holder.ts';
import { type AlertMetrics, createAlertMetrics } from './metrics.ts';
import {
  ALERT_TIMING,
  type AlertPartitionContext,
  type AlertTiming,
  runAlertPartition,
} from './partition.ts';
import type { AlertStore } from './store.ts';
import type { Deliver } from './watcher.ts';

export interface AlertStageOptions {
  nc: NatsConnection;
  store: AlertStore;
  events: AlertPartitionContext['events'];
  /** Kept current for as long as the stage runs. */
  rules: AlertRuleDirectory;
  buckets: { leases: Bucket; alarms: Bucket; alertPositions: Bucket };
  /** Called with alerts that are stored, before the position moves beyond them. Without it they are only stored. */
  deliver?: Deliver;
  partitions: number;
  log: Logger;
  metrics: Registry;
  /** Same in every life of a supervised process. */
  instance?: string | undefined;
  timing?: Partial<AlertTiming & HolderTiming>;
}

export interface AlertStage {
  /** Whether no partition is in the middle of its start. */
  ready(): boolean;
  states(): ReadonlyMap<number, PartitionState>;
  stop(): Promise<void>;
}

/** For what is under way; what is not finished by then is repeated at the next start. */
const STOP_TIMEOUT_MS = 2_000;

/** Evaluates the alert rules of every partition whose lease this process gets. */
export function startAlerts(options: AlertStageOptions): AlertStage {
  const stopping = new AbortController();
  // Every partition waits for it; Node would take more than ten listeners for a leak.
  setMaxListeners(0, stopping.signal);
  const states = new Map<number, PartitionState>();
  const metricsOf = createAlertMetrics(options.metrics);
  const work = Array.from({ length: options.partitions }, (_, partition) =>
    workOnPartition(options, partition, metricsOf(partition), states, stopping.signal),
  );
  return {
    ready: () => ![...states.values()].includes('starting'),
    states: () => states,
    stop: async () => {
      stopping.abort();
      const timeout = new Promise((resolve) => setTimeout(resolve, STOP_TIMEOUT_MS).unref());
      await Promise.race([Promise.allSettled(work), timeout]);
    },
  };
}

function workOnPartition(
  options: AlertStageOptions,
  partition: number,
  metrics: AlertMetrics,
  states: Map<number, PartitionState>,
  signal: AbortSignal,
): Promise<void> {
  const { nc, store, events, rules, buckets, log } = options;
  const timing = { ...ALERT_TIMING, ...HOLDER_TIMING, ...options.timing };
  const onState = (state: PartitionState) => {
    states.set(partition, state);
    metrics.state(state);
  };
  const context: AlertPartitionContext = {
    nc,
    store,
    events,
    rules,
    deliver: options.deliver ?? (async () => {}),
    partition,
    positions: buckets.alertPositions,
    crc32,
    hasher: nativeHasher,
    log,
    metrics,
    timing,
    onCaughtUp: async () => {
      await clearAlarm(buckets.alarms, ALARM_KEYS.alertsStopped(partition));
      onState('working');
    },
  };
  return holdPartition(
    {
      partition,
      leaseKey: `alerts.${partition}`,
      alarmKey: ALARM_KEYS.alertsStopped(partition),
      run: (whileHeld) => runAlertPartition(context, whileHeld),
      onState,
      onSteppedDown: () => {},
      leases: buckets.leases,
      alarms: buckets.alarms,
      holder: `${hostname()}:${process.pid}`,
      instance: options.instance,
      log,
      timing,
    },
    signal,
  );
}
