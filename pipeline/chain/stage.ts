import { hostname } from 'node:os';
import { partitionOf } from '../../control/partition.ts';
import type { Logger } from '../../infra/log.ts';
import type { Registry } from '../../infra/metrics.ts';
import type { NatsConnection } from '../../infra/nats/connect.ts';
import type { Bucket } from '../../infra/nats/kv.ts';
import { HOLDER_TIMING, type HolderTiming, type PartitionState } from '../holder.ts';
import type { FloorSource } from '../purger.ts';
import { createFloorRecorder, type FloorRecorder } from './floors.ts';
import { createChainMetrics, type PartitionMetrics } from './metrics.ts';
import type { Operator } from './operator.ts';
import { CHAIN_TIMING, type ChainTiming } from './partition.ts';
import type { ChainStore } from './store.ts';

export interface StageOptions {
  nc: NatsConnection;
  store: ChainStore;
  buckets: { leases: Bucket; alarms: Bucket; floors: Bucket };
  log: Logger;
  metrics: Registry;
  /** How many partitions the installation has. */
  partitions: number;
  operatorWorkspaceId: string;
  /** Of stages behind this one that must be done with a message before it leaves EVENTS. */
  laterFloors: readonly FloorSource[];
  /** Same in every life of a supervised process. */
  instance?: string | undefined;
  timing?: Partial<StageTiming>;
}

export interface StageTiming extends ChainTiming, HolderTiming {
  floorIntervalMs: number;
  houseIntervalMs: number;
  /** For how long a stored message stays in EVENTS while the stream is under half its limit. */
  keepMs: number;
}

const TIMING: StageTiming = {
  ...HOLDER_TIMING,
  ...CHAIN_TIMING,
  floorIntervalMs: 5_000,
  houseIntervalMs: 60_000,
  keepMs: 72 * 3600 * 1000,
};

/** What the partitions of one process share. */
export interface Stage extends StageOptions {
  timing: StageTiming;
  floors: FloorRecorder;
  states: Map<number, PartitionState>;
  metricsOf: (partition: number) => PartitionMetrics;
  operator: Operator;
  holder: string;
}

export function createStage(options: StageOptions): Stage {
  const timing = { ...TIMING, ...options.timing };
  const { floors } = options.buckets;
  return {
    ...options,
    timing,
    floors: createFloorRecorder(floors, timing.floorIntervalMs, (error) =>
      options.log.debug({ err: error }, 'a floor was not written'),
    ),
    states: new Map(),
    metricsOf: createChainMetrics(options.metrics),
    operator: {
      workspaceId: options.operatorWorkspaceId,
      partition: partitionOf(options.operatorWorkspaceId, options.partitions),
    },
    holder: `${hostname()}:${process.pid}`,
  };
}
