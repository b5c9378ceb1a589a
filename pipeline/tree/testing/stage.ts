import { type CheckpointRecord, readCheckpointRecord } from '../../../control/checkpoints.ts';
import { partitionOf } from '../../../control/partition.ts';
import {
  ensureSigningKeys,
  logNameOf,
  publishedKeys,
  type SigningKeys,
} from '../../../control/signing-keys.ts';
import { EMPTY_HEAD, type Head } from '../../../core/chain.ts';
import { parseCheckpoint, parseVerifierKey, type VerifierKey, verifyNote } from '../../../core/checkpoint.ts';
import { consistencyRanges, rangeHashes, type Tiles, tilesOfLeaves } from '../../../core/tile.ts';
import type { Micros } from '../../../core/time.ts';
import { leafHash, treeRoot, verifyConsistency } from '../../../core/tree.ts';
import { crc32, nativeHasher } from '../../../infra/hash.ts';
import { createLogger } from '../../../infra/log.ts';
import { createMetrics } from '../../../infra/metrics.ts';
import { type Bucket, openBucket } from '../../../infra/nats/kv.ts';
import { BUCKETS, chainedSubject } from '../../../infra/nats/names.ts';
import { streamEpoch } from '../../../infra/nats/streams.ts';
import { createSealer } from '../../../infra/seal.ts';
import { chainedPayload } from '../../chain/chained.ts';
import type { ChainRow } from '../../chain/row.ts';
import { type MemoryStore, memoryStore } from '../../chain/testing/memory-store.ts';
import { chainOf, readSample, sampleEvent } from '../../chain/testing/sample.ts';
import { openTestStage, type TestStage } from '../../chain/testing/stage.ts';
import { startTree, type TreeStage, type TreeStageOptions } from '../start.ts';
import type { SignedCheckpoint } from '../store.ts';
import { type MemoryTreeStore, memoryTreeStore, tilesIn } from './memory-store.ts';

/* The tree stage on a real NATS server, for tests. */

export const LOG_ORIGIN = 'log.example';
const SEALER = createSealer('11'.repeat(32), 'test');

export const TEST_TIMING: TreeStageOptions['timing'] = {
  leaseTtlMs: 2_000,
  steppedDownMs: 50,
  stoppedMs: 200,
  firstRetryMs: 20,
  longestRetryMs: 200,
  lingerMs: 10,
  signIntervalMs: 50,
};

export interface TreeWorld {
  stage: TestStage;
  /** The table `events`. */
  events: MemoryStore;
  /** All three tables. */
  store: MemoryTreeStore;
  checkpoints: Bucket;
  /** Another epoch of every stream, empty tables, another key. */
  reset(): Promise<void>;
  /** Stores so many more events of a workspace, one message of EVENTS, as the chain stage would. */
  chain(workspaceId: string, count: number, receivedAtMicros?: Micros): Promise<ChainRow[]>;
  /** Publishes rows to CHAINED in one message. */
  publish(rows: readonly ChainRow[]): Promise<void>;
  /** `chain` and `publish`. */
  add(workspaceId: string, count: number, receivedAtMicros?: Micros): Promise<ChainRow[]>;
  /** Another process of the stage. All of them are ended by `reset` and `close`. */
  start(options?: Partial<TreeStageOptions>): TreeStage;
  buckets(): TreeStageOptions['buckets'];
  /** Every checkpoint that was ever stored by NATS: what was signed. */
  signedEver: { workspaceId: string; record: CheckpointRecord }[];
  /** By NATS. */
  signed(workspaceId: string): Promise<CheckpointRecord | undefined>;
  /** In the table, by size. */
  kept(workspaceId: string): SignedCheckpoint[];
  /** The published keys of a log. */
  verifierKeys(name: string): VerifierKey[];
  /** Lines of the log at `warn` and above. */
  warnings(): string[];
  close(): Promise<void>;
}

