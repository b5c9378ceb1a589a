import { DeliverPolicy, jetstream } from '@nats-io/jetstream';
import type { Position } from '../../control/position.ts';
import { ImmutableError } from '../../core/errors.ts';
import { type ChainedEvent, type Crc32, decodeChained } from '../../core/message.ts';
import type { Micros } from '../../core/time.ts';
import { connectionState, type NatsConnection } from '../../infra/nats/connect.ts';
import { chainedFilter, STREAM_CHAINED } from '../../infra/nats/names.ts';
import { lastMessageOfSubject, readMessage, streamState } from '../../infra/nats/stream-info.ts';
import type { ChainStore } from './store.ts';

/** How far CHAINED goes, by the newest message a partition has in it. */
export type Published =
  /** Everything up to this position was published. */
  | { kind: 'through'; position: Position }
  /** Nothing tells; what was stored since then is to be published, what is older would not be kept. */
  | { kind: 'since'; micros: Micros }
  /** Its last event is not stored: ClickHouse went back in time (restored from a backup). */
  | { kind: 'ahead'; workspaceId: string; seq: number };

const SEVEN_DAYS_MICROS = 7 * 24 * 3600 * 1_000_000;
/** More than passes between storing an event and publishing it, as long as nothing is broken. */
const PUBLISHING_DELAY_MICROS = 600 * 1_000_000;

export async function howFarPublished(
  nc: NatsConnection,
  store: Pick<ChainStore, 'positionOf'>,
  partition: number,
  crc32: Crc32,
  nowMicros: Micros,
): Promise<Published> {
  const newest = await lastMessageOfSubject(nc, STREAM_CHAINED, chainedFilter(partition));
  if (newest === undefined) return { kind: 'since', micros: await keptSince(nc, nowMicros) };
  const last = lastEvent(newest.payload, crc32);
  if (last === undefined) return { kind: 'since', micros: newest.storedAtMicros - PUBLISHING_DELAY_MICROS };
  const position = await store.positionOf(partition, last.workspaceId, last.event.seq);
  if (position === undefined) {
    return { kind: 'ahead', workspaceId: last.workspaceId, seq: last.event.seq };
  }
  return { kind: 'through', position };
}

function lastEvent(
  payload: Uint8Array,
  crc32: Crc32,
): { workspaceId: string; event: ChainedEvent } | undefined {
  try {
    const { workspaceId, events } = decodeChained(payload, crc32);
    const event = events.at(-1);
    return event === undefined ? undefined : { workspaceId, event };
  } catch (error) {
    if (error instanceof ImmutableError && error.code === 'damaged_message') return undefined;
    throw error;
  }
}

/** CHAINED drops what is a week old, and before that the oldest when it is full. */
async function keptSince(nc: NatsConnection, nowMicros: Micros): Promise<Micros> {
  const aWeekAgo = nowMicros - SEVEN_DAYS_MICROS;
  const { firstSequence } = await streamState(nc, STREAM_CHAINED);
  if (firstSequence <= 1) return aWeekAgo;
  const oldest = await readMessage(nc, STREAM_CHAINED, firstSequence);
  return oldest === undefined ? aWeekAgo : Math.max(aWeekAgo, oldest.storedAtMicros);
}

/**
 * The sequence of the last message of each subject of a partition, by workspace. Bodies are not read.
 * Rejects when the connection goes or the signal aborts: the client would read on with a consumer made anew,
 * which no longer tells the last message of each subject, and wait for an end that does not come.
 */
export async function lastSequences(
  nc: NatsConnection,
  partition: number,
  signal: AbortSignal,
): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  const consumer = await jetstream(nc).consumers.get(STREAM_CHAINED, {
    filter_subjects: [chainedFilter(partition)],
    deliver_policy: DeliverPolicy.LastPerSubject,
    headers_only: true,
  });
  const { num_pending: subjects } = await consumer.info(true);
  if (subjects > 0) {
    const messages = await consumer.consume({ max_messages: 1_000 });
    const interruption = interruptedBy(nc, signal, () => messages.stop());
    for await (const message of messages) {
      found.set(message.subject.slice(message.subject.lastIndexOf('.') + 1), message.seq);
      if (message.info.pending === 0) break;
    }
    messages.stop();
    interruption.throwIfAny();
  }
  await consumer.delete().catch(() => false);
  return found;
}

function interruptedBy(nc: NatsConnection, signal: AbortSignal, stop: () => void) {
  let reason: string | undefined;
  const interrupt = (why: string) => {
    reason ??= why;
    stop();
  };
  const onAbort = () => interrupt('stopped');
  const unsubscribe = connectionState(nc).onLost(() => interrupt('the connection to NATS was lost'));
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  if (!connectionState(nc).connected()) interrupt('the connection to NATS was lost');
  return {
    throwIfAny: () => {
      unsubscribe();
      signal.removeEventListener('abort', onAbort);
      if (reason !== undefined) throw new Error(reason);
    },
  };
}
