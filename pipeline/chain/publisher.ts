import { setTimeout as delay } from 'node:timers/promises';
import { comparePositions, type Position } from '../../control/position.ts';
import type { Crc32 } from '../../core/message.ts';
import type { Micros } from '../../core/time.ts';
import { type BatchMessage, type BatchOutcome, publishBatch } from '../../infra/nats/batch.ts';
import type { NatsConnection } from '../../infra/nats/connect.ts';
import { chainedSubject } from '../../infra/nats/names.ts';
import { type ChainedBatch, chainedMessageId, chainedPayload, planChained } from './chained.ts';
import { howFarPublished, lastSequences } from './published.ts';
import type { ChainRow } from './row.ts';
import type { ChainStore } from './store.ts';

/** Rows that were stored right behind a position. */
export interface StoredRun {
  after: Position;
  rows: readonly ChainRow[];
}

export interface Publisher {
  /** Tells of rows that are stored now. Returns at once: storing never waits for publishing. */
  offer(run: StoredRun): void;
  /** Stored rows that are not published yet, as far as they wait in memory. */
  waitingRows(): number;
  /** Resolves once everything offered so far is published. */
  idle(): Promise<void>;
  stop(): Promise<void>;
}

export interface PublisherOptions {
  nc: NatsConnection;
  store: Pick<ChainStore, 'positionOf' | 'firstPositionSince' | 'rowsAfter'>;
  partition: number;
  crc32: Crc32;
  /** The end of what was stored at the start. */
  storedThrough: Position;
  nowMicros?: () => Micros;
  /** How much may wait in memory; what is beyond is read back from the store. */
  waitingBytes?: number;
  publishTimeoutMs?: number;
  longestRetryMs?: number;
  onPublished?: (rows: number) => void;
  onRetry?: (reason: string) => void;
}

const WAITING_BYTES = 48 * 1024 * 1024;
const PUBLISH_TIMEOUT_MS = 10_000;
const LONGEST_RETRY_MS = 5_000;
const FIRST_RETRY_MS = 100;

/**
 * Publishes what is stored to CHAINED, in the order of the stream, each event once in effect: a batch is
 * atomic and names the last sequence of every subject it writes to, so it is refused when anybody else has
 * published meanwhile, or when this very batch was stored and only its answer lost. Then, as at the start, the
 * newest message of the partition tells where to go on, and rows that are not in memory come from the store.
 */
export function startPublisher(options: PublisherOptions): Publisher {
  const stopping = new AbortController();
  const waiting: StoredRun[] = [];
  let waitingBytes = 0;
  let storedThrough = options.storedThrough;
  let progress: Progress | undefined;
  let failures = 0;
  let wake = () => {};
  let idle: (() => void)[] = [];

  function offer(run: StoredRun): void {
    const last = run.rows[run.rows.length - 1];
    if (last === undefined) return;
    storedThrough = last.position;
    waiting.push(run);
    waitingBytes += bytesOf(run.rows);
    if (waitingBytes > (options.waitingBytes ?? WAITING_BYTES)) forgetWaiting();
    wake();
  }

  /** They are stored; the loop reads them back when their turn comes. */
  function forgetWaiting(): void {
    waiting.length = 0;
    waitingBytes = 0;
  }

  function takeWaiting(through: Position): StoredRun | undefined {
    for (let run = waiting.shift(); run !== undefined; run = waiting.shift()) {
      waitingBytes -= bytesOf(run.rows);
      if (goesOnFrom(run, through)) return run;
    }
    return undefined;
  }

  async function loop(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        progress ??= await findProgress(options, storedThrough, stopping.signal);
        if (progress === undefined || comparePositions(progress.through, storedThrough) >= 0)
          await untilOffered();
        else await publishNext(progress);
        failures = 0;
      } catch (error) {
        if (stopping.signal.aborted) return;
        options.onRetry?.(error instanceof Error ? error.message : String(error));
        progress = undefined;
        failures += 1;
        const retryMs = Math.min(FIRST_RETRY_MS * 2 ** failures, options.longestRetryMs ?? LONGEST_RETRY_MS);
        await delay(retryMs, undefined, { signal: stopping.signal }).catch(() => {});
      }
    }
  }

  async function publishNext(current: Progress): Promise<void> {
    const rows = takeWaiting(current.through)?.rows ?? (await readBack(current));
    for (const batch of planChained(rows)) {
      if (stopping.signal.aborted) return;
      await publish(options, current, batch);
    }
    options.onPublished?.(rows.length);
  }

  async function readBack(current: Progress): Promise<ChainRow[]> {
    const rows = await options.store.rowsAfter(options.partition, current.through, current.window);
    current.window = nextWindow(current.window, rows);
    if (rows.length === 0) throw new Error('stored events cannot be read back');
    return rows;
  }

  async function untilOffered(): Promise<void> {
    for (const tell of idle) tell();
    idle = [];
    if (stopping.signal.aborted) return;
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
  }

  const ended = loop();
  return {
    offer,
    waitingRows: () => waiting.reduce((sum, run) => sum + run.rows.length, 0),
    idle: () =>
      new Promise((resolve) => {
        idle.push(resolve);
        wake();
      }),
    stop: async () => {
      stopping.abort();
      wake();
      await ended;
    },
  };
}