export async function openTreeWorld(partitions: number): Promise<TreeWorld> {
  const stage = await openTestStage(partitions);
  const running: TreeStage[] = [];
  let keys = await makeKeys();
  let warnings: string[] = [];
  let sequence = 0;

  async function makeKeys(): Promise<SigningKeys> {
    return await ensureSigningKeys(await openBucket(stage.nc, BUCKETS.signing), SEALER);
  }

  function listeningLog() {
    const log = createLogger('test', process.env.TEST_LOG ?? 'silent');
    for (const level of ['warn', 'error'] as const) {
      const original = log[level].bind(log) as (...given: unknown[]) => void;
      Object.assign(log, {
        [level]: (...given: unknown[]) => {
          warnings.push(String(given.at(-1)));
          original(...given);
        },
      });
    }
    return log;
  }

  async function stopAll(): Promise<void> {
    const stopped = Promise.all(running.splice(0).map((tree) => tree.stop()));
    await Promise.race([stopped, new Promise((resolve) => setTimeout(resolve, 500))]);
  }

  const world: TreeWorld = {
    stage,
    events: memoryStore(),
    store: memoryTreeStore(() => world.events.rows),
    checkpoints: await openBucket(stage.nc, BUCKETS.checkpoints),
    reset: async () => {
      await stopAll();
      await stage.reset();
      world.events = memoryStore();
      world.store = memoryTreeStore(() => world.events.rows);
      world.checkpoints = await openBucket(stage.nc, BUCKETS.checkpoints);
      keys = await makeKeys();
      warnings = [];
      sequence = 0;
      world.signedEver = [];
    },
    chain: async (workspaceId, count, receivedAtMicros = Date.now() * 1000) => {
      sequence += 1;
      const source = { partition: partitionOf(workspaceId, partitions), epoch: await streamEpoch(stage.nc) };
      const message = readSample(
        sequence,
        workspaceId,
        Array.from({ length: count }, () => sampleEvent(workspaceId)),
        receivedAtMicros,
      );
      const rows = chainOf(source, [message], new Map([[workspaceId, headIn(world.events, workspaceId)]]));
      world.events.put(source, rows);
      return rows;
    },
    publish: async ([first, ...rest]) => {
      if (first === undefined) return;
      const group = { workspaceId: first.workspaceId, rows: [first, ...rest] as [ChainRow, ...ChainRow[]] };
      const subject = chainedSubject(partitionOf(first.workspaceId, partitions), first.workspaceId);
      await stage.publishRaw(subject, chainedPayload(group, crc32));
    },
    add: async (...given) => {
      const rows = await world.chain(...given);
      await world.publish(rows);
      return rows;
    },
    start: (options = {}) => {
      const tree = startTree({
        nc: stage.nc,
        store: world.store,
        events: world.events,
        buckets: world.buckets(),
        signingKeys: () => keys,
        sealer: SEALER,
        logOrigin: LOG_ORIGIN,
        partitions,
        log: listeningLog(),
        metrics: createMetrics('tree'),
        instance: 'the supervised process',
        ...options,
        timing: { ...TEST_TIMING, ...options.timing },
      });
      running.push(tree);
      return tree;
    },
    buckets: () => ({ ...stage.buckets, checkpoints: recording(world.checkpoints, world.signedEver) }),
    signedEver: [],
    signed: async (workspaceId) => {
      const entry = await world.checkpoints.get(workspaceId);
      return entry === undefined ? undefined : readCheckpointRecord(entry.value);
    },
    kept: (workspaceId) =>
      world.store.checkpointRows
        .filter((checkpoint) => checkpoint.workspaceId === workspaceId)
        .sort((a, b) => a.size - b.size),
    verifierKeys: (name) =>
      publishedKeys(keys, name).flatMap(({ verifier_key }) => parseVerifierKey(verifier_key ?? '') ?? []),
    warnings: () => warnings,
    close: async () => {
      await stopAll();
      await stage.close();
    },
  };
  return world;

  function headIn(events: MemoryStore, workspaceId: string): Head {
    const newest = events.rows
      .filter((row) => row.workspaceId === workspaceId)
      .reduce<Head>((head, row) => (row.seq > head.seq ? row : head), EMPTY_HEAD);
    return newest;
  }
}

