import { setTimeout as delay } from 'node:timers/promises';
import { comparePositions, type Position, positionText } from '../../control/position.ts';
import { ImmutableError } from '../../core/errors.ts';
import { encodeQueuedLine } from '../../core/message.ts';
import type { Logger } from '../../infra/log.ts';
import { connectionState, type NatsConnection } from '../../infra/nats/connect.ts';
import { eventsFilter, STREAM_EVENTS } from '../../infra/nats/names.ts';
import { openReader, type Reader, ReadingInterrupted } from '../reader.ts';
import { agree, type Start } from './agree.ts';
import { type DecodeContext, decodeMessage, type ReadMessage } from './decode.ts';
import { type Extension, extend } from './extend.ts';
import { createMemory, lookUpMissing } from './memory.ts';
import type { PartitionMetrics } from './metrics.ts';
import { planBatches } from './plan.ts';
import { howFarPublished } from './published.ts';
import { type Publisher, startPublisher } from './publisher.ts';
import type { ChainRow, QuarantineEntry, Source } from './row.ts';
import type { ChainStore } from './store.ts';
import {
  type Batch,
  BatchRefused,
  createWriter,
  lastPosition,
  type Writer,
  type WriterTiming,
} from './writer.ts';

export interface PartitionContext {
  nc: NatsConnection;
  store: ChainStore;
  partition: number;
  decode: Omit<DecodeContext, 'source'>;
  log: Logger;
  metrics: PartitionMetrics;
  timing: ChainTiming;
  /** Why ClickHouse refused the events at these positions; kept from one start of the partition to the next. */
  refusals: Map<string, string>;
  /** What the purge was told to be stored, some time ago; `undefined` if it was told nothing. */
  purgeableThrough(source: Source): Promise<Position | undefined>;
  /** Stream and store were found to belong together. */
  onAgreed(start: Start): Promise<void>;
  /** Something went to the quarantine. */
  onQuarantined(source: Source, entry: QuarantineEntry, message: ReadMessage | undefined): Promise<void>;
  /** Every message up to this sequence is stored, or left out as a duplicate of what is. */
  onHandled(source: Source, sequence: number, stored: Position): void;
}

export interface ChainTiming {
  /** From one insert to the next while less than a full run has come: ClickHouse likes few, large inserts. */
  insertIntervalMs: number;
  /** Between attempts to store a single row before it is taken for one that can never be stored. */
  refusalRetryMs: number;
  writer: Partial<WriterTiming>;
}

export const CHAIN_TIMING: ChainTiming = { insertIntervalMs: 100, refusalRetryMs: 500, writer: {} };

/**
 * Chains one partition until the signal aborts: reads what EVENTS has beyond what is stored, extends the
 * chains, stores, and hands on to the publisher. While one run is being stored the next is collected, and
 * computed when it is full.
 * Everything it knows comes from stream and store, so whatever goes wrong, it is simply run again.
 *
 * Throws the signal's reason, `ReadingInterrupted` and `EventRefused` (run it again), `fenced` (another process
 * has the partition), `stream_mismatch` (stop), or what NATS and ClickHouse throw when they cannot answer.
 */
export async function runPartition(context: PartitionContext, signal: AbortSignal): Promise<never> {
  const losses = connectionState(context.nc).losses();
  const start = await agreeOnStart(context);
  forgetRefusalsBefore(context.refusals, start.after);
  await context.onAgreed(start);
  const stopping = new AbortController();
  const whileRunning = AbortSignal.any([signal, stopping.signal]);
  const reader = await openReader({
    nc: context.nc,
    stream: STREAM_EVENTS,
    filter: eventsFilter(context.partition),
    fromSequence: Math.max(1, start.after.sequence),
    losses,
  });
  const publisher = openPublisher(context, start);
  try {
    return await chainAndStore(context, start, reader, publisher, whileRunning);
  } finally {
    stopping.abort(new ReadingInterrupted('stopped'));
    reader.close();
    await publisher.stop();
  }
}