/** Whether the run has every row behind a position, up to its own end. */
function goesOnFrom(run: StoredRun, through: Position): boolean {
  const [first] = run.rows;
  if (first === undefined || comparePositions(run.after, through) > 0) return false;
  return comparePositions(through, first.position) < 0;
}

interface Progress {
  /** Everything up to here is published. */
  through: Position;
  /** The last sequence of each workspace's subject. */
  lastSequences: Map<string, number>;
  /** How many messages of EVENTS to read back at a time. */
  window: number;
}

/** `undefined` while the event that was published last is not stored again. */
async function findProgress(
  options: PublisherOptions,
  storedThrough: Position,
  signal: AbortSignal,
): Promise<Progress | undefined> {
  const { nc, store, partition } = options;
  const nowMicros = options.nowMicros?.() ?? Date.now() * 1000;
  // The sequences first: should somebody else publish in between, they are out of date, and JetStream refuses
  // what is published with them. The other way round would publish the same a second time.
  const sequences = await lastSequences(nc, partition, signal);
  const published = await howFarPublished(nc, store, partition, options.crc32, nowMicros);
  if (published.kind === 'ahead') return undefined;
  const through =
    published.kind === 'through'
      ? published.position
      : justBefore(await store.firstPositionSince(partition, published.micros), storedThrough);
  return { through, lastSequences: sequences, window: FIRST_WINDOW };
}

/** A position that lies before `first` and behind every row before it. */
function justBefore(first: Position | undefined, otherwise: Position): Position {
  if (first === undefined) return otherwise;
  return first.index === 0
    ? { sequence: first.sequence - 1, index: LAST_INDEX }
    : { sequence: first.sequence, index: first.index - 1 };
}

/** The highest a column of 32 bits can hold; no message has as many events. */
const LAST_INDEX = 2 ** 32 - 1;

async function publish(options: PublisherOptions, progress: Progress, batch: ChainedBatch): Promise<void> {
  const messages = batch.groups.map((group) => ({
    subject: chainedSubject(options.partition, group.workspaceId),
    payload: chainedPayload(group, options.crc32),
    messageId: chainedMessageId(group),
  }));
  withExpectedSequences(messages, batch, progress);
  const outcome = await publishBatch(options.nc, messages, options.publishTimeoutMs ?? PUBLISH_TIMEOUT_MS);
  if (outcome.kind !== 'stored') throw new Error(`CHAINED did not take a batch: ${describe(outcome)}`);
  batch.groups.forEach((group, index) => {
    progress.lastSequences.set(group.workspaceId, outcome.firstSequence + index);
  });
  progress.through = batch.through;
}

/** The server takes the expectation with a subject's first message of a batch only; the batch is atomic. */
function withExpectedSequences(messages: BatchMessage[], batch: ChainedBatch, progress: Progress): void {
  const seen = new Set<string>();
  batch.groups.forEach((group, index) => {
    const message = messages[index];
    if (message === undefined || seen.has(group.workspaceId)) return;
    seen.add(group.workspaceId);
    message.expectLastSubjectSequence = progress.lastSequences.get(group.workspaceId) ?? 0;
  });
}

function describe(outcome: BatchOutcome): string {
  return 'reason' in outcome ? `${outcome.kind}, ${outcome.reason}` : outcome.kind;
}

function bytesOf(rows: readonly ChainRow[]): number {
  return rows.reduce((sum, row) => sum + row.bytes, 0);
}

/* Messages of EVENTS hold from one event to half a megabyte of them: their number is found by trying. */
const FIRST_WINDOW = 64;
const LARGEST_WINDOW = 16_384;
const READ_BACK_BYTES = 16 * 1024 * 1024;

function nextWindow(window: number, rows: readonly ChainRow[]): number {
  const bytes = bytesOf(rows);
  if (bytes > READ_BACK_BYTES) return Math.max(1, window >> 1);
  return bytes < READ_BACK_BYTES / 4 ? Math.min(LARGEST_WINDOW, window * 2) : window;
}
