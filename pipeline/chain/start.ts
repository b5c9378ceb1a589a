import { setMaxListeners } from 'node:events';
import { ALARM_KEYS, clearAlarm, raiseAlarm } from '../../control/alarms.ts';
import { partitionOf } from '../../control/partition.ts';
import { positionText } from '../../control/position.ts';
import type { ClickHouseClient } from '../../infra/clickhouse/client.ts';
import { crc32, nativeHasher } from '../../infra/hash.ts';
import { holdPartition, type PartitionState } from '../holder.ts';
import { clickHouseStore } from './clickhouse-store.ts';
import type { ReadMessage } from './decode.ts';
import { storedWhenFloorWasWritten } from './floors.ts';
import { keepHouse } from './housekeeping.ts';
import type { PartitionMetrics } from './metrics.ts';
import { tellOperator } from './operator.ts';
import { lostMessagesEvent } from './own-events.ts';
import { EventRefused, type PartitionContext, runPartition } from './partition.ts';
import type { QuarantineEntry, Source } from './row.ts';
import { createStage, type Stage, type StageOptions } from './stage.ts';

/** For inserts under way; what is not finished by then is repeated at the next start. */
const STOP_TIMEOUT_MS = 5_000;

export interface Chain {
  /** Whether no partition is in the middle of its start. */
  ready(): boolean;
  /** What each partition is doing in this process. */
  states(): ReadonlyMap<number, PartitionState>;
  stop(): Promise<void>;
}

export interface ChainOptions extends Omit<StageOptions, 'store'> {
  /** As the user who may insert and select, nothing else. */
  clickhouse: ClickHouseClient;
}

/** The chain stage on the tables in ClickHouse. */
export function startChain({ clickhouse, ...options }: ChainOptions): Chain {
  return startStage({ ...options, store: clickHouseStore(clickhouse) });
}

/**
 * Starts the chain stage: every partition whose lease this process gets, and, in one process of all, the
 * purge of EVENTS and the look-out for messages that the broker lost.
 */
export function startStage(options: StageOptions): Chain {
  const stopping = new AbortController();
  // Every partition waits for it; Node would take more than ten listeners for a leak.
  setMaxListeners(0, stopping.signal);
  const stage = createStage(options);
  const work = [keepHouse(stage, stopping.signal)];
  for (let partition = 0; partition < options.partitions; partition++) {
    work.push(workOnPartition(stage, partition, stopping.signal));
  }
  return {
    ready: () => ![...stage.states.values()].includes('starting'),
    states: () => stage.states,
    stop: async () => {
      stopping.abort();
      const timeout = new Promise((resolve) => setTimeout(resolve, STOP_TIMEOUT_MS).unref());
      await Promise.race([Promise.allSettled(work), timeout]);
      stage.floors.stop();
    },
  };
}

function workOnPartition(stage: Stage, partition: number, signal: AbortSignal): Promise<void> {
  const metrics = stage.metricsOf(partition);
  const context = partitionContext(stage, partition, metrics);
  return holdPartition(
    {
      partition,
      leaseKey: `chain.${partition}`,
      alarmKey: ALARM_KEYS.partitionStopped(partition),
      isUsual: (error) => error instanceof EventRefused,
      run: (whileHeld) => runPartition(context, whileHeld),
      onState: (state) => {
        stage.states.set(partition, state);
        metrics.state(state);
      },
      onSteppedDown: metrics.steppedDown,
      leases: stage.buckets.leases,
      alarms: stage.buckets.alarms,
      holder: stage.holder,
      instance: stage.instance,
      log: stage.log,
      timing: stage.timing,
    },
    signal,
  );
}

function partitionContext(stage: Stage, partition: number, metrics: PartitionMetrics): PartitionContext {
  const { nc, store, log, timing, buckets } = stage;
  return {
    nc,
    store,
    partition,
    decode: {
      partitionOf: (workspaceId) => partitionOf(workspaceId, stage.partitions),
      crc32,
      hasher: nativeHasher,
    },
    log,
    metrics,
    timing,
    refusals: new Map(),
    purgeableThrough: (source) => storedWhenFloorWasWritten(buckets.floors, source),
    onAgreed: async () => {
      await clearAlarm(buckets.alarms, ALARM_KEYS.partitionStopped(partition));
      stage.states.set(partition, 'working');
      metrics.state('working');
    },
    onQuarantined: (source, entry, message) => tellOfQuarantine(stage, source, entry, message),
    onHandled: (source, sequence, stored) => stage.floors.handled(source, sequence, stored),
  };
}

/** Nothing is set aside in silence: an alarm, and where no chain of the partition can say so, the operator's. */
async function tellOfQuarantine(
  stage: Stage,
  source: Source,
  entry: QuarantineEntry,
  message: ReadMessage | undefined,
): Promise<void> {
  const { partition, epoch } = source;
  const { workspaceId, reason } = entry;
  const details = { workspaceId, epoch, position: positionText(entry.position), reason };
  stage.log.error({ alarm: true, partition, ...details }, 'something was put into quarantine');
  await raiseAlarm(stage.buckets.alarms, ALARM_KEYS.quarantined(partition), {
    message: `A message of partition ${partition} could not be chained as it came: ${reason}.`,
    next_step:
      'Its bytes are in the table quarantine; the chain has an event that tells of it. Find out what damaged it.',
    details,
  });
  if (message === undefined || message.events.length > 0) return;
  const nowMicros = Date.now() * 1000;
  const { sequence } = entry.position;
  const event = lostMessagesEvent(
    {
      operatorWorkspaceId: stage.operator.workspaceId,
      epoch,
      first: sequence,
      last: sequence,
      reason: 'wrong_partition',
      foundAtMicros: nowMicros,
    },
    nativeHasher,
  );
  await tellOperator(stage.nc, stage.operator, event, nowMicros, crc32);
}
