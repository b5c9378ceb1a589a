import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { errors } from '@nats-io/transport-node';
import { ImmutableError } from '../../core/errors.ts';
import type { Bucket, Entry } from './kv.ts';

export interface LeaseOptions {
  bucket: Bucket;
  /** What is held, for example `chain.3`. */
  key: string;
  /** Who holds it, for people: host and process. */
  holder: string;
  /** The same in every life of one supervised process, which then takes over from its former self at once. */
  instance?: string;
  /** How long after its last sign of life a holder is taken for dead. */
  ttlMs: number;
  /** Called once, when the lease is held no more although nobody released it. */
  onLost(): void;
  /** Gives up waiting; the promise then rejects with the signal's reason. */
  signal?: AbortSignal;
}

export interface Lease {
  /** Asks the clock, so it is right even when the process was paused and `onLost` comes late. */
  isHeld(): boolean;
  /** Lets the next holder in at once. */
  release(): Promise<void>;
}

/** What stands in the bucket. `token` is new for each tenure, so that a holder knows its own entry. */
interface LeaseRecord {
  holder: string;
  instance: string | null;
  token: string;
}

/** A holder gives up this share of the time-to-live before anybody else may take over. */
const HOLDER_SHARE = 0.75;
const RELEASE_MS = 1_000;
/** How often a holder shows signs of life, and a contender looks, in one time-to-live. */
const RENEWALS = 5;

/**
 * Waits until this process holds the lease, then keeps it until released or lost. No two clocks are
 * compared: a contender takes over when the entry's revision has not changed for `ttlMs` by its own
 * monotonic clock, and a holder stops three quarters of that after it last *sent* a renewal that
 * succeeded. A process that is paused in between may still act for a moment after its lease went: what it
 * writes must be fenced elsewhere.
 */
export async function holdLease(options: LeaseOptions): Promise<Lease> {
  const record: LeaseRecord = {
    holder: options.holder,
    instance: options.instance ?? null,
    token: randomUUID(),
  };
  return keep(options, record, await acquire(options, record));
}

interface Tenure {
  revision: number;
  /** When the write that made it was sent, by the monotonic clock. */
  sentAtMs: number;
}

async function acquire(options: LeaseOptions, record: LeaseRecord): Promise<Tenure> {
  let seen: { revision: number; sinceMs: number } | undefined;
  for (;;) {
    options.signal?.throwIfAborted();
    try {
      const entry = await options.bucket.get(options.key);
      if (entry?.revision !== seen?.revision) {
        seen = entry === undefined ? undefined : { revision: entry.revision, sinceMs: performance.now() };
      }
      if (mayTake(options, record, entry, seen?.sinceMs)) return await take(options, record, entry);
    } catch (error) {
      // Somebody else was quicker, or the bucket cannot be reached: look again.
      if (isFinal(error)) throw error;
    }
    await sleep(options.ttlMs / RENEWALS, options.signal);
  }
}

function mayTake(
  options: LeaseOptions,
  record: LeaseRecord,
  entry: Entry | undefined,
  unchangedSinceMs: number | undefined,
): boolean {
  if (entry === undefined || unchangedSinceMs === undefined) return true;
  // Its own entry: taken a moment ago, and the answer lost.
  if (tokenOf(entry) === record.token) return true;
  if (options.instance !== undefined && instanceOf(entry) === options.instance) return true;
  return performance.now() - unchangedSinceMs >= options.ttlMs;
}

async function take(options: LeaseOptions, record: LeaseRecord, entry: Entry | undefined): Promise<Tenure> {
  const sentAtMs = performance.now();
  const revision =
    entry === undefined
      ? await options.bucket.create(options.key, record)
      : await options.bucket.update(options.key, record, entry.revision);
  return { revision, sentAtMs };
}

function keep(options: LeaseOptions, record: LeaseRecord, first: Tenure): Lease {
  let tenure = first;
  let ended = false;
  const stopping = new AbortController();
  const expiresInMs = () => tenure.sentAtMs + options.ttlMs * HOLDER_SHARE - performance.now();
  let expiry = setTimeout(lose, expiresInMs());

  function end(): void {
    ended = true;
    stopping.abort();
    clearTimeout(expiry);
  }

  function lose(): void {
    if (ended) return;
    end();
    options.onLost();
  }

  async function renewUntilEnded(): Promise<void> {
    while (!ended) {
      await sleep(options.ttlMs / RENEWALS, stopping.signal).catch(() => {});
      if (ended) return;
      const renewed = await renew(options, record, tenure);
      if (ended) return;
      if (renewed === 'lost') return lose();
      tenure = renewed;
      clearTimeout(expiry);
      expiry = setTimeout(lose, expiresInMs());
    }
  }

  void renewUntilEnded();
  return {
    isHeld: () => !ended && expiresInMs() > 0,
    release: async () => {
      if (ended) return;
      end();
      // Best effort, and not for long: a successor who is not told waits for the time-to-live.
      const told = options.bucket.delete(options.key, tenure.revision).catch(() => {});
      await Promise.race([told, delay(RELEASE_MS)]);
    },
  };
}

/** The next tenure; the present one when there was no answer, which its expiry will end if need be. */
async function renew(options: LeaseOptions, record: LeaseRecord, tenure: Tenure): Promise<Tenure | 'lost'> {
  const sentAtMs = performance.now();
  try {
    return { revision: await options.bucket.update(options.key, record, tenure.revision), sentAtMs };
  } catch (error) {
    return isConflict(error) ? await afterConflict(options, record, tenure) : tenure;
  }
}

/**
 * Somebody took over, or an earlier renewal of this process was stored and its answer lost. In the second
 * case a contender may have seen that renewal long before this moment, so it does not extend the tenure:
 * the next one will.
 */
async function afterConflict(
  options: LeaseOptions,
  record: LeaseRecord,
  tenure: Tenure,
): Promise<Tenure | 'lost'> {
  try {
    const entry = await options.bucket.get(options.key);
    if (entry === undefined || tokenOf(entry) !== record.token) return 'lost';
    return { revision: entry.revision, sentAtMs: tenure.sentAtMs };
  } catch {
    return tenure;
  }
}

function tokenOf(entry: Entry): unknown {
  return recordMember(entry, 'token');
}

function instanceOf(entry: Entry): unknown {
  return recordMember(entry, 'instance');
}

function recordMember(entry: Entry, name: keyof LeaseRecord): unknown {
  const { value } = entry;
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}

/** A connection that was closed on purpose does not come back. */
function isFinal(error: unknown): boolean {
  return error instanceof errors.ClosedConnectionError || error instanceof errors.DrainingConnectionError;
}

function isConflict(error: unknown): boolean {
  return error instanceof ImmutableError && error.code === 'conflict';
}

function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return delay(ms, undefined, signal === undefined ? {} : { signal });
}
