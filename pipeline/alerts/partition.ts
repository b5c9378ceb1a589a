import {
  moveAlertPosition,
  readAlertPosition,
  type StoredAlertPosition,
} from '../../control/alert-positions.ts';
import type { AlertRuleDirectory } from '../../control/alert-rules.ts';
import { BEFORE_ALL, comparePositions, type Position } from '../../control/position.ts';
import { ImmutableError } from '../../core/errors.ts';
import type { Hasher } from '../../core/hash.ts';
import { type ChainedMessage, type Crc32, decodeChained } from '../../core/message.ts';
import { parseTimestamp } from '../../core/time.ts';
import type { Logger } from '../../infra/log.ts';
import { connectionState, type NatsConnection } from '../../infra/nats/connect.ts';
import type { Bucket } from '../../infra/nats/kv.ts';
import { chainedFilter, STREAM_CHAINED } from '../../infra/nats/names.ts';
import { streamState } from '../../infra/nats/stream-info.ts';
import { streamEpoch } from '../../infra/nats/streams.ts';
import type { ChainStore } from '../chain/store.ts';
import { openReader, type Reader, ReadingInterrupted, type ReadStreamMessage } from '../reader.ts';
import type { AlertMetrics } from './metrics.ts';
import type { AlertStore } from './store.ts';
import { createWatcher, type Deliver, type Watcher } from './watcher.ts';

export interface AlertPartitionContext {
  nc: NatsConnection;
  store: AlertStore;
  events: Pick<ChainStore, 'highestPosition' | 'heads' | 'positionOf'>;
  rules: AlertRuleDirectory;
  deliver: Deliver;
  partition: number;
  positions: Bucket;
  crc32: Crc32;
  hasher: Hasher;
  log: Logger;
  metrics: AlertMetrics;
  timing: AlertTiming;
  /** Everything that was stored at the start was looked at. */
  onCaughtUp(): Promise<void>;
}

export interface AlertTiming {
  /** Between two moves of the position while nothing is raised. */
  positionIntervalMs: number;
  /** Between two looks at what waits for its time, when nothing comes. */
  tickMs: number;
  /** Before a workspace that failed is tried again. */
  retryBehindMs: number;
}

export const ALERT_TIMING: AlertTiming = { positionIntervalMs: 1_000, tickMs: 250, retryBehindMs: 10_000 };

/**
 * Looks at the events of one partition with the rules of their workspaces, until the signal aborts: first at what is
 * stored behind the position, then at what CHAINED brings. The position is one of EVENTS, since that is what rows carry:
 * all that is needed after a restart comes from ClickHouse, whatever CHAINED still holds. It moves once the alerts up to
 * there are stored and handed on; a crash before that repeats them under the same ids.
 *
 * Throws the signal's reason, `ReadingInterrupted` (run it again), `fenced` (another process moves the position),
 * `stream_mismatch`, or what NATS and ClickHouse throw when they cannot answer.
 */
export async function runAlertPartition(context: AlertPartitionContext, signal: AbortSignal): Promise<never> {
  const { nc, partition } = context;
  const losses = connectionState(nc).losses();
  const epoch = await streamEpoch(nc);
  const last = await readAlertPosition(context.positions, partition);
  requireSameStream(partition, last, epoch);
  // Whatever is published later is read from CHAINED; whatever was before is stored.
  const { lastSequence, created } = await streamState(nc, STREAM_CHAINED);
  const { highest } = await context.events.highestPosition(partition);
  const watcher = createWatcher({ ...context, from: highest });
  const place = createPlace(context, watcher, epoch, last);
  // Where nobody has looked before, rules begin with what comes.
  if (last !== undefined && highest !== undefined) {
    await catchUp(context, watcher, last.position, highest, signal);
  }
  await place.move(highest ?? BEFORE_ALL);
  await context.onCaughtUp();

  const reader = await openReader({
    nc,
    stream: STREAM_CHAINED,
    filter: chainedFilter(partition),
    fromSequence: lastSequence + 1,
    losses,
  });
  try {
    // In a stream that was made anew meanwhile the sequence means nothing, and might not come for long.
    if ((await streamState(nc, STREAM_CHAINED)).created !== created) {
      throw new ReadingInterrupted('CHAINED was made anew');
    }
    await follow(context, watcher, place, reader, signal);
    throw signal.reason;
  } finally {
    reader.close();
  }
}