function agreeOnStart(context: PartitionContext): Promise<Start> {
  const { nc, store, partition, decode } = context;
  return agree({
    nc,
    store,
    partition,
    decode,
    purgeableThrough: context.purgeableThrough,
    howFarPublished: () => howFarPublished(nc, store, partition, decode.crc32, Date.now() * 1000),
  });
}

function forgetRefusalsBefore(refusals: Map<string, string>, stored: Position): void {
  for (const text of refusals.keys()) {
    const [sequence = 0, index = 0] = text.split('.').map(Number);
    if (comparePositions({ sequence, index }, stored) <= 0) refusals.delete(text);
  }
}

function openPublisher(context: PartitionContext, start: Start): Publisher {
  const { nc, store, partition, metrics, log } = context;
  return startPublisher({
    nc,
    store,
    partition,
    crc32: context.decode.crc32,
    storedThrough: start.after,
    onPublished: (rows) => metrics.published(rows),
    onRetry: (reason) => log.warn({ partition, reason }, 'publishing to CHAINED is tried again'),
  });
}

/** A run of messages, chained: what its storing needs to know. */
interface Run {
  messages: ReadMessage[];
  extension: Extension;
}

async function chainAndStore(
  context: PartitionContext,
  start: Start,
  reader: Reader,
  publisher: Publisher,
  signal: AbortSignal,
): Promise<never> {
  const { source } = start;
  const memory = createMemory();
  const writer = openWriter(context, source, signal);
  const failed = new AbortController();
  const anyEnd = AbortSignal.any([signal, failed.signal]);
  let stored = start.after;
  let storing: Promise<void> = Promise.resolve();
  let storingSinceMs = Number.NEGATIVE_INFINITY;

  /** The last run is stored, and long enough ago; a failure is for the loop to see. */
  async function readyToStore(): Promise<void> {
    await storing.catch(() => {});
    await delay(Math.max(0, storingSinceMs + context.timing.insertIntervalMs - performance.now()));
  }

  async function chain(messages: ReadMessage[]): Promise<Run> {
    await lookUpMissing(memory, context.store, context.partition, messages, stored);
    const extension = extend(
      {
        source,
        after: start.after,
        messages,
        headOf: memory.headOf,
        isKnown: memory.isKnown,
        refusals: context.refusals,
      },
      context.decode.hasher,
    );
    memory.learn(extension);
    memory.forgetOldest();
    return { messages, extension };
  }

  async function store({ messages, extension }: Run): Promise<void> {
    const startedMs = performance.now();
    for (const rows of planBatches(extension.rows)) {
      const [first, ...rest] = rows;
      if (first === undefined) continue;
      await storeBatch(context, source, writer, { after: stored, rows: [first, ...rest] }, (batch) => {
        publisher.offer(batch);
        stored = lastPosition(batch);
      });
    }
    const seconds = (performance.now() - startedMs) / 1000;
    report(context, reader, publisher, extension, seconds);
    const last = messages[messages.length - 1];
    if (last !== undefined) context.onHandled(source, last.sequence, stored);
  }

  try {
    for (;;) {
      const taken = await orAborted(reader.take(readyToStore()), anyEnd);
      const messages = taken.map((message) => decodeMessage(message, { ...context.decode, source }));
      await quarantineDamaged(context, source, messages);
      const run = await chain(messages);
      await storing;
      signal.throwIfAborted();
      storingSinceMs = performance.now();
      storing = store(run);
      storing.catch((error) => failed.abort(error));
    }
  } finally {
    // An insert under way would be taken for another process's by the next start.
    await storing.catch(() => {});
  }
}

function openWriter(context: PartitionContext, source: Source, signal: AbortSignal): Writer {
  const { store, log, metrics } = context;
  const { partition } = source;
  return createWriter({
    source,
    store,
    signal,
    timing: context.timing.writer,
    onRetry: (reason, attempt) => log.warn({ partition, reason, attempt }, 'storing is tried again'),
    onDroppedToken: (token) => {
      metrics.droppedToken();
      log.warn(
        { partition, token },
        'ClickHouse has the token of an insert but not its rows; repeating it under another',
      );
    },
  });
}

