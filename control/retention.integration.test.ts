import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createLogger } from '../infra/log.ts';
import { connectNats, type NatsConnection } from '../infra/nats/connect.ts';
import { type Bucket, openBucket } from '../infra/nats/kv.ts';
import { BUCKETS } from '../infra/nats/names.ts';
import { ensureStreams } from '../infra/nats/streams.ts';
import { startTestNats, type TestNats } from '../test/support/nats.ts';
import { holdWorkspace, releaseWorkspace, retainedFrom, setRetention } from './retention.ts';
import { createWorkspace, getWorkspace, setPlan } from './workspaces.ts';

const DAY_MS = 24 * 3600 * 1000;
const NOW_MS = Date.UTC(2026, 5, 30);

describe('the retention of a workspace', () => {
  let server: TestNats;
  let nc: NatsConnection;
  let bucket: Bucket;

  beforeAll(async () => {
    server = await startTestNats();
    nc = await connectNats({ url: server.url, name: 'test', log: createLogger('test', 'silent') });
    await ensureStreams(nc, { replicas: 1, storeLimitBytes: 1024 ** 3 });
    bucket = await openBucket(nc, BUCKETS.workspaces);
  });
  afterAll(async () => {
    await nc?.close();
    await server?.stop();
  });

  it('is unlimited on Enterprise until it is set, and whenever it is set to that', async () => {
    const workspace = await createWorkspace(bucket, { name: 'Test' });
    expect(retainedFrom(workspace, NOW_MS)).toBeUndefined();
    expect(retainedFrom(undefined, NOW_MS)).toBeUndefined();
    const limited = await setRetention(bucket, workspace.id, 30);
    expect(retainedFrom(limited, NOW_MS)).toBe((NOW_MS - 30 * DAY_MS) * 1000);
    expect(await getWorkspace(bucket, workspace.id)).toEqual(limited);
    expect(retainedFrom(await setRetention(bucket, workspace.id, null), NOW_MS)).toBeUndefined();
  });

  it('is that of the plan, until it is set and after it is left to the plan again', async () => {
    const { id } = await createWorkspace(bucket, { name: 'Test', plan: 'starter' });
    const from = async () => retainedFrom(await getWorkspace(bucket, id), NOW_MS);
    expect(await from()).toBe((NOW_MS - 90 * DAY_MS) * 1000);
    await setPlan(bucket, id, 'free');
    expect(await from()).toBe((NOW_MS - 30 * DAY_MS) * 1000);
    await setRetention(bucket, id, null);
    expect(await from()).toBeUndefined();
    expect(await setRetention(bucket, id, 'plan')).toEqual(await getWorkspace(bucket, id));
    expect(await from()).toBe((NOW_MS - 30 * DAY_MS) * 1000);
    await expect(setPlan(bucket, 'ws_ffffffffffffffff', 'pro')).rejects.toMatchObject({ code: 'not_found' });
  });

  it('gives way to a legal hold', async () => {
    const { id } = await createWorkspace(bucket, { name: 'Test' });
    await setRetention(bucket, id, 1);
    const held = await holdWorkspace(bucket, id, ' case 7 ', () => NOW_MS);
    expect(held.legal_hold).toEqual({ reason: 'case 7', since: '2026-06-30T00:00:00.000000Z' });
    expect(retainedFrom(held, NOW_MS)).toBeUndefined();
    expect(retainedFrom(await releaseWorkspace(bucket, id), NOW_MS)).toBe((NOW_MS - DAY_MS) * 1000);
  });

  it('keeps what two people change at the same time', async () => {
    const { id } = await createWorkspace(bucket, { name: 'Test' });
    await Promise.all([setRetention(bucket, id, 7), holdWorkspace(bucket, id, 'case 8')]);
    expect(await getWorkspace(bucket, id)).toMatchObject({
      name: 'Test',
      retention_days: 7,
      legal_hold: { reason: 'case 8' },
    });
  });

  it('refuses what makes no sense', async () => {
    const { id } = await createWorkspace(bucket, { name: 'Test' });
    for (const days of [0, -1, 1.5, Number.NaN, 36_501]) {
      await expect(setRetention(bucket, id, days)).rejects.toMatchObject({ code: 'validation_failed' });
    }
    for (const reason of ['', '  ', 'x'.repeat(256)]) {
      await expect(holdWorkspace(bucket, id, reason)).rejects.toMatchObject({ code: 'validation_failed' });
    }
    await expect(setRetention(bucket, 'ws_ffffffffffffffff', 1)).rejects.toMatchObject({ code: 'not_found' });
  });
});