function requireSameStream(partition: number, last: StoredAlertPosition | undefined, epoch: string): void {
  if (last === undefined || last.position.epoch === epoch) return;
  throw new ImmutableError(
    'stream_mismatch',
    `The alert rules of partition ${partition} have looked at another stream EVENTS than the present one.`,
    {
      nextStep:
        'Bring back the NATS data that belongs to the database, or delete the record in the bucket alert_positions: alerts then begin anew.',
      details: { epoch, position: last.position },
    },
  );
}

async function catchUp(
  { store, partition }: AlertPartitionContext,
  watcher: Watcher,
  last: StoredAlertPosition['position'],
  highest: Position,
  signal: AbortSignal,
): Promise<void> {
  for (const [workspaceId, seq] of Object.entries(last.behind)) {
    signal.throwIfAborted();
    if (watcher.has(workspaceId)) await watcher.catchUp(workspaceId, { afterSeq: seq });
  }
  const grown = await store.grownWorkspaces(partition, last, highest);
  for (const [workspaceId, { firstSeq, lastSeq }] of grown) {
    signal.throwIfAborted();
    const isKnown = Object.hasOwn(last.behind, workspaceId) || !watcher.has(workspaceId);
    if (!isKnown) await watcher.catchUp(workspaceId, { afterSeq: firstSeq - 1, throughSeq: lastSeq });
  }
}

/** Takes what comes, until the signal aborts. */
async function follow(
  { timing, partition, events, metrics }: AlertPartitionContext,
  watcher: Watcher,
  place: Place,
  reader: Pick<Reader, 'takeWithin'>,
  signal: AbortSignal,
): Promise<void> {
  let newest: Newest | undefined;
  let movedAtMs = performance.now();
  while (!signal.aborted) {
    for (const message of await reader.takeWithin(timing.tickMs)) {
      newest = (await takeOne(message)) ?? newest;
    }
    if (signal.aborted) return;
    await watcher.retryBehind(Date.now());
    const stored = await watcher.settle();
    if (stored > 0 || performance.now() - movedAtMs >= timing.positionIntervalMs) {
      watcher.tidy(Date.now());
      await place.move(newest && (await events.positionOf(partition, newest.workspaceId, newest.seq)));
      newest = undefined;
      movedAtMs = performance.now();
    }
  }

  /** Returns the newest event before which all, of whatever workspace, were taken. */
  async function takeOne(message: ReadStreamMessage): Promise<Newest | undefined> {
    const workspaceId = message.subject.slice(message.subject.lastIndexOf('.') + 1);
    const hasRules = watcher.has(workspaceId);
    if (!hasRules && !message.endsBatch) return undefined;
    const chained = place.read(message);
    if (chained === undefined) {
      // What a damaged message holds is in ClickHouse.
      if (hasRules) await watcher.catchUp(workspaceId, {});
      return undefined;
    }
    if (hasRules) await watcher.take(workspaceId, chained.events);
    const last = chained.events.at(-1);
    if (last === undefined) return undefined;
    metrics.lag(parseTimestamp(last.createdAt) ?? Date.now() * 1000);
    // Messages of a batch stand by their last event: others behind this one may have events from before it.
    return message.endsBatch ? { workspaceId, seq: last.seq } : undefined;
  }
}

interface Newest {
  workspaceId: string;
  seq: number;
}

interface Place {
  /** Stores what was raised, and then that everything up to `reached` was looked at: undefined for no further than before. */
  move(reached: Position | undefined): Promise<void>;
  /** Undefined for a message that is damaged. */
  read(message: ReadStreamMessage): ChainedMessage | undefined;
}

function createPlace(
  { positions, partition, crc32, log }: AlertPartitionContext,
  watcher: Watcher,
  epoch: string,
  last: StoredAlertPosition | undefined,
): Place {
  let stored = last;

  return {
    async move(reached) {
      await watcher.settle();
      const before = stored?.position;
      const isFurther = reached !== undefined && (!before || comparePositions(reached, before) > 0);
      const { sequence, index } = isFurther ? reached : (before ?? BEFORE_ALL);
      const behind = watcher.behind();
      const isSame = before !== undefined && !isFurther && isDeepEqual(behind, before.behind);
      if (!isSame) {
        stored = await moveAlertPosition(positions, partition, { epoch, sequence, index, behind }, stored);
      }
    },
    read({ data, sequence }) {
      try {
        return decodeChained(data, crc32);
      } catch (error) {
        if (!(error instanceof ImmutableError) || error.code !== 'damaged_message') throw error;
        log.error({ alarm: true, err: error, partition, sequence }, 'a message of CHAINED is damaged');
        return undefined;
      }
    },
  };
}

function isDeepEqual(a: Record<string, number>, b: Record<string, number>): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}
