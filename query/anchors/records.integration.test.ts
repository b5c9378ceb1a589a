import { pino } from 'pino';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { batchKey, headKey } from '../../control/anchors.ts';
import { connectNats, type NatsConnection } from '../../infra/nats/connect.ts';
import { type Bucket, openBucket } from '../../infra/nats/kv.ts';
import { BUCKETS } from '../../infra/nats/names.ts';
import { ensureStreams } from '../../infra/nats/streams.ts';
import { startTestNats, type TestNats } from '../../test/support/nats.ts';
import { watchAnchorRecords } from './records.ts';

const log = pino({ level: 'silent' });
const BATCH = {
  number: 1,
  id: 'ab'.repeat(16),
  period_end: '2026-03-16T00:00:00.000000Z',
  created_at: '2026-03-16T00:05:00.000000Z',
  anchor_root: 'cd'.repeat(32),
  leaves: 1,
  status: 'pending',
  reason: null,
  chain_id: null,
  contract: null,
  attempts: [],
  nonce_lost_at: null,
  inclusion: null,
  has_heads: true,
  updated_at: '2026-03-16T00:05:00.000000Z',
};

let broker: TestNats;
let nc: NatsConnection;
let bucket: Bucket;

beforeAll(async () => {
  broker = await startTestNats();
  nc = await connectNats({ url: broker.url, name: 'test', log });
  await ensureStreams(nc, { replicas: 1, storeLimitBytes: 1e9 });
  bucket = await openBucket(nc, BUCKETS.anchors);
});
afterAll(async () => {
  await nc?.close();
  await broker?.stop();
});

it('knows the records there are, those that come, and goes on past one that cannot be read', async () => {
  await bucket.put(batchKey(1), BATCH);
  await bucket.put(batchKey(2), { ...BATCH, number: 2, id: 'no id' });
  await bucket.put(headKey('ws_00000000000000a1'), {
    anchor_id: `anc_${'0'.repeat(32)}`,
    period_end: BATCH.period_end,
    size: 7,
    checkpoint_hash: 'ef'.repeat(32),
    number: 1,
  });
  const records = await watchAnchorRecords(bucket, log);
  expect(records.batch(BATCH.id)).toMatchObject({ record: BATCH, revision: 1 });
  expect(records.batch('no id')).toBeUndefined();
  expect(await records.head('ws_00000000000000a1')).toMatchObject({ size: 7 });
  expect(await records.head('ws_00000000000000e0')).toBeUndefined();

  const revision = await bucket.put(batchKey(1), { ...BATCH, status: 'submitted' });
  const deadline = performance.now() + 5_000;
  while (records.batch(BATCH.id)?.revision !== revision && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  expect(records.batch(BATCH.id)).toMatchObject({ record: { status: 'submitted' }, revision });
  await records.stop();
});
