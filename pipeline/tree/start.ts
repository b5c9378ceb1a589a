import { setMaxListeners } from 'node:events';
import { hostname } from 'node:os';
import { ALARM_KEYS, clearAlarm, raiseAlarm } from '../../control/alarms.ts';
import { partitionOf } from '../../control/partition.ts';
import { timestamp } from '../../control/record.ts';
import { isSignedBy, logNameOf, openSigningSeeds, type SigningKeys } from '../../control/signing-keys.ts';
import type { Policy } from '../../core/policy.ts';
import { crc32, nativeHasher } from '../../infra/hash.ts';
import type { Logger } from '../../infra/log.ts';
import type { Registry } from '../../infra/metrics.ts';
import type { NatsConnection } from '../../infra/nats/connect.ts';
import type { Bucket } from '../../infra/nats/kv.ts';
import type { Sealer } from '../../infra/seal.ts';
import type { ChainStore } from '../chain/store.ts';
import { HOLDER_TIMING, type HolderTiming, holdPartition, type PartitionState } from '../holder.ts';
import type { TreeMismatch } from './load.ts';
import { createTreeMetrics, createWitnessMetrics, type TreeMetrics } from './metrics.ts';
import { runTreePartition, TREE_TIMING, type TreePartitionContext, type TreeTiming } from './partition.ts';
import { createSigner } from './signer.ts';
import type { TreeStore } from './store.ts';
import { startWitnesses, type Witnesses, type WitnessTiming } from './witnesses.ts';

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
  /** Whom checkpoints are shown to, and who must have cosigned them. */
  witnessPolicy?: Policy | undefined;
  witnessTiming?: Partial<WitnessTiming>;
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
  const witnesses = witnessesOf(options);
  const work = Array.from({ length: options.partitions }, (_, partition) =>
    workOnPartition({ ...options, witnesses }, partition, metricsOf(partition), states, stopping.signal),
  );
  return {
    ready: () => ![...states.values()].includes('starting'),
    states: () => states,
    stop: async () => {
      stopping.abort();
      witnesses?.stop();
      const timeout = new Promise((resolve) => setTimeout(resolve, STOP_TIMEOUT_MS).unref());
      await Promise.race([Promise.allSettled(work), timeout]);
    },
  };
}

interface TreeStageWork extends TreeStageOptions {
  witnesses: Witnesses | undefined;
}

function workOnPartition(
  options: TreeStageWork,
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
  options: TreeStageWork,
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
    onSigned: (signed) => options.witnesses?.offer(signed),
    onKnown: (signed) => options.witnesses?.offerUnlessWitnessed(signed),
  };
}

function witnessesOf(options: TreeStageOptions): Witnesses | undefined {
  const { witnessPolicy: policy, store, buckets, log } = options;
  if (policy === undefined) return undefined;
  const counted = createWitnessMetrics(options.metrics);
  return startWitnesses({
    policy,
    store,
    log,
    ...(options.witnessTiming === undefined ? {} : { timing: options.witnessTiming }),
    onCosigned: (_, cosignatures, isWitnessed) => counted(cosignatures, isWitnessed),
    onFork: async ({ workspaceId, size }, witness, { detail }) => {
      log.error({ alarm: true, workspaceId, size, witness, detail }, 'a witness knows another log than ours');
      await raiseAlarm(buckets.alarms, ALARM_KEYS.witnessFork(workspaceId), {
        message: `The witness ${witness} does not find the checkpoint of ${size} events of ${workspaceId} consistent with what it has seen: ${detail}.`,
        next_step:
          'Find out which of the two logs is the true one: was this installation restored from a backup, or its signing key used elsewhere?',
        details: { workspace_id: workspaceId, size, witness },
      });
    },
  });
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
