import { setTimeout as delay } from 'node:timers/promises';
import { readSignedFloor, writeSignedFloor } from '../../control/floors.ts';
import type { Position } from '../../control/position.ts';
import { ImmutableError } from '../../core/errors.ts';
import type { Hasher } from '../../core/hash.ts';
import { type Crc32, decodeChained } from '../../core/message.ts';
import type { Logger } from '../../infra/log.ts';
import { connectionState, type NatsConnection } from '../../infra/nats/connect.ts';
import type { Bucket } from '../../infra/nats/kv.ts';
import { chainedFilter, STREAM_CHAINED } from '../../infra/nats/names.ts';
import { streamState } from '../../infra/nats/stream-info.ts';
import type { StoredEnd } from '../chain/store.ts';
import { openReader, ReadingInterrupted, type ReadStreamMessage, type StreamMessage } from '../reader.ts';
import { asSigned, commit } from './commit.ts';
import type { ChainLink, Harvest } from './growing-tree.ts';
import { type KnownCheckpoints, openKnownCheckpoints } from './known-checkpoints.ts';
import type { TreeMismatch } from './load.ts';
import type { TreeMetrics } from './metrics.ts';
import type { Signer } from './signer.ts';
import type { SignedCheckpoint, TreeStore } from './store.ts';
import { createTrees, type Trees } from './trees.ts';

export interface TreePartitionContext {
  nc: NatsConnection;
  store: TreeStore;
  /** Up to where the events of the partition are stored. */
  storedEnd(): Promise<StoredEnd>;
  partition: number;
  partitionOf(workspaceId: string): number;
  buckets: { checkpoints: Bucket; floors: Bucket };
  signer: Signer;
  /** Whether a note is of this workspace's log, and signed by a key of ours. */
  isOurs(workspaceId: string, note: string): boolean;
  crc32: Crc32;
  hasher: Hasher;
  log: Logger;
  metrics: TreeMetrics;
  timing: TreeTiming;
  /** Everything that was stored at the start is signed. */
  onCaughtUp(): void;
  /** Workspaces that were given up before this start, and what to do when one of them is right again. */
  alarmedWorkspaces(): Promise<string[]>;
  onMended(workspaceId: string): Promise<void>;
  /** A workspace is given up, since what is stored is not what was signed. */
  onMismatch(mismatch: TreeMismatch): Promise<void>;
  onSigned(signed: readonly SignedCheckpoint[]): void;
  /** The newest checkpoints there were at the start. */
  onKnown(signed: readonly SignedCheckpoint[]): void;
}

export interface TreeTiming {
  /** From the first event after a quiet time to its checkpoint, so that what comes with it is in the same one. */
  lingerMs: number;
  /** From one checkpoint to the next while events keep coming. */
  signIntervalMs: number;
  firstRetryMs: number;
  longestRetryMs: number;
}

export const TREE_TIMING: TreeTiming = {
  lingerMs: 250,
  signIntervalMs: 4_000,
  firstRetryMs: 100,
  longestRetryMs: 10_000,
};

/** Beyond this nothing more is taken before what there is was signed: 32 MiB of tiles. */
const MAX_UNHARVESTED = 1_000_000;

/**
 * Grows the trees of one partition until the signal aborts: first by what is stored and not yet signed, then by what
 * CHAINED brings. What it knows comes from the events, the tiles and the newest checkpoints, so whatever goes wrong, it is
 * simply run again: the same events make the same tiles.
 *
 * Throws the signal's reason, `ReadingInterrupted` (run it again), `fenced` (another process signs), or what NATS and
 * ClickHouse throw when they cannot answer.
 */
export async function runTreePartition(context: TreePartitionContext, signal: AbortSignal): Promise<never> {
  const { nc, store, partition } = context;
  const losses = connectionState(nc).losses();
  const stopping = new AbortController();
  const whileRunning = AbortSignal.any([signal, stopping.signal]);
  // What was signed is read before what is stored, or another process's next checkpoint would seem to lack its events.
  const work = await startWork(context, whileRunning);
  // Whatever is published later is read from CHAINED; whatever was before is stored, and so among the heads.
  const { lastSequence, created } = await streamState(nc, STREAM_CHAINED);
  const { highest } = await context.storedEnd();
  const heads = await store.heads(partition);
  // One that has no event any more, and a checkpoint, is among them too.
  const workspaceIds = [...new Set([...heads.keys(), ...work.signedWorkspaces()])];
  await work.compareAll(workspaceIds);
  for (const workspaceId of workspaceIds) {
    await work.trees.catchUp(workspaceId, heads.get(workspaceId) ?? 0);
  }
  for (const workspaceId of await context.alarmedWorkspaces()) {
    if (await work.trees.isRight(workspaceId)) await context.onMended(workspaceId);
  }
  await work.sign(highest);
  context.onCaughtUp();

  const reader = await openReader({
    nc,
    stream: STREAM_CHAINED,
    filter: chainedFilter(partition),
    fromSequence: lastSequence + 1,
    losses,
  });
  // What ends it ends the reading. A promise that lives as long as the stage must not be raced with each run of messages:
  // it would keep them all.
  let failed: { error: unknown } | undefined;
  const signing = signRegularly(work, context.timing, whileRunning).catch((error: unknown) => {
    failed = { error };
    reader.close();
  });
  try {
    // In a stream that was made anew meanwhile the sequence means nothing, and might not come for long.
    if ((await streamState(nc, STREAM_CHAINED)).created !== created) {
      throw new ReadingInterrupted('CHAINED was made anew');
    }
    for (;;) {
      for (const message of await reader.take(Promise.resolve())) await work.take(message);
      while (work.trees.unharvested() > MAX_UNHARVESTED && failed === undefined) {
        await delay(context.timing.lingerMs);
      }
      if (failed !== undefined) throw failed.error;
    }
  } catch (error) {
    throw failed === undefined ? error : failed.error;
  } finally {
    stopping.abort();
    reader.close();
    await signing;
  }
}

