import { BEFORE_ALL, comparePositions, type Position, positionText } from '../../control/position.ts';
import { ImmutableError } from '../../core/errors.ts';
import type { NatsConnection } from '../../infra/nats/connect.ts';
import { STREAM_EVENTS } from '../../infra/nats/names.ts';
import { readMessage, type StreamState, streamState } from '../../infra/nats/stream-info.ts';
import { streamEpoch } from '../../infra/nats/streams.ts';
import type { StreamMessage } from '../reader.ts';
import { type DecodeContext, decodeMessage } from './decode.ts';
import { refusedEvent } from './own-events.ts';
import type { Published } from './published.ts';
import type { Source } from './row.ts';
import type { ChainStore, StoredRow } from './store.ts';

/** Where work goes on, once stream and store were found to belong together. */
export interface Start {
  source: Source;
  /** Everything up to here is stored. */
  after: Position;
}

export interface AgreeOptions {
  nc: NatsConnection;
  store: Pick<ChainStore, 'highestPosition' | 'epochs' | 'rowAt'>;
  partition: number;
  decode: Omit<DecodeContext, 'source'>;
  howFarPublished(): Promise<Published>;
  /** What the purge was told to be stored, some time ago; `undefined` if it was told nothing. */
  purgeableThrough(source: Source): Promise<Position | undefined>;
}

/**
 * Compares EVENTS with what is stored of it. A stream that was made anew or restored from a backup counts
 * from a lower sequence again, and what comes would be skipped in silence, as if it were stored already.
 * Throws `stream_mismatch` then; nothing here tries to repair it.
 */
export async function agree(options: AgreeOptions): Promise<Start> {
  const { nc, store, partition } = options;
  const epoch = await streamEpoch(nc);
  const state = await streamState(nc, STREAM_EVENTS);
  const { highest } = await store.highestPosition(partition);
  const source = { partition, epoch };
  const after = highest ?? BEFORE_ALL;
  await refuseOtherEpoch(store, source, after);
  if (highest !== undefined) {
    refuseLowerSequence(source, state, highest);
    await refuseOtherMessage(options, source, state, highest);
  }
  await refuseMissingRows(options, source, state, after);
  return { source, after: { sequence: after.sequence, index: after.index } };
}

/** Of any partition: a new installation may have another number of them, and its own may be without a row. */
async function refuseOtherEpoch(
  store: Pick<ChainStore, 'epochs'>,
  source: Source,
  after: Position,
): Promise<void> {
  const storedEpochs = (await store.epochs()).filter((epoch) => epoch !== source.epoch);
  if (storedEpochs.length === 0) return;
  throw mismatch(source, after, 'the stream is another one than the stored events came from', {
    storedEpochs,
  });
}

function refuseLowerSequence(source: Source, state: StreamState, highest: Position): void {
  if (state.lastSequence >= highest.sequence) return;
  throw mismatch(source, highest, 'the stream ends before the newest stored event', {
    lastSequence: state.lastSequence,
  });
}

/** The message may be purged by now; while it is there, the stored event must be what it says. */
async function refuseOtherMessage(
  options: AgreeOptions,
  source: Source,
  state: StreamState,
  highest: Position,
): Promise<void> {
  if (highest.sequence < state.firstSequence) return;
  const found = await readMessage(options.nc, STREAM_EVENTS, highest.sequence);
  if (found === undefined) return;
  const stored = await options.store.rowAt(source.partition, highest);
  const { sequence, subject, storedAtMicros, payload: data } = found;
  if (
    stored !== undefined &&
    isSame(options, source, highest, stored, { sequence, subject, storedAtMicros, data })
  ) {
    return;
  }
  throw mismatch(source, highest, 'the newest stored event is not what the stream has at its place', {});
}

/** Private texts may be erased by now, bodies never are. */
function isSame(
  options: AgreeOptions,
  source: Source,
  position: Position,
  stored: StoredRow,
  found: StreamMessage,
): boolean {
  const context: DecodeContext = { ...options.decode, source };
  const message = decodeMessage(found, context);
  const queued = message.events[position.index];
  if (queued === undefined || message.workspaceId !== stored.workspaceId) return false;
  if (queued.body === stored.body) return true;
  // ClickHouse may have refused the event: then the one that tells of it stands in its place.
  const substitute = refusedEvent({ source, position, message, refused: queued, reason: '' }, context.hasher);
  return stored.body.includes(`"id":"${substitute.id}"`);
}

/**
 * Events are missing that were stored once, and the messages they came from may be purged: ClickHouse was
 * restored from an older backup. To go on would give their `seq` to other events. CHAINED knows the newest of
 * them for a week, the purge's floor for as long as there is one.
 */
async function refuseMissingRows(
  options: AgreeOptions,
  source: Source,
  state: StreamState,
  after: Position,
): Promise<void> {
  if (state.firstSequence <= after.sequence + 1) return;
  const purgeable = await options.purgeableThrough(source);
  if (purgeable !== undefined && comparePositions(purgeable, after) > 0) {
    throw mismatch(source, after, 'stored events are missing from ClickHouse, and purged from the stream', {
      storedOnce: positionText(purgeable),
    });
  }
  const published = await options.howFarPublished();
  if (published.kind !== 'ahead') return;
  throw mismatch(source, after, 'published events are missing from ClickHouse, and purged from the stream', {
    workspaceId: published.workspaceId,
    seq: published.seq,
  });
}

function mismatch(
  source: Source,
  highest: Position,
  why: string,
  details: Record<string, unknown>,
): ImmutableError {
  return new ImmutableError('stream_mismatch', `Partition ${source.partition} is stopped: ${why}.`, {
    nextStep:
      'Bring NATS and ClickHouse back to states that belong together (restore the newer backup of the one that went back).',
    details: { ...details, epoch: source.epoch, highestStored: positionText(highest) },
  });
}
