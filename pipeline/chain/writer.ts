import { setTimeout as delay } from 'node:timers/promises';
import { BEFORE_ALL, type Position, positionText, samePosition } from '../../control/position.ts';
import { ImmutableError } from '../../core/errors.ts';
import type { Micros } from '../../core/time.ts';
import type { ChainRow, Source } from './row.ts';
import type { ChainStore, StoredEnd } from './store.ts';

/** A run of rows to be stored in one insert, right behind everything stored so far. */
export interface Batch {
  /** The partition's highest stored position before it. */
  after: Position;
  rows: readonly [ChainRow, ...ChainRow[]];
}

/** The store refuses the batch for what is in it. */
export class BatchRefused extends Error {
  readonly batch: Batch;
  constructor(batch: Batch, reason: string) {
    super(reason);
    this.name = 'BatchRefused';
    this.batch = batch;
  }
}

export interface WriterOptions {
  source: Source;
  store: Pick<ChainStore, 'highestPosition' | 'insert'>;
  signal: AbortSignal;
  /** Monotonic. */
  nowMs?: () => number;
  timing?: Partial<WriterTiming>;
  onRetry?: (reason: string, attempt: number) => void;
  onDroppedToken?: (token: string) => void;
}

export interface WriterTiming {
  /** For how long an insert that was dropped is looked for before it is repeated under another token. */
  droppedTokenMs: number;
  lookAgainMs: number;
  /** After this long without a look, the end of the partition is looked up before the next insert. */
  lookBeforeInsertMs: number;
  firstRetryMs: number;
  longestRetryMs: number;
}

const TIMING: WriterTiming = {
  droppedTokenMs: 5_000,
  lookAgainMs: 100,
  lookBeforeInsertMs: 1_000,
  firstRetryMs: 100,
  longestRetryMs: 5_000,
};

export interface Writer {
  /** Resolves once the batch is stored; one call at a time. Throws `fenced`, or `BatchRefused`. */
  store(batch: Batch): Promise<void>;
}

/**
 * Stores batches so that two processes that both believe they hold the partition cannot fork its chain.
 *
 * - Every insert behind the same end has the same token, so ClickHouse takes one of them.
 * - A batch counts as stored when the partition ends with its last row, whoever stored it. Any other end
 *   means that somebody else goes on: `fenced`.
 * - `chained_at` is ClickHouse's clock at the moment when the end was looked up, and ClickHouse refuses rows
 *   with one older than five minutes: what a paused process sends late cannot land after its token was forgotten.
 * - ClickHouse writes a token down before the rows can be seen. Killed in between, it drops every repetition
 *   and has no row; an insert that stays invisible for 5 s is repeated with `:1`, `:2`, … appended.
 *
 * Retries for ever while ClickHouse is away.
 */
export function createWriter(options: WriterOptions): Writer {
  const timing = { ...TIMING, ...options.timing };
  const nowMs = options.nowMs ?? (() => performance.now());
  let lastLook: { clockMicros: Micros; atMs: number } | undefined;

  async function look(): Promise<StoredEnd> {
    const atMs = nowMs();
    const end = await untilAnswered(
      () => options.store.highestPosition(options.source.partition),
      options,
      timing,
    );
    lastLook = { clockMicros: end.clockMicros, atMs };
    return end;
  }

  /** The store's clock when the partition was last seen to end right before the batch; undefined if it has the batch. */
  async function stampFor(batch: Batch): Promise<Micros | undefined> {
    if (lastLook !== undefined && nowMs() - lastLook.atMs < timing.lookBeforeInsertMs)
      return lastLook.clockMicros;
    const end = await look();
    return isStored(options.source, batch, end) ? undefined : end.clockMicros;
  }

  async function wasDropped(batch: Batch): Promise<boolean> {
    const until = nowMs() + timing.droppedTokenMs;
    while (nowMs() < until) {
      await delay(timing.lookAgainMs, undefined, { signal: options.signal });
      if (isStored(options.source, batch, await look())) return false;
    }
    return true;
  }

  async function store(batch: Batch): Promise<void> {
    let repeats = 0;
    for (let attempt = 1; ; attempt++) {
      const stamp = await stampFor(batch);
      if (stamp === undefined) return;
      const token = tokenOf(options.source, batch, repeats);
      const outcome = await options.store.insert(options.source, batch.rows, token, stamp);
      options.signal.throwIfAborted();
      const end = await look();
      if (isStored(options.source, batch, end)) return;
      if (outcome.kind === 'answered') {
        if (!(await wasDropped(batch))) return;
        options.onDroppedToken?.(token);
        repeats += 1;
      } else if (outcome.kind === 'refused' && !wasTooOld(stamp, end)) {
        throw new BatchRefused(batch, outcome.reason);
      } else {
        options.onRetry?.(outcome.kind === 'unknown' ? outcome.reason : 'it came too late', attempt);
        await delay(retryMs(attempt, timing), undefined, { signal: options.signal });
      }
    }
  }

  return { store };
}

/** `<partition>:<position of its first event>`, and the number of repetitions that were needed. */
export function tokenOf(source: Source, batch: Batch, repeats: number): string {
  const token = `${source.partition}:${positionText(batch.rows[0].position)}`;
  return repeats === 0 ? token : `${token}:${repeats}`;
}

export function lastPosition(batch: Batch): Position {
  return lastRow(batch).position;
}

function lastRow(batch: Batch): ChainRow {
  return batch.rows[batch.rows.length - 1] ?? batch.rows[0];
}

/**
 * Whether the partition ends with the batch; `fenced` unless it does or ends right before it. Another row at
 * the batch's last position stands in a chain this process does not know: the other's ClickHouse refused an
 * event, say.
 */
function isStored(source: Source, batch: Batch, end: StoredEnd): boolean {
  const highest = end.highest ?? { ...BEFORE_ALL, epoch: source.epoch, eventHash: '' };
  const last = lastRow(batch);
  const isSameStream = highest.epoch === source.epoch;
  const isLast = samePosition(highest, last.position) && highest.eventHash === last.eventHash;
  if (isSameStream && isLast) return true;
  if (isSameStream && samePosition(highest, batch.after)) return false;
  throw new ImmutableError('fenced', 'Another process stores events of this partition.', {
    details: {
      before: positionText(batch.after),
      batchEnd: positionText(last.position),
      found: positionText(highest),
    },
  });
}

/** A refusal proves nothing about the rows when they were on their way for so long. */
function wasTooOld(stampMicros: Micros, end: StoredEnd): boolean {
  return end.clockMicros - stampMicros > 4 * 60 * 1_000_000;
}

/** Asks until there is an answer: what the store cannot tell now, it can tell later. */
async function untilAnswered<T>(
  ask: () => Promise<T>,
  options: Pick<WriterOptions, 'signal' | 'onRetry'>,
  timing: WriterTiming,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    options.signal.throwIfAborted();
    try {
      return await ask();
    } catch (error) {
      options.onRetry?.(error instanceof Error ? error.message : String(error), attempt);
      await delay(retryMs(attempt, timing), undefined, { signal: options.signal });
    }
  }
}

function retryMs(attempt: number, timing: WriterTiming): number {
  return Math.min(timing.firstRetryMs * 2 ** Math.min(attempt - 1, 10), timing.longestRetryMs);
}
