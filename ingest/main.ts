import { randomFillSync } from 'node:crypto';
import { V7Generator } from 'uuidv7';
import type { KeyRing } from '../control/keys.ts';
import { partitionOf } from '../control/partition.ts';
import { ImmutableError } from '../core/errors.ts';
import type { Micros } from '../core/time.ts';
import type { GeoLookup } from '../infra/geo/geo.ts';
import { crc32, nativeHasher } from '../infra/hash.ts';
import { clientAddressBehind } from '../infra/http/client-address.ts';
import type { Readiness } from '../infra/http/health.ts';
import type { Route } from '../infra/http/types.ts';
import type { Logger } from '../infra/log.ts';
import type { Registry } from '../infra/metrics.ts';
import { publishBatch } from '../infra/nats/batch.ts';
import { jetStreamClockSkewMs } from '../infra/nats/clock.ts';
import { connectionState, type NatsConnection } from '../infra/nats/connect.ts';
import type { Bucket } from '../infra/nats/kv.ts';
import { eventsSubject, STREAM_EVENTS } from '../infra/nats/names.ts';
import { streamState } from '../infra/nats/stream-info.ts';
import { streamEpoch } from '../infra/nats/streams.ts';
import { checkSyncAlways } from '../infra/nats/sync-check.ts';
import { createCommitter } from './committer.ts';
import { createDuplicateFinder, type FindKnownIds } from './duplicate-finder.ts';
import { publishWhileOpen, watchGate } from './gate.ts';
import { createIdempotencyMemory } from './idempotency.ts';
import { createIngestMetrics } from './metrics.ts';
import { createRecorder } from './recorder.ts';
import { ingestRoutes } from './routes.ts';
import { createWitness, type StreamEnd } from './witness.ts';

export interface IngestDeps {
  nc: NatsConnection;
  keyRing: KeyRing;
  /** The bucket in which the chain says that a partition is stopped. */
  alarms: Pick<Bucket, 'watch'>;
  /** One ClickHouse look-up, for the word `duplicate` alone. */
  findKnownIds: FindKnownIds;
  geo: GeoLookup;
  partitions: number;
  trustedProxies: readonly string[];
  /** The monitoring address of every NATS server. */
  monitorUrls: readonly string[];
  /** Take events although a NATS server may lose them in a power cut. */
  allowUnsyncedNats: boolean;
  log: Logger;
  metrics: Registry;
}

export interface Ingest {
  routes: Route[];
  ready: Readiness;
  /** Answers what it holds, for at most `timeoutMs`; then nothing of it is left. */
  drain(timeoutMs: number): Promise<void>;
}

const PUBLISH_TIMEOUT_MS = 5_000;
const REMEMBERED_KEYS = 100_000;

/** The edge: turns requests into durable events. */
export async function startIngest(deps: IngestDeps): Promise<Ingest> {
  const { nc, log, partitions } = deps;
  const metrics = createIngestMetrics(deps.metrics);
  const clientAddress = clientAddressBehind(deps.trustedProxies);
  const partitionOfWorkspace = rememberingPartitions(partitions);
  const witness = createWitness(() => endOfEvents(nc));
  const gate = await watchGate({
    connection: connectionState(nc),
    checkSync: () => checkSync(deps),
    // Where a loss was accepted beforehand, it is no reason to refuse what comes after it.
    streamProblem: deps.allowUnsyncedNats ? async () => undefined : witness.problem,
    clockSkewMs: () => jetStreamClockSkewMs(nc),
    alarms: deps.alarms,
    log,
  });
  const committer = createCommitter({
    publish: publishWhileOpen(gate, async (messages) => {
      const outcome = await publishBatch(nc, messages, PUBLISH_TIMEOUT_MS);
      witness.stored(outcome);
      return outcome;
    }),
    subjectOf: (workspaceId) => eventsSubject(partitionOfWorkspace(workspaceId), workspaceId),
    nowMicros,
    crc32,
    log,
    observe: metrics.commits,
  });
  const routes = ingestRoutes({
    keyRing: deps.keyRing,
    record: createRecorder({
      committer,
      memory: createIdempotencyMemory(REMEMBERED_KEYS),
      findDuplicates: createDuplicateFinder(deps.findKnownIds, log),
    }),
    refusal: (workspaceId) => gate.refusal(partitionOfWorkspace(workspaceId)),
    clientAddress,
    placeOf: (ip) => deps.geo.lookup(ip),
    nowMicros,
    newId: createIdSource(),
    newSalt: createSaltSource(),
    hasher: nativeHasher,
    metrics,
  });

  if (deps.allowUnsyncedNats) {
    log.warn('IMMUTABLE_ALLOW_UNSYNCED_NATS: acknowledged events may be lost in a power cut');
  }
  return {
    routes,
    ready: gate.problems,
    drain: async (timeoutMs) => {
      await committer.drain(timeoutMs);
      await gate.stop();
    },
  };
}

async function checkSync({ allowUnsyncedNats, monitorUrls }: IngestDeps): Promise<void> {
  if (allowUnsyncedNats) return;
  if (monitorUrls.length === 0) {
    throw new ImmutableError('misconfigured', 'Nobody can tell whether NATS syncs before it acknowledges.', {
      nextStep:
        'Set IMMUTABLE_NATS_MONITOR_URL to the monitoring address of every NATS server, or set IMMUTABLE_ALLOW_UNSYNCED_NATS=true if losing acknowledged events in a power cut is acceptable.',
    });
  }
  await checkSyncAlways(monitorUrls);
}

async function endOfEvents(nc: NatsConnection): Promise<StreamEnd> {
  // The epoch first: of a stream made anew in between, the end is found at the next look.
  const epoch = await streamEpoch(nc);
  const { lastSequence } = await streamState(nc, STREAM_EVENTS);
  return { epoch, lastSequence };
}

function nowMicros(): Micros {
  return Date.now() * 1000;
}

/** Workspaces are few and their partition never changes; hashing the id for every request is not needed. */
function rememberingPartitions(partitions: number): (workspaceId: string) => number {
  const known = new Map<string, number>();
  return (workspaceId) => {
    const remembered = known.get(workspaceId);
    if (remembered !== undefined) return remembered;
    const partition = partitionOf(workspaceId, partitions);
    known.set(workspaceId, partition);
    return partition;
  };
}

const WORDS_AT_ONCE = 2_048;

/** UUIDv7s that rise within this process. The library's own random source asks the system every other id. */
function createIdSource(): () => string {
  const pool = new Uint32Array(WORDS_AT_ONCE);
  let used = pool.length;
  const generator = new V7Generator({
    nextUint32: () => {
      if (used === pool.length) {
        randomFillSync(pool);
        used = 0;
      }
      used += 1;
      return pool[used - 1] ?? 0;
    },
  });
  return () => generator.generate().toString();
}

const SALT_BYTES = 16;
const SALTS_AT_ONCE = 512;

/** One call to the system's random source costs as much for 8 KiB as for 16 bytes. */
function createSaltSource(): () => string {
  const pool = Buffer.alloc(SALT_BYTES * SALTS_AT_ONCE);
  let used = pool.length;
  return () => {
    if (used === pool.length) {
      randomFillSync(pool);
      used = 0;
    }
    used += SALT_BYTES;
    return pool.toString('hex', used - SALT_BYTES, used);
  };
}