interface Work {
  trees: Trees;
  /** Those that had a checkpoint when the work began. */
  signedWorkspaces(): Iterable<string>;
  /** What NATS and ClickHouse know of them (`KnownCheckpoints`). */
  compareAll: KnownCheckpoints['compareAll'];
  take(message: ReadStreamMessage): Promise<void>;
  /** Signs what the trees have; `through`: all of EVENTS up to there is in it, where that is known. */
  sign(through?: StoredEnd['highest']): Promise<void>;
  untilGrown(): Promise<void>;
}

async function startWork(context: TreePartitionContext, signal: AbortSignal): Promise<Work> {
  const { store, buckets, hasher, log, metrics, partition } = context;
  const known = await openKnownCheckpoints({
    bucket: buckets.checkpoints,
    store,
    isWanted: (workspaceId) => context.partitionOf(workspaceId) === partition,
    isOurs: context.isOurs,
    keptRevision: (await readSignedFloor(buckets.floors, partition))?.kept_revision ?? 0,
  });
  context.onKnown([...known.lastSigned].map(([workspaceId, last]) => asSigned(workspaceId, last)));
  let grown = () => {};
  let newest: Newest | undefined;

  const trees = createTrees({
    store,
    lastSigned: known.newestOf,
    hasher,
    onMismatch: context.onMismatch,
    onRepaired: (workspaceId, tiles) =>
      log.warn({ workspaceId, tiles }, 'tiles were missing or wrong, and were made again from the events'),
    onPage: async () => {
      signal.throwIfAborted();
      if (trees.unharvested() > MAX_UNHARVESTED) await sign();
    },
  });

  let signing: Promise<void> = Promise.resolve();
  /** One after another, since each needs to know what the one before has signed. */
  function sign(through?: StoredEnd['highest']): Promise<void> {
    signing = signing.then(() => signGrown(through));
    return signing;
  }

  async function signGrown(through?: StoredEnd['highest']): Promise<void> {
    const covered = newest;
    const harvests = trees.harvest();
    if (harvests.size > 0) {
      const startedMs = performance.now();
      const signed = await commit({ ...context, lastSigned: known.lastSigned }, harvests, signal);
      metrics.signed(signed.length, tilesIn(harvests), (performance.now() - startedMs) / 1000);
      context.onSigned(signed);
    }
    const position = through ?? (covered && (await store.positionOf(covered.workspaceId, covered.link)));
    if (position !== undefined) await tellFloor(context, known, position);
  }

  return {
    trees,
    signedWorkspaces: () => known.lastSigned.keys(),
    compareAll: known.compareAll,
    sign,
    async take(message) {
      const chained = readChained(context, message);
      if (chained === undefined) {
        // What a damaged message holds is in ClickHouse.
        const workspaceId = message.subject.slice(message.subject.lastIndexOf('.') + 1);
        await trees.catchUp(workspaceId, (await store.heads(partition)).get(workspaceId) ?? 0);
      } else {
        const { workspaceId, events } = chained;
        await trees.append(workspaceId, events);
        const link = events.at(-1);
        // Messages of a batch stand by their last event: others behind this one may have events from before it.
        if (link !== undefined && message.endsBatch) newest = { workspaceId, link };
      }
      metrics.lag(newest?.link.createdAt);
      grown();
    },
    async untilGrown() {
      while (trees.unharvested() === 0) {
        signal.throwIfAborted();
        await new Promise<void>((resolve) => {
          grown = () => {
            signal.removeEventListener('abort', grown);
            resolve();
          };
          signal.addEventListener('abort', grown);
        });
      }
    },
  };
}

/** The newest event that was taken: all before it, of whatever workspace, were too. */
interface Newest {
  workspaceId: string;
  link: ChainLink;
}

function readChained({ crc32, log, partition }: TreePartitionContext, { data, sequence }: StreamMessage) {
  try {
    return decodeChained(data, crc32);
  } catch (error) {
    if (!(error instanceof ImmutableError) || error.code !== 'damaged_message') throw error;
    log.error({ alarm: true, err: error, partition, sequence }, 'a message of CHAINED is damaged');
    return undefined;
  }
}

function tilesIn(harvests: ReadonlyMap<string, Harvest>): number {
  return [...harvests.values()].reduce((sum, { tiles }) => sum + tiles.length, 0);
}

/** One that cannot be written now is written with the next checkpoint. */
async function tellFloor(
  { buckets, partition, log }: TreePartitionContext,
  { lastSigned }: KnownCheckpoints,
  { sequence, index, epoch }: Position & { epoch: string },
): Promise<void> {
  const revisions = [...lastSigned.values()].map(({ revision }) => revision);
  try {
    await writeSignedFloor(buckets.floors, partition, {
      epoch,
      sequence,
      index,
      kept_revision: revisions.reduce((highest, revision) => Math.max(highest, revision), 0),
    });
  } catch (error) {
    log.debug({ err: error, partition }, 'a floor was not written');
  }
}

/** Soon after a quiet time; while events keep coming, once an interval. */
async function signRegularly(work: Work, timing: TreeTiming, signal: AbortSignal): Promise<never> {
  let signedAtMs = Number.NEGATIVE_INFINITY;
  for (;;) {
    await work.untilGrown();
    const waitMs = Math.max(timing.lingerMs, signedAtMs + timing.signIntervalMs - performance.now());
    await delay(waitMs, undefined, { signal });
    signedAtMs = performance.now();
    await work.sign();
  }
}
