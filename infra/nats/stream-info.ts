import { type JsMsg, jetstreamManager, type StoredMsg } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { parseTimestamp } from '../../core/time.ts';
import { HEADERS, STREAM_EVENTS } from './names.ts';

/** A message as its stream keeps it. */
export interface StoredMessage {
  sequence: number;
  subject: string;
  payload: Uint8Array;
  /** When JetStream stored it, microseconds since the epoch. */
  storedAtMicros: number;
}

export interface StreamState {
  /** When the stream was made: another time means another stream. */
  created: string;
  /** Of the first message still there; one beyond the last when the stream is empty, 0 while it never had one. */
  firstSequence: number;
  /** Of the newest message ever stored, 0 for none. Never falls, unless the stream was made anew or restored. */
  lastSequence: number;
  messages: number;
  bytes: number;
  maxBytes: number;
  /** Sequences between first and last that are gone. */
  deletedSequences: number[];
  /** Sequences the server found unreadable on its disk. */
  lostSequences: number[];
}

/** The message at `sequence`, or undefined when it is not (or no longer) there. */
export async function readMessage(
  nc: NatsConnection,
  stream: string,
  sequence: number,
): Promise<StoredMessage | undefined> {
  const manager = await jetstreamManager(nc, { checkAPI: false });
  // A direct read may be answered by a replica that lags; only the leader's "no" counts.
  const found =
    (await manager.direct.getMessage(stream, { seq: sequence })) ??
    (await manager.streams.getMessage(stream, { seq: sequence }));
  return found === null ? undefined : stored(found);
}

/** The newest message of a subject by the leader's word, or undefined when it has none. */
export async function lastMessageOfSubject(
  nc: NatsConnection,
  stream: string,
  subject: string,
): Promise<StoredMessage | undefined> {
  const manager = await jetstreamManager(nc, { checkAPI: false });
  const found = await manager.streams.getMessage(stream, { last_by_subj: subject });
  return found === null ? undefined : stored(found);
}

export async function streamState(nc: NatsConnection, stream: string): Promise<StreamState> {
  const manager = await jetstreamManager(nc, { checkAPI: false });
  const { state, config, created } = await manager.streams.info(stream, { deleted_details: true });
  return {
    created,
    firstSequence: state.first_seq,
    lastSequence: state.last_seq,
    messages: state.messages,
    bytes: state.bytes,
    maxBytes: config.max_bytes,
    // A stream that never had a message reports its sequence 0 as deleted; the first message is 1.
    deletedSequences: (state.deleted ?? []).filter((sequence) => sequence > 0),
    lostSequences: state.lost?.msgs ?? [],
  };
}

/** Removes every message of EVENTS below `sequence`; resolves to how many there were. */
export async function purgeBelow(nc: NatsConnection, sequence: number): Promise<number> {
  if (!Number.isSafeInteger(sequence)) throw new RangeError(`${sequence} is no sequence`);
  // The server takes 0 for "no limit" and removes everything.
  if (sequence <= 1) return 0;
  const manager = await jetstreamManager(nc, { checkAPI: false });
  return (await manager.streams.purge(STREAM_EVENTS, { seq: sequence })).purged;
}

/** Whether a message that a consumer delivered is the last of its atomic batch, or belongs to none. */
export function endsBatchOf({ headers }: JsMsg): boolean {
  return headers === undefined || !headers.has(HEADERS.batchId) || headers.has(HEADERS.batchCommit);
}

/** When JetStream stored a message that a consumer delivered, in microseconds. */
export function storedAtMicros(message: JsMsg): number {
  return Number(message.timestampNanos / 1_000n);
}

function stored(message: StoredMsg): StoredMessage {
  return {
    sequence: message.seq,
    subject: message.subject,
    payload: message.data,
    storedAtMicros: microsFromTime(message.timestamp),
  };
}

function microsFromTime(text: string): number {
  const micros = parseTimestamp(text);
  if (micros === null) throw new Error(`NATS gives "${text}" as a time`);
  return micros;
}