/** The bytes are kept before the event that stands for them is stored: a crash in between repeats both. */
async function quarantineDamaged(
  context: PartitionContext,
  source: Source,
  messages: readonly ReadMessage[],
): Promise<void> {
  for (const message of messages) {
    if (message.damage === undefined) continue;
    await context.store.quarantine(source, message.damage);
    context.metrics.quarantined();
    await context.onQuarantined(source, message.damage, message);
  }
}

/** An event was put into quarantine, and another takes its place when the partition is run again. */
export class EventRefused extends Error {
  constructor(position: Position, reason: string) {
    super(`ClickHouse refuses the event at ${positionText(position)}: ${reason}`);
    this.name = 'EventRefused';
  }
}

/**
 * Stores a batch, or, when ClickHouse refuses it for its data, its halves, down to the one row that is
 * refused; everything before that row is stored then. `onStored` hears of every part.
 */
async function storeBatch(
  context: PartitionContext,
  source: Source,
  writer: Writer,
  batch: Batch,
  onStored: (batch: Batch) => void,
): Promise<void> {
  try {
    await writer.store(batch);
    onStored(batch);
  } catch (error) {
    if (!(error instanceof BatchRefused)) throw error;
    const halves = halvesOf(batch);
    if (halves === undefined) return await storeRefusedRow(context, source, writer, batch, onStored);
    for (const half of halves) await storeBatch(context, source, writer, half, onStored);
  }
}

function halvesOf(batch: Batch): [Batch, Batch] | undefined {
  const middle = Math.ceil(batch.rows.length / 2);
  const [first] = batch.rows;
  const [second, ...rest] = batch.rows.slice(middle);
  if (second === undefined) return undefined;
  const head: Batch = { after: batch.after, rows: [first, ...batch.rows.slice(1, middle)] };
  return [head, { after: lastPosition(head), rows: [second, ...rest] }];
}

const ATTEMPTS_WITH_ONE_ROW = 3;

/** What is in a row never changes, the state of a server does: only a lasting refusal is due to the row. */
async function storeRefusedRow(
  context: PartitionContext,
  source: Source,
  writer: Writer,
  batch: Batch,
  onStored: (batch: Batch) => void,
): Promise<void> {
  for (let attempt = 2; ; attempt++) {
    await delay(context.timing.refusalRetryMs);
    try {
      await writer.store(batch);
      return onStored(batch);
    } catch (error) {
      if (!(error instanceof BatchRefused)) throw error;
      if (attempt >= ATTEMPTS_WITH_ONE_ROW)
        return await refuse(context, source, batch.rows[0], error.message);
    }
  }
}

async function refuse(
  context: PartitionContext,
  source: Source,
  row: ChainRow,
  reason: string,
): Promise<never> {
  const text = positionText(row.position);
  if (context.refusals.delete(text)) {
    // Even the event that says so is refused, so it cannot be the data: start over with the event itself.
    throw new ImmutableError('unavailable', `ClickHouse stores nothing at ${text}: ${reason}`);
  }
  const line = encodeQueuedLine({
    id: row.id,
    keyed: false,
    salt: row.salt,
    body: row.body,
    private: row.private,
  });
  const entry: QuarantineEntry = {
    position: row.position,
    subject: '',
    workspaceId: row.workspaceId,
    reason,
    bytes: Buffer.from(line),
  };
  await context.store.quarantine(source, entry);
  context.metrics.quarantined();
  await context.onQuarantined(source, entry, undefined);
  context.refusals.set(text, reason);
  throw new EventRefused(row.position, reason);
}

function report(
  context: PartitionContext,
  reader: Reader,
  publisher: Publisher,
  extension: Extension,
  seconds: number,
): void {
  const { metrics } = context;
  metrics.stored(extension.rows.length, extension.duplicates, seconds);
  const newest = extension.rows[extension.rows.length - 1];
  if (newest !== undefined) {
    metrics.lag(reader.pending(), Math.max(0, Date.now() / 1000 - newest.createdAtMicros / 1_000_000));
  }
  metrics.waitingToBePublished(publisher.waitingRows());
}

/** Rejects with the signal's reason as soon as it aborts; the promise is left to itself then. */
async function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  promise.catch(() => {});
  signal.throwIfAborted();
  let onAbort = () => {};
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
