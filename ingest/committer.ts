import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { ImmutableError } from '../core/errors.ts';
import { type Crc32, queuedMessageFromLines } from '../core/message.ts';
import type { Micros } from '../core/time.ts';
import type { Logger } from '../infra/log.ts';
import type { BatchMessage, BatchOutcome } from '../infra/nats/batch.ts';

/** Stores all messages in one atomic batch; see `publishBatch`. */
export type PublishBatch = (messages: readonly BatchMessage[]) => Promise<BatchOutcome>;

export interface Committer {
  /**
   * Resolves once every line is on disk. The lines of one call stay together and in order, after those of
   * every earlier call for the workspace that has resolved. Rejects with `unavailable` when they were not
   * stored, or when nobody can tell whether they were.
   */
  commit(workspaceId: string, lines: readonly string[]): Promise<void>;
  /** Takes no more; resolves when everything taken is settled, at the latest after `timeoutMs`. */
  drain(timeoutMs: number): Promise<void>;
}

export interface CommitterOptions {
  publish: PublishBatch;
  subjectOf(workspaceId: string): string;
  nowMicros(): Micros;
  crc32: Crc32;
  log: Logger;
  observe?: CommitObserver;
  limits?: Partial<CommitLimits>;
}

/** Told what happens, for metrics. */
export interface CommitObserver {
  queued(bytes: number): void;
  inFlight(groups: number): void;
  /** `seconds` from the oldest request's arrival to its settlement. */
  settled(
    group: { requests: number; events: number; bytes: number; attempts: number },
    seconds: number,
  ): void;
}

export interface CommitLimits {
  groupsInFlight: number;
  /** How long the first request of a group waits for company while other groups are in flight. */
  gatherMs: number;
  messageBytes: number;
  groupMessages: number;
  /** A group is not filled beyond this, but takes at least one request. */
  groupBytes: number;
  /** What may wait and be in flight, together. */
  queueBytes: number;
  /** How long a group is repeated. */
  retryMs: number;
}

const LIMITS: CommitLimits = {
  groupsInFlight: 4,
  gatherMs: 1,
  messageBytes: 512 * 1024,
  groupMessages: 1_000,
  groupBytes: 4 * 1024 * 1024,
  queueBytes: 64 * 1024 * 1024,
  retryMs: 30_000,
};

const FIRST_RETRY_DELAY_MS = 5;
const MAX_RETRY_DELAY_MS = 250;
const COMPLAINT_INTERVAL_MS = 1_000;

/** One call of `commit`, waiting for a group. */
interface Waiting {
  workspaceId: string;
  lines: readonly string[];
  bytes: number;
  caller: Caller;
}

/** Who waits for a group. */
interface Caller {
  sinceMs: number;
  events: number;
  resolve(): void;
  reject(error: Error): void;
}

/** What one batch carries: fixed before its first attempt, so that a repetition is recognised. */
interface Group {
  messages: BatchMessage[];
  /** In the order of their arrival. The lines themselves are not kept: they are in the messages. */
  callers: Caller[];
  bytes: number;
}

/**
 * Group commit. While earlier groups are on their way to the disk, requests gather, and then share one
 * batch and its fsync. What is here when the process dies was not acknowledged, or is on disk.
 */
