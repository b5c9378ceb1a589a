import { randomBytes } from 'node:crypto';
import {
  DiscardPolicy,
  JetStreamApiError,
  type JetStreamManager,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
  type StreamInfo,
} from '@nats-io/jetstream';
import { type NatsConnection, nanos } from '@nats-io/transport-node';
import { ImmutableError } from '../../core/errors.ts';
import {
  ALL_CHAINED,
  ALL_EVENTS,
  BUCKETS,
  bucketStream,
  bucketSubject,
  METADATA_EPOCH,
  STREAM_CHAINED,
  STREAM_EVENTS,
} from './names.ts';
import { MINIMUM_NATS_VERSION } from './version.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

/** A stream's settings that this product decides; everything else is the server's default. */
type WantedStream = Partial<StreamConfig> & Pick<StreamConfig, 'name' | 'max_bytes'>;

/**
 * Every stream as data. The limits of all add up to less than the store: EVENTS 50 %, CHAINED 30 %,
 * each bucket 1 %. A full EVENTS must not stop the leases, or nothing could ever be purged again.
 */
export function wantedStreams(options: { replicas: number; storeLimitBytes: number }): WantedStream[] {
  const share = (percent: number) => Math.floor((options.storeLimitBytes * percent) / 100);
  const common = {
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    num_replicas: options.replicas,
    allow_direct: true,
  };
  return [
    {
      ...common,
      name: STREAM_EVENTS,
      subjects: [ALL_EVENTS],
      // When full it refuses: an accepted event is never dropped to make room.
      discard: DiscardPolicy.New,
      max_age: 0,
      max_bytes: share(50),
      allow_atomic: true,
      // A commit whose answer was lost is repeated for up to 30 s.
      duplicate_window: nanos(5 * MINUTE_MS),
    },
    {
      ...common,
      name: STREAM_CHAINED,
      subjects: [ALL_CHAINED],
      discard: DiscardPolicy.Old,
      max_age: nanos(7 * DAY_MS),
      max_bytes: share(30),
      // One durable consumer per log stream; the server's own default stops at 1,000.
      max_consumers: 100_000,
      allow_atomic: true,
      duplicate_window: nanos(2 * MINUTE_MS),
    },
    ...Object.values(BUCKETS).map((bucket) => ({
      ...common,
      name: bucketStream(bucket),
      subjects: [bucketSubject(bucket, '>')],
      discard: DiscardPolicy.New,
      max_msgs_per_subject: 1,
      allow_rollup_hdrs: true,
      max_bytes: share(1),
    })),
  ];
}

/**
 * Makes every stream and bucket, or brings an existing one to these settings; never recreates one. A limit
 * below what EVENTS holds drops nothing: it refuses until there is room again. Reads the configuration
 * back, because an older server accepts settings it does not know and ignores them. Safe to call from
 * several processes at once. Throws `misconfigured` when the server cannot give what is needed.
 */
export async function ensureStreams(
  nc: NatsConnection,
  options: { replicas: number; storeLimitBytes: number },
): Promise<void> {
  const manager = await jetstreamManager(nc);
  for (const wanted of wantedStreams(options)) {
    const info = await ensureStream(manager, wanted);
    refuseIgnoredSettings(wanted, info.config, nc.info?.version);
  }
}

/** The random id of this life of EVENTS, 16 hexadecimal characters: another one means another stream. */
export async function streamEpoch(nc: NatsConnection): Promise<string> {
  const manager = await jetstreamManager(nc);
  return epochOf(await manager.streams.info(STREAM_EVENTS));
}

async function ensureStream(manager: JetStreamManager, wanted: WantedStream): Promise<StreamInfo> {
  const existing = (await findStream(manager, wanted.name)) ?? (await createStream(manager, wanted));
  if (wanted.name === STREAM_EVENTS) epochOf(existing);
  const changes = differences(wanted, existing.config);
  if (changes.length === 0) return existing;
  const updated = Object.fromEntries(changes.map((setting) => [setting, wanted[setting]]));
  return await explained(wanted.name, () => manager.streams.update(wanted.name, updated));
}

async function findStream(manager: JetStreamManager, name: string): Promise<StreamInfo | undefined> {
  try {
    return await manager.streams.info(name);
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === STREAM_NOT_FOUND) return undefined;
    throw error;
  }
}

/** Two processes may start at once: the one that comes second gets the stream of the first. */
async function createStream(manager: JetStreamManager, wanted: WantedStream): Promise<StreamInfo> {
  const metadata = wanted.name === STREAM_EVENTS ? { [METADATA_EPOCH]: randomBytes(8).toString('hex') } : {};
  try {
    return await manager.streams.add({ ...wanted, metadata });
  } catch (error) {
    const madeByAnother = await findStream(manager, wanted.name);
    if (madeByAnother !== undefined) return madeByAnother;
    return await explained(wanted.name, () => Promise.reject(error));
  }
}

const STREAM_NOT_FOUND = 10_059;

function epochOf(info: StreamInfo): string {
  const epoch = info.config.metadata?.[METADATA_EPOCH];
  if (epoch === undefined || !/^[0-9a-f]{16}$/.test(epoch)) {
    throw new ImmutableError(
      'misconfigured',
      `The NATS stream ${STREAM_EVENTS} was not made by this product: it has no epoch.`,
      {
        nextStep:
          'Remove or rename that stream, or use another NATS account; the product makes its streams itself.',
      },
    );
  }
  return epoch;
}

function refuseIgnoredSettings(
  wanted: WantedStream,
  actual: StreamConfig,
  serverVersion: string | undefined,
): void {
  const ignored = differences(wanted, actual);
  if (ignored.length === 0) return;
  throw new ImmutableError(
    'misconfigured',
    `The NATS server (version ${serverVersion ?? 'unknown'}) ignores these settings of the stream ${wanted.name}: ${ignored.join(', ')}.`,
    { nextStep: `Every server of the cluster must be ${MINIMUM_NATS_VERSION} or newer.` },
  );
}

function differences(wanted: WantedStream, actual: StreamConfig): (keyof WantedStream)[] {
  const settings = Object.keys(wanted).filter((name): name is keyof WantedStream => name in wanted);
  return settings.filter((setting) => JSON.stringify(wanted[setting]) !== JSON.stringify(actual[setting]));
}

/** What the server says about limits and replicas is true but does not say what to do. */
async function explained<T>(stream: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    if (!(cause instanceof JetStreamApiError)) throw cause;
    throw new ImmutableError('misconfigured', `NATS refuses the stream ${stream}: ${cause.message}.`, {
      nextStep: NEXT_STEPS[cause.code] ?? 'Compare the limits of its JetStream account with the settings.',
      cause,
    });
  }
}

const NEXT_STEPS: Partial<Record<number, string>> = {
  10047: 'Give its JetStream more disk space, or lower the store limit.',
  10074: 'IMMUTABLE_STREAM_REPLICAS must not exceed the number of servers in the cluster.',
  10039: 'Enable JetStream on it.',
};
