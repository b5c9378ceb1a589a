import { partitionOf } from '../../control/partition.ts';
import { ensureSigningKeys, openSigningSeeds } from '../../control/signing-keys.ts';
import { checkpointText, signNote } from '../../core/checkpoint.ts';
import { parseTimestamp } from '../../core/time.ts';
import { leafHash } from '../../core/tree.ts';
import { createTreeBuilder } from '../../core/tree-builder.ts';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import { createNativeSigner } from '../../infra/ed25519.ts';
import { nativeHasher } from '../../infra/hash.ts';
import { createLogger } from '../../infra/log.ts';
import { createMetrics } from '../../infra/metrics.ts';
import { type Bucket, openBucket } from '../../infra/nats/kv.ts';
import { BUCKETS } from '../../infra/nats/names.ts';
import { createSealer } from '../../infra/seal.ts';
import { openTestStage, type TestStage } from '../../pipeline/chain/testing/stage.ts';
import { clickHouseTreeStore } from '../../pipeline/tree/clickhouse-store.ts';
import type { SignedCheckpoint } from '../../pipeline/tree/store.ts';
import { startTestClickHouse, type TestClickHouse } from '../../test/support/clickhouse.ts';
import { chainEvents, insertSeeded, type SeededEvent } from '../../test/support/seed.ts';
import type { AnchorRow } from '../batch.ts';
import { clickHouseAnchorStore } from '../clickhouse-store.ts';
import { type AnchorJob, type AnchorJobOptions, createAnchorJob } from '../job.ts';
import { createAnchorMetrics } from '../metrics.ts';
import { anchorRecords } from '../records.ts';
import { type FakeLedger, fakeLedger } from './fake-ledger.ts';

/* The anchor job on a real NATS server and a real ClickHouse, for tests. */

export const LOG_ORIGIN = 'log.test';
const SEALER = createSealer('11'.repeat(32), 'test');
const PARTITIONS = 4;

/** Events of one workspace, received at a time. */
export interface Growing {
  workspaceId: string;
  at: string;
  events: number;
}

export interface AnchorWorld {
  stage: TestStage;
  clickhouse: ClickHouseClient;
  /** Of the user that may do everything. */
  admin: ClickHouseClient;
  clock: { now: string };
  ledger: FakeLedger;
  buckets: AnchorJobOptions['buckets'];
  /** Another process of the job. */
  job(options?: Partial<AnchorJobOptions>): AnchorJob;
  options(more?: Partial<AnchorJobOptions>): AnchorJobOptions;
  records(): ReturnType<typeof anchorRecords>;
  /** Stores events and signs what they come to, at the ends of days too, as the stages before would. */
  grow(growings: readonly Growing[]): Promise<void>;
  /** Rows of batches that were decided on, in the order of periods and leaves. */
  rows(): Promise<AnchorRow[]>;
  /** What is read of the batches, in their order. */
  copies(): Promise<{ id: string; status: string; reason: string; tx_hash: string }[]>;
  alarms(): Promise<string[]>;
  /** Other streams, empty tables. */
  reset(): Promise<void>;
  close(): Promise<void>;
}

export function workspace(number: number): string {
  return `ws_${number.toString(16).padStart(16, '0')}`;
}