export function createCommitter(options: CommitterOptions): Committer {
  const { publish, log, observe } = options;
  const limits = { ...LIMITS, ...options.limits };
  const queue = createQueue();
  const stop = new AbortController();
  let bytesHeld = 0;
  let inFlight = 0;
  let scheduled = false;
  let draining = false;
  let onSettled = () => {};
  let quietUntil = 0;

  function commit(workspaceId: string, lines: readonly string[]): Promise<void> {
    const bytes = byteLength(lines);
    if (draining) return Promise.reject(unavailable('This server is shutting down; ask again.'));
    if (bytesHeld + bytes > limits.queueBytes) {
      return Promise.reject(unavailable('More events arrive than can be stored at the moment; ask again.'));
    }
    hold(bytes);
    return new Promise((resolve, reject) => {
      const caller = { sinceMs: performance.now(), events: lines.length, resolve, reject };
      queue.push({ workspaceId, lines, bytes, caller });
      schedule();
    });
  }

  function hold(bytes: number): void {
    bytesHeld += bytes;
    observe?.queued(bytesHeld);
  }

  function schedule(): void {
    if (scheduled || inFlight >= limits.groupsInFlight) return;
    scheduled = true;
    const go = () => {
      scheduled = false;
      send();
    };
    // At the end of this turn of the event loop everything that arrived with it is there.
    if (inFlight === 0 || queue.bytes >= limits.groupBytes) setImmediate(go);
    else setTimeout(go, limits.gatherMs);
  }

  function send(): void {
    while (inFlight < limits.groupsInFlight && queue.size > 0) {
      void run(formGroup(queue, limits, options));
      // The rest may as well wait for company, unless there is a full group of it.
      if (queue.bytes < limits.groupBytes) break;
    }
    if (queue.size > 0) schedule();
  }

  async function run(group: Group): Promise<void> {
    inFlight += 1;
    observe?.inFlight(inFlight);
    const { failure, attempts } = await store(group);
    inFlight -= 1;
    observe?.inFlight(inFlight);
    hold(-group.bytes);
    for (const caller of group.callers) {
      if (failure === undefined) caller.resolve();
      else caller.reject(failure);
    }
    report(group, attempts);
    if (inFlight === 0) send();
    else if (queue.size > 0) schedule();
    onSettled();
  }

  /** The commit point: without a failure, everything in the group is on disk. Never rejects. */
  async function store(group: Group): Promise<{ failure: ImmutableError | undefined; attempts: number }> {
    const deadline = performance.now() + limits.retryMs;
    for (let attempts = 1; ; attempts += 1) {
      const outcome = await publish(group.messages).catch(unsendable);
      const verdict = judge(outcome);
      if (verdict === 'stored') return { failure: undefined, attempts };
      if (verdict !== 'again') {
        complain({ outcome }, 'NATS does not take events');
        return { failure: verdict, attempts };
      }
      if (performance.now() >= deadline || stop.signal.aborted) {
        complain({ outcome, attempts }, 'gave up storing some events; they may be stored or not');
        return { failure: unavailable('The events could not be stored in time; ask again.'), attempts };
      }
      await delay(retryDelayMs(attempts), undefined, { signal: stop.signal }).catch(() => {});
    }
  }

  /** A full stream refuses every group: one line a second says it. */
  function complain(facts: Record<string, unknown>, message: string): void {
    if (performance.now() < quietUntil) return;
    quietUntil = performance.now() + COMPLAINT_INTERVAL_MS;
    log.error(facts, message);
  }

  function report(group: Group, attempts: number): void {
    const { callers, bytes } = group;
    const events = callers.reduce((total, caller) => total + caller.events, 0);
    const seconds = (performance.now() - (callers[0]?.sinceMs ?? 0)) / 1000;
    observe?.settled({ requests: callers.length, events, bytes, attempts }, seconds);
  }

  async function drain(timeoutMs: number): Promise<void> {
    draining = true;
    const timer = setTimeout(() => stop.abort(), timeoutMs);
    await new Promise<void>((resolve) => {
      onSettled = () => {
        if (inFlight === 0 && queue.size === 0) resolve();
      };
      onSettled();
    });
    clearTimeout(timer);
  }

  return { commit, drain };
}

/** A server with other limits than ours: to fail this group is better than to end the process, again and again. */
function unsendable(error: unknown): BatchOutcome {
  return { kind: 'refused', code: 0, reason: error instanceof Error ? error.message : String(error) };
}

/** What an outcome means for the requests of its group. */
function judge(outcome: BatchOutcome): 'stored' | 'again' | ImmutableError {
  switch (outcome.kind) {
    case 'stored':
    case 'already_stored':
      return 'stored';
    case 'busy':
    case 'unknown':
      return 'again';
    case 'full':
      return unavailable('The event store is full; ask again later.', FULL_RETRY_SECONDS);
    case 'refused':
      return unavailable(
        'The event store refuses events at the moment; ask again later.',
        FULL_RETRY_SECONDS,
      );
  }
}

