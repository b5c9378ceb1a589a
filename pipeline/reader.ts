import { type Consumer, type ConsumerMessages, DeliverPolicy, jetstream } from '@nats-io/jetstream';
import { connectionState, type NatsConnection } from '../infra/nats/connect.ts';
import { endsBatchOf, storedAtMicros } from '../infra/nats/stream-info.ts';

/** A message as a consumer delivers it. */
export interface StreamMessage {
  sequence: number;
  subject: string;
  /** When JetStream stored it, microseconds since the epoch. */
  storedAtMicros: number;
  data: Uint8Array;
}

export interface ReadStreamMessage extends StreamMessage {
  /** Nothing of the atomic batch it belongs to comes behind it. */
  endsBatch: boolean;
}

/** Reading came to an end that says nothing about the stream: to be started again, with all checks of a start. */
export class ReadingInterrupted extends Error {
  constructor(why: string) {
    super(why);
    this.name = 'ReadingInterrupted';
  }
}

export interface Reader {
  /**
   * The next messages, in order: at least one, and what comes until `ready` resolves or a run is full.
   * Waits for as long as it takes. Throws `ReadingInterrupted` when no more will come.
   */
  take(ready: Promise<unknown>): Promise<ReadStreamMessage[]>;
  /** What has come, or comes within so long: perhaps nothing. Throws as `take` does. */
  takeWithin(waitMs: number): Promise<ReadStreamMessage[]>;
  /** How many messages of the partition wait behind the newest that has come. */
  pending(): number;
  close(): void;
}

export interface ReaderOptions {
  nc: NatsConnection;
  stream: string;
  /** The subject, with wildcards, of what is read. */
  filter: string;
  fromSequence: number;
  /** How often the connection had been lost when stream and store were compared: what comes must be of that stream. */
  losses: number;
  /** How much may wait here to be taken; nothing more is asked of the server until it was. */
  runBytes?: number;
  /** How long that may last before the reader lets go of the stream. */
  longestPauseMs?: number;
}

const RUN_BYTES = 16 * 1024 * 1024;
/** On the way from the server at a time; several times the largest message. */
const WINDOW_BYTES = 4 * 1024 * 1024;
/** The client takes its consumer for dead after 30 s without a sign of life, and asks again and again. */
const LONGEST_PAUSE_MS = 10_000;

/**
 * Reads one partition of a stream from a sequence on, through JetStream's ordered consumer. The client would
 * make that consumer anew by itself after a gap, a lost connection or a recreated stream, and could then
 * read on in another stream than before. So each of these ends the reading instead.
 */
export async function openReader(options: ReaderOptions): Promise<Reader> {
  const runBytes = options.runBytes ?? RUN_BYTES;
  const consumer = await jetstream(options.nc).consumers.get(options.stream, {
    filter_subjects: [options.filter],
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: options.fromSequence,
  });
  const messages = await consumer.consume({ max_bytes: WINDOW_BYTES });
  const buffer: ReadStreamMessage[] = [];
  let bytes = 0;
  let pending = 0;
  let ended: Error | undefined;
  let changed = () => {};
  let taken = () => {};

  function end(why: string): void {
    ended ??= new ReadingInterrupted(why);
    messages.stop();
    changed();
    taken();
  }

  async function fill(): Promise<void> {
    for await (const message of messages) {
      if (ended !== undefined) return;
      const { seq, subject, data } = message;
      const endsBatch = endsBatchOf(message);
      buffer.push({ sequence: seq, subject, storedAtMicros: storedAtMicros(message), data, endsBatch });
      bytes += data.byteLength;
      pending = message.info.pending;
      changed();
      if (bytes >= runBytes) await untilTaken();
    }
  }

  async function untilTaken(): Promise<void> {
    const timer = setTimeout(
      () => end('nothing was taken for long'),
      options.longestPauseMs ?? LONGEST_PAUSE_MS,
    );
    while (bytes >= runBytes && ended === undefined) {
      await new Promise<void>((resolve) => {
        taken = resolve;
      });
    }
    clearTimeout(timer);
  }

  function untilChangedWithin(waitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, waitMs);
      changed = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  function untilChanged(): Promise<void> {
    return new Promise((resolve) => {
      changed = resolve;
    });
  }

  function run(): ReadStreamMessage[] {
    let size = 0;
    const count = buffer.findIndex((message) => {
      size += message.data.byteLength;
      return size >= runBytes;
    });
    const messages = buffer.splice(0, count === -1 ? buffer.length : count + 1);
    for (const message of messages) bytes -= message.data.byteLength;
    taken();
    return messages;
  }

  const connection = connectionState(options.nc);
  const endOfConnection = () => end('the connection to NATS was lost');
  const stopListening = connection.onLost(endOfConnection);
  if (connection.losses() !== options.losses) endOfConnection();
  void watchStatus(messages, end);
  fill().then(
    () => end('the consumer ended'),
    (error: unknown) => end(String(error)),
  );

  return {
    take: async (ready) => {
      let isReady = false;
      const beReady = () => {
        isReady = true;
        changed();
      };
      ready.then(beReady, beReady);
      while (buffer.length === 0) {
        if (ended !== undefined) throw ended;
        await untilChanged();
      }
      while (bytes < runBytes && ended === undefined && !isReady) await untilChanged();
      return run();
    },
    takeWithin: async (waitMs) => {
      if (buffer.length === 0 && ended === undefined) await untilChangedWithin(waitMs);
      if (buffer.length === 0 && ended !== undefined) throw ended;
      return run();
    },
    pending: () => pending + buffer.length,
    close: () => {
      stopListening();
      end('closed');
      remove(consumer);
    },
  };
}

/** What the client says before it makes its consumer anew. */
const INTERRUPTIONS = new Set([
  'reset',
  'ordered_consumer_recreated',
  'consumer_deleted',
  'consumer_not_found',
  'stream_not_found',
]);

async function watchStatus(messages: ConsumerMessages, end: (why: string) => void): Promise<void> {
  for await (const status of messages.status()) {
    if (INTERRUPTIONS.has(status.type)) end(status.type.replaceAll('_', ' '));
  }
}

/** Nobody waits for it: the server removes it by itself some minutes later. */
function remove(consumer: Consumer): void {
  consumer.delete().catch(() => {});
}