export async function openAnchorWorld(): Promise<AnchorWorld> {
  const stage = await openTestStage(PARTITIONS);
  const server: TestClickHouse = await startTestClickHouse();
  const clickhouse = connectClickHouse(server.writerUrl);
  const admin = connectClickHouse(server.adminUrl);
  const treeStore = clickHouseTreeStore(clickhouse);
  const signer = createNativeSigner();
  const chains = new Map<string, SeededEvent[]>();
  const clock = { now: '2026-11-24T00:05:00Z' };
  const now = () => Date.parse(clock.now);
  let seed: Uint8Array;

  async function openBuckets(): Promise<AnchorJobOptions['buckets']> {
    const keys = await ensureSigningKeys(await openBucket(stage.nc, BUCKETS.signing), SEALER);
    [seed = new Uint8Array()] = openSigningSeeds(keys, SEALER, Date.now());
    return {
      ...stage.buckets,
      checkpoints: await openBucket(stage.nc, BUCKETS.checkpoints),
      anchors: await openBucket(stage.nc, BUCKETS.anchors),
    };
  }

  /** Continues the chain; resolves to what is new of it. */
  function chain({ workspaceId, at, events }: Growing): SeededEvent[] {
    const before = chains.get(workspaceId) ?? [];
    const head = before.at(-1);
    const more = chainEvents(
      workspaceId,
      Array.from({ length: events }, () => ({ actor_id: 'tester', action: 'thing.done' })),
      {
        startMicros: parseTimestamp(at) ?? 0,
        stepMicros: 1_000_000,
        ...(head === undefined ? {} : { head }),
      },
    );
    chains.set(workspaceId, [...before, ...more]);
    return more;
  }

  function checkpoints(workspaceId: string, from: number): SignedCheckpoint[] {
    const all = chains.get(workspaceId) ?? [];
    const builder = createTreeBuilder(0, new Map(), nativeHasher);
    const signed: SignedCheckpoint[] = [];
    for (const [index, { eventHash, createdAt }] of all.entries()) {
      builder.append(leafHash(Buffer.from(eventHash, 'hex'), nativeHasher));
      const next = all[index + 1];
      const isEnd = next === undefined || next.createdAt.slice(0, 10) !== createdAt.slice(0, 10);
      if (!isEnd || builder.size <= from) continue;
      const name = `${LOG_ORIGIN}/${workspaceId}`;
      const root = builder.root();
      const text = checkpointText(name, builder.size, root);
      signed.push({
        workspaceId,
        size: builder.size,
        root: Buffer.from(root).toString('hex'),
        note: signNote(text, { name, seed }, nativeHasher, signer),
        cosignatures: 0,
        isWitnessed: false,
        signedAt: createdAt,
      });
    }
    return signed;
  }

  async function keepSigned(bucket: Bucket, { workspaceId, size, root, note, signedAt }: SignedCheckpoint) {
    const last = chains.get(workspaceId)?.[size - 1];
    await bucket.put(workspaceId, {
      size,
      root,
      note,
      signed_at: signedAt,
      last_created_at: last?.createdAt,
      last_event_hash: last?.eventHash,
    });
  }

  const world: AnchorWorld = {
    stage,
    clickhouse,
    admin,
    clock,
    ledger: fakeLedger({ now }),
    buckets: await openBuckets(),
    job: (more) => createAnchorJob(world.options(more)),
    options: (more = {}) => ({
      nc: stage.nc,
      store: clickHouseAnchorStore(clickhouse),
      buckets: world.buckets,
      signingKeys: async () => await ensureSigningKeys(await openBucket(stage.nc, BUCKETS.signing), SEALER),
      logOrigin: LOG_ORIGIN,
      partitions: PARTITIONS,
      ledger: world.ledger,
      maxFeePerGasWei: 5_000_000_000n,
      log: createLogger('test', process.env.TEST_LOG ?? 'silent'),
      metrics: createAnchorMetrics(createMetrics('anchor')),
      now,
      ...more,
    }),
    records: () => anchorRecords(world.buckets.anchors),
    async grow(growings) {
      const from = new Map(
        growings.map(({ workspaceId }) => [workspaceId, chains.get(workspaceId)?.length ?? 0]),
      );
      const events = growings.flatMap(chain);
      const signed = [...from].flatMap(([workspaceId, size]) => checkpoints(workspaceId, size));
      await insertSeeded(clickhouse, events);
      await treeStore.writeCheckpoints(signed);
      const newest = new Map(signed.map((one) => [one.workspaceId, one]));
      const waiting = [...newest.values()];
      while (waiting.length > 0) {
        await Promise.all(waiting.splice(0, 64).map((one) => keepSigned(world.buckets.checkpoints, one)));
      }
    },
    async rows() {
      const store = clickHouseAnchorStore(clickhouse);
      const batches = await world.records().batches();
      const rows: AnchorRow[] = [];
      for (const { batch } of batches) rows.push(...(await store.anchorsOf(batch)));
      return rows;
    },
    async copies() {
      const answer = await clickhouse.query({
        query: `SELECT id, status, reason, tx_hash FROM ${TABLES.anchorBatches} FINAL ORDER BY period_end`,
        format: 'JSONEachRow',
      });
      return await answer.json();
    },
    alarms: async () => (await world.buckets.alarms.keys()).sort(),
    async reset() {
      await stage.reset();
      world.buckets = await openBuckets();
      world.ledger = fakeLedger({ now });
      chains.clear();
      for (const table of [TABLES.events, TABLES.checkpoints, TABLES.anchors, TABLES.anchorBatches]) {
        await admin.command({ query: `TRUNCATE TABLE ${table}` });
      }
    },
    async close() {
      await stage.close();
      await clickhouse.close();
      await admin.close();
      await server.stop();
    },
  };
  return world;
}

/** The partition of EVENTS that a workspace's events are in. */
export function partitionInWorld(workspaceId: string): number {
  return partitionOf(workspaceId, PARTITIONS);
}
