import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { holdWorkspace, releaseWorkspace, setRetention } from '../../control/retention.ts';
import { createWorkspace, newWorkspaceId, setPlan } from '../../control/workspaces.ts';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import { createLogger } from '../../infra/log.ts';
import { connectNats, type NatsConnection } from '../../infra/nats/connect.ts';
import { type Bucket, openBucket, type Stop } from '../../infra/nats/kv.ts';
import { BUCKETS } from '../../infra/nats/names.ts';
import { ensureStreams } from '../../infra/nats/streams.ts';
import { startTestClickHouse, type TestClickHouse } from '../../test/support/clickhouse.ts';
import { startTestNats, type TestNats } from '../../test/support/nats.ts';
import { recordWindows } from './window-recorder.ts';

const log = createLogger('test', 'silent');

let nats: TestNats;
let nc: NatsConnection;
let server: TestClickHouse;
let clickhouse: ClickHouseClient;
let workspaces: Bucket;
const stops: Stop[] = [];

beforeAll(async () => {
  nats = await startTestNats();
  nc = await connectNats({ url: nats.url, name: 'test', log });
  await ensureStreams(nc, { replicas: 1, storeLimitBytes: 1024 ** 3 });
  workspaces = await openBucket(nc, BUCKETS.workspaces);
  server = await startTestClickHouse();
  clickhouse = connectClickHouse(server.writerUrl);
}, 120_000);
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});
afterAll(async () => {
  await clickhouse?.close();
  await nc?.close();
  await Promise.all([server?.stop(), nats?.stop()]);
});

async function startRecorder(): Promise<void> {
  stops.push(await recordWindows({ workspaces, clickhouse, log, retryMs: 50 }));
}

async function recordedDays(workspaceId: string): Promise<number | undefined> {
  const result = await clickhouse.query({
    query: `SELECT argMax(days, revision) AS days FROM ${TABLES.retentionWindows}
      WHERE workspace_id = {workspaceId:String} GROUP BY workspace_id`,
    query_params: { workspaceId },
    format: 'JSONEachRow',
  });
  return (await result.json<{ days: number }>())[0]?.days;
}

async function untilRecorded(workspaceId: string, days: number): Promise<void> {
  await expect.poll(() => recordedDays(workspaceId), { timeout: 10_000, interval: 20 }).toBe(days);
}

async function newWorkspace(plan: 'free' | 'enterprise'): Promise<string> {
  return (await createWorkspace(workspaces, { name: 'Test', plan })).id;
}

test('records what was set before, and everything that changes it', async () => {
  const before = await newWorkspace('free');
  await startRecorder();
  await untilRecorded(before, 30);
  const { id } = await createWorkspace(workspaces, { name: 'Test', plan: 'starter' });
  await untilRecorded(id, 90);
  await setPlan(workspaces, id, 'free');
  await untilRecorded(id, 30);
  await setRetention(workspaces, id, 7);
  await untilRecorded(id, 7);
  await holdWorkspace(workspaces, id, 'case 7');
  await untilRecorded(id, 0);
  await releaseWorkspace(workspaces, id);
  await untilRecorded(id, 7);
  await setRetention(workspaces, id, null);
  await untilRecorded(id, 0);
  await setRetention(workspaces, id, 'plan');
  await untilRecorded(id, 30);
});

test('makes up for what changed while it did not run, or ClickHouse was away', async () => {
  const id = await newWorkspace('free');
  await startRecorder();
  await untilRecorded(id, 30);
  await stops.pop()?.();
  await setRetention(workspaces, id, 8);
  await startRecorder();
  await untilRecorded(id, 8);
  await server.kill9();
  await setRetention(workspaces, id, 9);
  await setRetention(workspaces, id, 10);
  await server.restart();
  await untilRecorded(id, 10);
});

test('two at once end up with what the last change says', async () => {
  const id = await newWorkspace('free');
  await startRecorder();
  await startRecorder();
  for (let days = 40; days > 20; days--) await setRetention(workspaces, id, days);
  await untilRecorded(id, 21);
  await Promise.all(stops.map((stop) => stop()));
  expect(await recordedDays(id)).toBe(21);
});

test('a bucket that was restored, and counts from further below, is believed', async () => {
  const id = await newWorkspace('free');
  const values = [{ workspace_id: id, days: 365, revision: 1_000_000 }];
  await clickhouse.insert({ table: TABLES.retentionWindows, values, format: 'JSONEachRow' });
  await startRecorder();
  await untilRecorded(id, 30);
  await setPlan(workspaces, id, 'starter');
  await untilRecorded(id, 90);
});

test('a record that cannot be read is left out, and the others are recorded', async () => {
  const broken = newWorkspaceId();
  await workspaces.put(broken, { id: broken, plan: 'gold' });
  const id = await newWorkspace('free');
  await startRecorder();
  await untilRecorded(id, 30);
  expect(await recordedDays(broken)).toBeUndefined();
  await workspaces.delete(broken);
});
