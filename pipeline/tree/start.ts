import { setMaxListeners } from 'node:events';
import { hostname } from 'node:os';
import { partitionOf } from '../../control/partition.ts';
import { timestamp } from '../../control/record.ts';
import { isSignedBy, logNameOf, openSigningSeeds, type SigningKeys } from '../../control/signing-keys.ts';
import { crc32, nativeHasher } from '../../infra/hash.ts';
import type { Logger } from '../../infra/log.ts';
import type { Registry } from '../../infra/metrics.ts';
import type { NatsConnection } from '../../infra/nats/connect.ts';
import type { Bucket } from '../../infra/nats/kv.ts';
import type { Sealer } from '../../infra/seal.ts';
import { ALARM_KEYS, clearAlarm, raiseAlarm } from '../alarms.ts';
import type { ChainStore } from '../chain/store.ts';
import { HOLDER_TIMING, type HolderTiming, holdPartition, type PartitionState } from '../holder.ts';
import type { TreeMismatch } from './load.ts';
import { createTreeMetrics, type TreeMetrics } from './metrics.ts';
import { runTreePartition, TREE_TIMING, type TreePartitionContext, type TreeTiming } from './partition.ts';
import { createSigner } from './signer.ts';
import type { SignedCheckpoint, TreeStore } from './store.ts';

export interface TreeStageOptions {
  nc: NatsConnection;
  store: TreeStore;
  events: Pick<ChainStore, 'highestPosition'>;
  buckets: { leases: Bucket; alarms: Bucket; floors: Bucket; checkpoints: Bucket };
  /** As they are at the moment it is called. */
  signingKeys(): SigningKeys;
  sealer: Sealer;
  logOrigin: string;
  partitions: number;
  log: Logger;
  metrics: Registry;
  /** Same in every life of a supervised process. */
  instance?: string | undefined;
  timing?: Partial<TreeTiming & HolderTiming>;
  /** What was signed and stored just now. */
  onSigned?: (signed: readonly SignedCheckpoint[]) => void;
  nowMs?: () => number;
}

export interface TreeStage {
  /** Whether no partition is in the middle of its start. */
  ready(): boolean;
  states(): ReadonlyMap<number, PartitionState>;
  stop(): Promise<void>;
}

/** For a commit under way; what is not finished by then is repeated at the next start. */
const STOP_TIMEOUT_MS = 2_000;

/** Grows and signs the trees of every partition whose lease this process gets. */
export function startTree(options: TreeStageOptions): TreeStage {
  const stopping = new AbortController();
  // Every partition waits for it; Node would take more than ten listeners for a leak.
  setMaxListeners(0, stopping.signal);
  const states = new Map<number, PartitionState>();
  const metricsOf = createTreeMetrics(options.metrics);
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
  options: TreeStageOptions,
  partition: number,
  metrics: TreeMetrics,
  states: Map<number, PartitionState>,
  signal: AbortSignal,
): Promise<void> {
  const onState = (state: PartitionState) => {
    states.set(partition, state);
    metrics.state(state);
  };
  const context = partitionContext(options, partition, metrics, onState);
  return holdPartition(
    {
      partition,
      leaseKey: `tree.${partition}`,
      alarmKey: ALARM_KEYS.treeStopped(partition),
      run: (whileHeld) => runTreePartition(context, whileHeld),
      onState,
      onSteppedDown: () => {},
      leases: options.buckets.leases,
      alarms: options.buckets.alarms,
      holder: `${hostname()}:${process.pid}`,
      instance: options.instance,
      log: options.log,
      timing: { ...HOLDER_TIMING, ...options.timing },
    },
    signal,
  );
}

function partitionContext(
  options: TreeStageOptions,
  partition: number,
  metrics: TreeMetrics,
  onState: (state: PartitionState) => void,
): TreePartitionContext {
  const { buckets, logOrigin, nowMs = Date.now } = options;
  return {
    nc: options.nc,
    store: options.store,
    storedEnd: () => options.events.highestPosition(partition),
    partition,
    partitionOf: (workspaceId) => partitionOf(workspaceId, options.partitions),
    buckets,
    signer: createSigner({
      bucket: buckets.checkpoints,
      logOrigin,
      seeds: rememberedSeeds(options, nowMs),
      hasher: nativeHasher,
      now: () => timestamp(nowMs()),
    }),
    isOurs: (workspaceId, note) =>
      isSignedBy(options.signingKeys(), logNameOf(logOrigin, workspaceId), note, nativeHasher),
    crc32,
    hasher: nativeHasher,
    log: options.log,
    metrics,
    timing: { ...TREE_TIMING, ...options.timing },
    onCaughtUp: () => onState('working'),
    alarmedWorkspaces: () => alarmedWorkspaces(options, partition),
    onMended: (workspaceId) => clearAlarm(buckets.alarms, ALARM_KEYS.treeMismatch(workspaceId)),
    onMismatch: (mismatch) => tellOfMismatch(options, mismatch, metrics),
    onSigned: options.onSigned ?? (() => {}),
  };
}

/** Opened again only when the keys have changed, or one of them may have ceased to sign. */
function rememberedSeeds({ signingKeys, sealer }: TreeStageOptions, nowMs: () => number): () => Uint8Array[] {
  let opened: { keys: SigningKeys; atMs: number; seeds: Uint8Array[] } | undefined;
  return () => {
    const keys = signingKeys();
    if (opened?.keys !== keys || nowMs() - opened.atMs > REOPEN_MS) {
      opened = { keys, atMs: nowMs(), seeds: openSigningSeeds(keys, sealer, nowMs()) };
    }
    return opened.seeds;
  };
}

const REOPEN_MS = 60_000;

async function alarmedWorkspaces(
  { buckets, partitions }: TreeStageOptions,
  partition: number,
): Promise<string[]> {
  const prefix = ALARM_KEYS.treeMismatch('');
  const keys = await buckets.alarms.keys();
  return keys
    .filter((key) => key.startsWith(`${prefix}ws_`))
    .map((key) => key.slice(prefix.length))
    .filter((workspaceId) => partitionOf(workspaceId, partitions) === partition);
}

/** It stays stopped until a person has looked and starts the stage anew, which then compares again. */
async function tellOfMismatch(
  { buckets, log }: TreeStageOptions,
  mismatch: TreeMismatch,
  metrics: TreeMetrics,
): Promise<void> {
  const { workspaceId, message, details } = mismatch;
  metrics.mismatch();
  log.error({ alarm: true, workspaceId, ...details }, message);
  await raiseAlarm(buckets.alarms, ALARM_KEYS.treeMismatch(workspaceId), {
    message: `No checkpoint is signed for ${workspaceId} any more. ${message}`,
    next_step:
      'Compare with `GET /api/v1/verify` and a backup: what is stored was changed since it was signed. After mending it, restart the tree stage.',
    details: { workspace_id: workspaceId, ...details },
  });
}