const FULL_RETRY_SECONDS = 10;

/** Takes requests, oldest first, until a limit is reached, and packs each workspace's lines into as few messages as fit. */
function formGroup(queue: Queue, limits: CommitLimits, options: CommitterOptions): Group {
  const packer = createPacker(limits.messageBytes);
  const callers: Caller[] = [];
  let bytes = 0;
  for (let next = queue.peek(); next !== undefined; next = queue.peek()) {
    const isFull =
      bytes + next.bytes > limits.groupBytes || packer.count + next.lines.length > limits.groupMessages;
    if (callers.length > 0 && isFull) break;
    queue.shift();
    packer.add(next);
    callers.push(next.caller);
    bytes += next.bytes;
  }
  const receivedAtMicros = options.nowMicros();
  const messages = packer.messages().map(({ workspaceId, lines }) => ({
    subject: options.subjectOf(workspaceId),
    payload: queuedMessageFromLines(workspaceId, receivedAtMicros, lines, options.crc32),
    messageId: randomBytes(16).toString('base64url'),
  }));
  return { messages, callers, bytes };
}

interface OpenMessage {
  workspaceId: string;
  lines: string[];
  bytes: number;
}

/** Fills messages up to `messageBytes`, which no single line exceeds; a request is divided only where it must be. */
function createPacker(messageBytes: number) {
  const all: OpenMessage[] = [];
  const open = new Map<string, OpenMessage>();

  function messageWithRoom(workspaceId: string, bytes: number): OpenMessage {
    const current = open.get(workspaceId);
    if (current !== undefined && current.bytes + bytes <= messageBytes) return current;
    const next = { workspaceId, lines: [], bytes: 0 };
    open.set(workspaceId, next);
    all.push(next);
    return next;
  }

  function put(workspaceId: string, lines: readonly string[], bytes: number): void {
    const message = messageWithRoom(workspaceId, bytes);
    message.lines.push(...lines);
    message.bytes += bytes;
  }

  return {
    get count() {
      return all.length;
    },
    add({ workspaceId, lines, bytes }: Waiting): void {
      if (bytes <= messageBytes) put(workspaceId, lines, bytes);
      else for (const line of lines) put(workspaceId, [line], Buffer.byteLength(line));
    },
    messages: (): readonly OpenMessage[] => all,
  };
}

interface Queue {
  readonly size: number;
  readonly bytes: number;
  push(waiting: Waiting): void;
  peek(): Waiting | undefined;
  shift(): void;
}

const COMPACT_AT = 10_000;

/** First in, first out; an array's own `shift` moves every element. */
function createQueue(): Queue {
  let items: Waiting[] = [];
  let head = 0;
  let bytes = 0;
  return {
    get size() {
      return items.length - head;
    },
    get bytes() {
      return bytes;
    },
    push(waiting) {
      items.push(waiting);
      bytes += waiting.bytes;
    },
    peek: () => items[head],
    shift() {
      bytes -= items[head]?.bytes ?? 0;
      head += 1;
      if (head === items.length || head >= COMPACT_AT) {
        items = items.slice(head);
        head = 0;
      }
    },
  };
}

function byteLength(lines: readonly string[]): number {
  let bytes = 0;
  for (const line of lines) bytes += Buffer.byteLength(line);
  return bytes;
}

/** Doubles from 5 to 250 ms; half of it by chance, so that edges do not come back together. */
function retryDelayMs(attempts: number): number {
  const full = Math.min(MAX_RETRY_DELAY_MS, FIRST_RETRY_DELAY_MS * 2 ** (attempts - 1));
  return full * (0.5 + Math.random() / 2);
}

function unavailable(message: string, retryAfterSeconds = 1): ImmutableError {
  return new ImmutableError('unavailable', message, { retryAfterSeconds });
}