function recording(bucket: Bucket, signed: TreeWorld['signedEver']): Bucket {
  function record(workspaceId: string, value: unknown, revision: number): number {
    signed.push({ workspaceId, record: readCheckpointRecord(value) });
    return revision;
  }
  return {
    ...bucket,
    create: async (key, value) => record(key, value, await bucket.create(key, value)),
    update: async (key, value, revision) => record(key, value, await bucket.update(key, value, revision)),
  };
}

function leavesIn(events: MemoryStore, workspaceId: string, size: number): Uint8Array[] {
  const leaves = events.rows
    .filter((row) => row.workspaceId === workspaceId && row.seq <= size)
    .sort((a, b) => a.seq - b.seq)
    .map((row) => leafHash(Buffer.from(row.eventHash, 'hex'), nativeHasher));
  if (leaves.length !== size) throw new Error(`there are ${leaves.length} events, not ${size}`);
  return leaves;
}

/** What is wrong with the checkpoints and tiles of a workspace that was signed up to `size`; nothing, if all is well. */
export function faultsOf(world: TreeWorld, workspaceId: string, size: number): string[] {
  const faults: string[] = [];
  const kept = new Map<number, string>();
  for (const row of world.kept(workspaceId)) {
    const name = logNameOf(LOG_ORIGIN, workspaceId);
    const verdict = verifyNote(row.note, world.verifierKeys(name), nativeHasher);
    const said = verdict.ok ? parseCheckpoint(verdict.text) : null;
    const root = Buffer.from(said?.root ?? []).toString('hex');
    if (said?.origin !== name || said.size !== row.size || root !== row.root) {
      faults.push(`the note of ${row.size} does not say what its row does`);
    }
    if ((kept.get(row.size) ?? row.root) !== row.root) faults.push(`${row.size} was signed with two roots`);
    kept.set(row.size, row.root);
  }
  for (const { record } of world.signedEver.filter((signed) => signed.workspaceId === workspaceId)) {
    if (kept.get(record.size) !== record.root) faults.push(`${record.size} was signed and is not kept`);
  }
  const leaves = leavesIn(world.events, workspaceId, size);
  for (const [signedSize, root] of kept) {
    const expected = Buffer.from(treeRoot(leaves.slice(0, signedSize), nativeHasher)).toString('hex');
    if (root !== expected) faults.push(`the root of ${signedSize} is not that of the events`);
  }
  if (!kept.has(size)) faults.push(`${size} is not signed, but ${[...kept.keys()]}`);
  const tiles = tilesIn(world.store.tileRows, workspaceId);
  for (const [key, hashes] of tilesOfLeaves(leaves, nativeHasher)) {
    if (tiles.get(key) !== Buffer.from(hashes).toString('hex'))
      faults.push(`tile ${key} is not that of the events`);
    tiles.delete(key);
  }
  for (const key of tiles.keys()) faults.push(`tile ${key} belongs to no event`);
  return [...faults, ...inconsistencies(kept, tilesOfLeaves(leaves, nativeHasher))];
}

/** By the proofs that anybody could ask for: each size that was signed is the beginning of the next. */
function inconsistencies(kept: ReadonlyMap<number, string>, tiles: Tiles): string[] {
  const sizes = [...kept.keys()].sort((a, b) => a - b);
  return sizes.slice(1).flatMap((secondSize, index) => {
    const firstSize = sizes[index] ?? 0;
    const path = rangeHashes(consistencyRanges(firstSize, secondSize), tiles, nativeHasher);
    const rootOf = (size: number) => Buffer.from(kept.get(size) ?? '', 'hex');
    const proof = { firstSize, secondSize, path };
    return verifyConsistency(proof, rootOf(firstSize), rootOf(secondSize), nativeHasher)
      ? []
      : [`${firstSize} and ${secondSize} are not consistent`];
  });
}
