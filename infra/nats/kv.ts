import { DeliverPolicy, JetStreamApiError, jetstream } from '@nats-io/jetstream';
import { type KV, type KvEntry, Kvm } from '@nats-io/kv';
import type { NatsConnection } from '@nats-io/transport-node';
import { ImmutableError } from '../../core/errors.ts';
import { connectionState, untilLost } from './connect.ts';
import { type BucketName, bucketStream, bucketSubject } from './names.ts';

export interface Entry {
  key: string;
  /** The JSON value; `null` when the stored bytes are not JSON, which no parse function takes for a record. */
  value: unknown;
  /** Rises with every change of the bucket; what `update` and `delete` compare. */
  revision: number;
}

/** Called with `undefined` when the key is no more. May be told the same again. */
export type OnChange = (key: string, entry: Entry | undefined) => void;
export type Stop = () => Promise<void>;

/** A KV bucket of JSON values. Reads are answered by the bucket's leader: they see every earlier write. */
export interface Bucket {
  get(key: string): Promise<Entry | undefined>;
  /** Resolves to the new revision. */
  put(key: string, value: unknown): Promise<number>;
  /** Throws `conflict` when the key exists. */
  create(key: string, value: unknown): Promise<number>;
  /** Throws `conflict` unless the key's revision is `revision`. */
  update(key: string, value: unknown, revision: number): Promise<number>;
  /** With a revision: throws `conflict` unless it is still that one. */
  delete(key: string, revision?: number): Promise<void>;
  keys(): Promise<string[]>;
  /**
   * Tells every present value, then every change until stopped, also over lost connections (after one,
   * everything is told again). Resolves once all present values were told. `keys` narrows it to those that match a
   * subject (`batch.*`).
   */
  watch(onChange: OnChange, keys?: string): Promise<Stop>;
}

/** Opens a bucket that `ensureStreams` made. */
export async function openBucket(nc: NatsConnection, name: BucketName): Promise<Bucket> {
  const kv = await new Kvm(nc).open(name, { allow_direct: false });
  return {
    get: async (key) => present(await kv.get(key)),
    put: (key, value) => kv.put(key, JSON.stringify(value)),
    create: (key, value) => orConflict(key, () => kv.create(key, JSON.stringify(value))),
    update: (key, value, revision) => orConflict(key, () => kv.update(key, JSON.stringify(value), revision)),
    delete: (key, revision) =>
      orConflict(key, () => kv.delete(key, revision === undefined ? {} : { previousSeq: revision })),
    keys: () => keysOf(kv),
    watch: (onChange, keys) => watchBucket(nc, name, onChange, keys),
  };
}

function present(entry: KvEntry | null): Entry | undefined {
  if (entry === null || entry.operation !== 'PUT') return undefined;
  return { key: entry.key, value: parseJson(entry.value), revision: entry.revision };
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return null;
  }
}

async function keysOf(kv: KV): Promise<string[]> {
  const found: string[] = [];
  for await (const key of await kv.keys()) found.push(key);
  return found;
}

/** Present on the marker a deletion leaves behind. */
const KV_OPERATION = 'KV-Operation';

/** "Wrong last sequence", on one server and in a cluster. */
const WRONG_REVISION = new Set([10_071, 10_164]);

async function orConflict<T>(key: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (cause) {
    if (cause instanceof JetStreamApiError && WRONG_REVISION.has(cause.code)) {
      throw new ImmutableError('conflict', `Somebody else changed "${key}" in the meantime.`, { cause });
    }
    throw cause;
  }
}

const RETRY_MS = 500;

/**
 * Each pass tells the last value of every key and goes on with changes; a restored connection starts
 * another. The client's own ordered consumer would resume too, but as late as a minute after a server's
 * restart, and a revoked key must not live that long.
 */
async function watchBucket(
  nc: NatsConnection,
  bucket: BucketName,
  onChange: OnChange,
  keys = '>',
): Promise<Stop> {
  const known = new Set<string>();
  const connection = connectionState(nc);
  let latest = 0;
  let stopPass: Stop = async () => {};

  function tell(key: string, entry: Entry | undefined): void {
    if (entry === undefined) known.delete(key);
    else known.add(key);
    orCrash(() => onChange(key, entry));
  }

  async function pass(number: number): Promise<void> {
    await stopPass();
    if (number !== latest) return;
    const started = await startPass(
      nc,
      { bucket, keys },
      {
        change: (key, entry) => {
          if (number === latest) tell(key, entry);
        },
        allTold: (present) => {
          if (number !== latest) return;
          for (const key of [...known]) if (!present.has(key)) tell(key, undefined);
        },
      },
    );
    if (number !== latest) return await started.stop();
    stopPass = started.stop;
    await untilLost(nc, started.completed);
  }

  async function passAgain(number: number): Promise<void> {
    while (number === latest && connection.connected()) {
      try {
        return await pass(number);
      } catch {
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  const unsubscribe = connection.onRestored(() => {
    latest += 1;
    void passAgain(latest);
  });
  await pass(latest);
  return async () => {
    latest = -1;
    unsubscribe();
    await stopPass();
  };
}

interface Pass {
  /** Resolves once all present values were told; never, when the connection goes before that. */
  completed: Promise<void>;
  stop: Stop;
}

interface PassListener {
  change: OnChange;
  /** Called with the keys present at the start, before anything is told that changed after it. */
  allTold(present: ReadonlySet<string>): void;
}

async function startPass(
  nc: NatsConnection,
  { bucket, keys }: { bucket: BucketName; keys: string },
  listener: PassListener,
): Promise<Pass> {
  const prefix = bucketSubject(bucket, '');
  const options = {
    deliver_policy: DeliverPolicy.LastPerSubject,
    filter_subjects: bucketSubject(bucket, keys),
    // It is made anew after every loss anyway, and need not wait for a disk.
    mem_storage: true,
  };
  const consumer = await jetstream(nc).consumers.getPushConsumer(bucketStream(bucket), options);
  const present = new Set<string>();
  let remaining = (await consumer.info(true)).num_pending;
  let complete = () => {};
  const completed = new Promise<void>((resolve) => {
    complete = () => {
      listener.allTold(present);
      resolve();
    };
  });
  const messages = await consumer.consume({
    callback: (message) => {
      const key = message.subject.slice(prefix.length);
      const deleted = message.headers?.has(KV_OPERATION) ?? false;
      if (remaining > 0 && !deleted) present.add(key);
      listener.change(
        key,
        deleted ? undefined : { key, value: parseJson(message.data), revision: message.seq },
      );
      remaining -= 1;
      if (remaining === 0) complete();
    },
  });
  if (remaining === 0) complete();
  return {
    completed,
    stop: async () => {
      messages.stop();
      // Nobody waits for this: the server forgets a consumer without a listener by itself.
      consumer.delete().catch(() => {});
    },
  };
}

/** The client would end the watch in silence when a callback throws. */
function orCrash(callback: () => void): void {
  try {
    callback();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
