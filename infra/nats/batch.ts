import { errors, headers, type Msg, type MsgHdrs, type NatsConnection, nuid } from '@nats-io/transport-node';
import { connectedWithin } from './connect.ts';
import { HEADERS } from './names.ts';

/** A short interruption is waited out; it also keeps a caller who repeats at once from spinning. */
const RECONNECT_GRACE_MS = 250;
/** The server takes no larger batch. */
export const MAX_BATCH_MESSAGES = 1_000;

export interface BatchMessage {
  subject: string;
  payload: Uint8Array;
  /** Unique within the stream's deduplication window; the same again when the same batch is repeated. */
  messageId: string;
  /**
   * Refuse the whole batch unless the subject's last message has this sequence (0 = it has none). Of several
   * messages of one subject in a batch, only the first may expect something.
   */
  expectLastSubjectSequence?: number;
}

export type BatchOutcome =
  /** All of it is on disk (on a quorum when clustered), at these consecutive sequences. */
  | { kind: 'stored'; firstSequence: number; lastSequence: number }
  /** This very batch was stored before: its answer had been lost. */
  | { kind: 'already_stored' }
  /** Nothing was stored; the same batch may be repeated after a moment. */
  | { kind: 'busy'; code: number; reason: string }
  /** Nothing was stored; the stream is at its limit, or its disk is. */
  | { kind: 'full'; code: number; reason: string }
  /** No answer: stored or not. Repeat exactly the same batch to find out. */
  | { kind: 'unknown'; reason: string }
  /** Nothing was stored, and repeating will not help. */
  | { kind: 'refused'; code: number; reason: string };

/**
 * Stores 1 to 1,000 messages: all of them or none, consecutive in the stream. Everything but the last
 * message is sent without waiting; the answer to the last, which commits, is the answer to all. A batch
 * costs the server four fsyncs, whatever its length; a single message without an expectation goes by
 * itself, for one. What is repeated after `unknown` must be the same messages with the same ids, or
 * `already_stored` would not mean what it says.
 */
export async function publishBatch(
  nc: NatsConnection,
  messages: readonly BatchMessage[],
  timeoutMs: number,
): Promise<BatchOutcome> {
  requireUsable(messages, nc.info?.max_payload ?? Number.POSITIVE_INFINITY);
  if (!(await connectedWithin(nc, Math.min(timeoutMs, RECONNECT_GRACE_MS)))) {
    return { kind: 'unknown', reason: 'not connected' };
  }
  const last = messages.at(-1);
  if (last === undefined) throw new RangeError('a batch has at least one message');
  try {
    const lastHeaders = mayGoAlone(messages) ? messageHeaders(last) : sendAllButLast(nc, messages, last);
    const reply = await nc.request(last.subject, last.payload, { headers: lastHeaders, timeout: timeoutMs });
    return outcomeOf(reply, messages.length);
  } catch (error) {
    return withoutAnswer(error);
  }
}

/** More than the headers of a batch message ever take. */
const HEADER_ROOM_BYTES = 1_024;

function requireUsable(messages: readonly BatchMessage[], maxPayloadBytes: number): void {
  if (messages.length === 0 || messages.length > MAX_BATCH_MESSAGES) {
    throw new RangeError(`a batch has 1 to ${MAX_BATCH_MESSAGES} messages, not ${messages.length}`);
  }
  // The server would answer "already stored" to a batch that repeats an id within itself.
  if (new Set(messages.map((message) => message.messageId)).size !== messages.length) {
    throw new RangeError('the message ids of a batch differ from each other');
  }
  const longest = Math.max(...messages.map((message) => message.payload.length));
  if (longest + HEADER_ROOM_BYTES > maxPayloadBytes) {
    throw new RangeError(`a message of ${longest} bytes is more than the server takes`);
  }
}

/** By itself, a repeated message would fail its own expectation before it is recognised; in a batch it does not. */
function mayGoAlone(messages: readonly BatchMessage[]): boolean {
  return messages.length === 1 && messages[0]?.expectLastSubjectSequence === undefined;
}

/** Returns the headers with which the last message commits. */
function sendAllButLast(nc: NatsConnection, messages: readonly BatchMessage[], last: BatchMessage): MsgHdrs {
  const batchId = nuid.next();
  for (const [index, message] of messages.slice(0, -1).entries()) {
    nc.publish(message.subject, message.payload, { headers: batchHeaders(batchId, index + 1, message) });
  }
  const commit = batchHeaders(batchId, messages.length, last);
  commit.set(HEADERS.batchCommit, '1');
  return commit;
}

function batchHeaders(batchId: string, sequence: number, message: BatchMessage): MsgHdrs {
  const result = messageHeaders(message);
  result.set(HEADERS.batchId, batchId);
  result.set(HEADERS.batchSequence, String(sequence));
  return result;
}

function messageHeaders(message: BatchMessage): MsgHdrs {
  const result = headers();
  result.set(HEADERS.messageId, message.messageId);
  if (message.expectLastSubjectSequence !== undefined) {
    result.set(HEADERS.expectedLastSubjectSequence, String(message.expectLastSubjectSequence));
  }
  return result;
}

/** Error codes of the JetStream API, by what they mean for the caller. */
const ALREADY_STORED = 10_201;
const BUSY = new Set([
  10_210, // 50 batches are open on the stream, or 1,000 on the server
  10_211, // the same of the server's other kind of batch
  10_176, // the server abandoned this batch before its commit arrived: its start fell to the limit above, or a connection broke in between
  10_158, // the same message is being stored right now
  10_167, // the stream takes no more for the moment (its queue is full)
  10_008, // the cluster has no leader at the moment
]);
const FULL = new Set([
  10_077, // the stream's own limit
  10_047, // the account's or the server's storage limit
  10_023, // insufficient resources
]);

function withoutAnswer(error: unknown): BatchOutcome {
  if (error instanceof errors.RequestError && error.isNoResponders()) {
    return {
      kind: 'busy',
      code: NO_RESPONDERS,
      reason: 'no JetStream server takes this subject at the moment',
    };
  }
  return { kind: 'unknown', reason: error instanceof Error ? error.message : String(error) };
}

/** As HTTP's; no server had the message. */
const NO_RESPONDERS = 503;

interface Answer {
  error?: { err_code?: number; description?: string };
  seq?: number;
  /** Messages stored by a batch; absent for a message by itself. */
  count?: number;
  /** Says of a message by itself what 10201 says of a batch. */
  duplicate?: boolean;
}

function outcomeOf(reply: Msg, messages: number): BatchOutcome {
  const { error, seq, count = 1, duplicate } = reply.json<Answer>();
  if (error !== undefined) return refusal(error.err_code ?? 0, error.description ?? '');
  if (duplicate === true) return { kind: 'already_stored' };
  if (seq === undefined || count !== messages) {
    return { kind: 'refused', code: 0, reason: 'the server does not know batches' };
  }
  return { kind: 'stored', firstSequence: seq - count + 1, lastSequence: seq };
}

function refusal(code: number, reason: string): BatchOutcome {
  if (code === ALREADY_STORED) return { kind: 'already_stored' };
  if (BUSY.has(code)) return { kind: 'busy', code, reason };
  if (FULL.has(code)) return { kind: 'full', code, reason };
  return { kind: 'refused', code, reason };
}
