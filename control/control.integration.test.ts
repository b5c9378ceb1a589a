import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createLogger } from '../infra/log.ts';
import { connectNats, type NatsConnection } from '../infra/nats/connect.ts';
import { type Bucket, openBucket } from '../infra/nats/kv.ts';
import { BUCKETS } from '../infra/nats/names.ts';
import { ensureStreams } from '../infra/nats/streams.ts';
import { startTestNats, type TestNats } from '../test/support/nats.ts';
import { readOrCreateInstall } from './install.ts';
import {
  authenticate,
  createKey,
  ensureKey,
  listKeys,
  newToken,
  revokeKey,
  tokenHash,
  watchKeys,
} from './keys.ts';
import {
  createWorkspace,
  ensureWorkspace,
  getWorkspace,
  listWorkspaces,
  newWorkspaceId,
  watchWorkspaces,
} from './workspaces.ts';

const log = createLogger('test', 'silent');
let server: TestNats;
let nc: NatsConnection;
/** Another process's connection. */
let elsewhere: NatsConnection;
let buckets: { install: Bucket; workspaces: Bucket; keys: Bucket };

beforeAll(async () => {
  server = await startTestNats();
  nc = await connectNats({ url: server.url, name: 'test', log });
  elsewhere = await connectNats({ url: server.url, name: 'elsewhere', log });
  await ensureStreams(nc, { replicas: 1, storeLimitBytes: 1024 ** 3 });
  buckets = {
    install: await openBucket(nc, BUCKETS.install),
    workspaces: await openBucket(nc, BUCKETS.workspaces),
    keys: await openBucket(nc, BUCKETS.keys),
  };
});

afterAll(async () => {
  await nc?.close();
  await elsewhere?.close();
  await server?.stop();
});

beforeEach(async () => {
  for (const bucket of Object.values(buckets)) {
    for (const key of await bucket.keys()) await bucket.delete(key);
  }
});

async function msUntil(condition: () => boolean): Promise<number> {
  const began = performance.now();
  while (!condition()) {
    if (performance.now() - began > 5_000) throw new Error(`did not happen within 5 s: ${condition}`);
    await sleep(2);
  }
  return performance.now() - began;
}

const WORKSPACE = 'ws_0123456789abcdef';

describe('keys', () => {
  it('are stored by their hash alone, and known elsewhere within a second, as is their end', async () => {
    const ring = await watchKeys(await openBucket(elsewhere, BUCKETS.keys));
    const { token, key } = await createKey(buckets.keys, {
      workspaceId: WORKSPACE,
      scopes: ['read', 'ingest', 'read'],
      label: 'ci',
    });
    expect(key).toMatchObject({ scopes: ['ingest', 'read'], prefix: token.slice(0, 12), label: 'ci' });
    expect(await buckets.keys.keys()).toEqual([tokenHash(token)]);
    expect(JSON.stringify((await buckets.keys.get(tokenHash(token)))?.value)).not.toContain(token);

    expect(await msUntil(() => ring.find(token) !== undefined)).toBeLessThan(1_000);
    expect(authenticate(ring, `Bearer ${token}`, 'ingest').id).toBe(key.id);

    await revokeKey(buckets.keys, key.id);
    expect(await msUntil(() => ring.find(token) === undefined)).toBeLessThan(1_000);
    expect(ring.whyRefused(token)).toContain('revoked');
    await ring.stop();
  });

  it('are all known once the watch resolves, and revoked ones stay listed', async () => {
    const made = [];
    for (let i = 0; i < 20; i++) {
      made.push(await createKey(buckets.keys, { workspaceId: WORKSPACE, scopes: ['read'], label: `${i}` }));
    }
    const ring = await watchKeys(await openBucket(elsewhere, BUCKETS.keys));
    expect(made.every(({ token }) => ring.find(token) !== undefined)).toBe(true);
    await ring.stop();

    const revoked = await revokeKey(buckets.keys, made[3]!.key.id);
    expect(await revokeKey(buckets.keys, made[3]!.key.id)).toEqual(revoked);
    const listed = await listKeys(buckets.keys, WORKSPACE);
    expect(listed.map((key) => key.label).sort()).toEqual(made.map(({ key }) => key.label).sort());
    expect(listed.map((key) => key.created_at)).toEqual(made.map(({ key }) => key.created_at));
    expect(listed.filter((key) => key.revoked_at !== null)).toEqual([revoked]);
    expect(await listKeys(buckets.keys, newWorkspaceId())).toEqual([]);
    await expect(revokeKey(buckets.keys, 'key_ffffffffffffffff')).rejects.toMatchObject({
      code: 'not_found',
    });
  });

  it('stay watched over a restart of the server', async () => {
    const ring = await watchKeys(await openBucket(elsewhere, BUCKETS.keys));
    const { token, key } = await createKey(buckets.keys, {
      workspaceId: WORKSPACE,
      scopes: ['read'],
      label: '',
    });
    await msUntil(() => ring.find(token) !== undefined);
    await server.kill9();
    expect(ring.find(token)).toBeDefined();
    await server.restart();
    await msUntilWritable();
    await revokeKey(buckets.keys, key.id);
    expect(await msUntil(() => ring.find(token) === undefined)).toBeLessThan(1_000);
    await ring.stop();
  });

  async function msUntilWritable(): Promise<void> {
    for (;;) {
      try {
        await buckets.keys.put('probe', null);
        return await buckets.keys.delete('probe');
      } catch {
        await sleep(50);
      }
    }
  }

  it('that cannot be read open nothing and stop nobody', async () => {
    const token = newToken();
    await buckets.keys.put(tokenHash(token), { scopes: 'all' });
    const ring = await watchKeys(buckets.keys, { log });
    expect(ring.find(token)).toBeUndefined();
    const good = await createKey(buckets.keys, { workspaceId: WORKSPACE, scopes: ['read'], label: '' });
    await msUntil(() => ring.find(good.token) !== undefined);
    await ring.stop();
    await buckets.keys.delete(tokenHash(token));
  });

  it('are made once for a token that was written down before, and stay revoked', async () => {
    const wanted = { token: newToken(), workspaceId: WORKSPACE, scopes: ['read'] as const, label: 'first' };
    const key = await ensureKey(buckets.keys, wanted);
    expect(await ensureKey(buckets.keys, wanted)).toEqual(key);
    await expect(createKey(buckets.keys, wanted)).rejects.toMatchObject({ code: 'conflict' });
    await revokeKey(buckets.keys, key.id);
    expect((await ensureKey(buckets.keys, wanted)).revoked_at).not.toBeNull();
  });

  it('are refused with scopes, labels or times that make no sense', async () => {
    const bad = [
      { workspaceId: WORKSPACE, scopes: [], label: '' },
      { workspaceId: WORKSPACE, scopes: ['operator'], label: '' },
      { workspaceId: null, scopes: ['read'], label: '' },
      { workspaceId: null, scopes: ['operator', 'read'], label: '' },
      { workspaceId: WORKSPACE, scopes: ['read'], label: 'x'.repeat(256) },
      { workspaceId: WORKSPACE, scopes: ['read'], label: '', expiresAt: 'tomorrow' },
      { workspaceId: WORKSPACE, scopes: ['read'], label: '', expiresAt: '2020-01-01T00:00:00Z' },
    ] as const;
    for (const wanted of bad) {
      await expect(createKey(buckets.keys, wanted)).rejects.toMatchObject({ code: 'validation_failed' });
    }
    expect(await buckets.keys.keys()).toEqual([]);
  });
});

describe('workspaces', () => {
  it('are made, listed oldest first, and known elsewhere within a second', async () => {
    const directory = await watchWorkspaces(await openBucket(elsewhere, BUCKETS.workspaces));
    const first = await createWorkspace(buckets.workspaces, { name: ' Acme ' });
    const second = await createWorkspace(buckets.workspaces, { name: 'Beta' });
    expect(first).toMatchObject({ name: 'Acme', plan: 'enterprise' });
    expect(await msUntil(() => directory.all().length === 2)).toBeLessThan(1_000);
    expect(directory.get(first.id)).toEqual(first);
    expect(await listWorkspaces(buckets.workspaces)).toEqual([first, second]);
    expect(await getWorkspace(buckets.workspaces, newWorkspaceId())).toBeUndefined();
    await directory.stop();
  });

  it('are made once by two starts at the same time', async () => {
    const wanted = { id: newWorkspaceId(), name: 'Default' };
    const other = await openBucket(elsewhere, BUCKETS.workspaces);
    const [mine, theirs] = await Promise.all([
      ensureWorkspace(buckets.workspaces, wanted),
      ensureWorkspace(other, wanted),
    ]);
    expect(mine).toEqual(theirs);
  });

  it('need a name', async () => {
    await expect(createWorkspace(buckets.workspaces, { name: '  ' })).rejects.toMatchObject({
      code: 'validation_failed',
      violations: [{ path: 'name' }],
    });
  });
});

describe('the install record', () => {
  it('is decided by one of two first starts', async () => {
    const other = await openBucket(elsewhere, BUCKETS.install);
    const [mine, theirs] = await Promise.all([
      readOrCreateInstall(buckets.install, { publicUrl: 'https://audit.example.com/log/' }),
      readOrCreateInstall(other, { publicUrl: 'https://audit.example.com/log/' }),
    ]);
    expect(mine).toEqual(theirs);
    expect(mine).toMatchObject({ partitions: 4, log_origin: 'audit.example.com/log' });
    expect(mine.operator_workspace_id).toMatch(/^ws_[0-9a-f]{16}$/);
  });

  it('has an origin of its own without a public address, which a later address does not change', async () => {
    const install = await readOrCreateInstall(buckets.install, { partitions: 16 });
    expect(install.log_origin).toMatch(/^immutable-[0-9a-f]{16}\.invalid$/);
    const later = { partitions: 16, publicUrl: 'https://audit.example.com' };
    expect(await readOrCreateInstall(buckets.install, later)).toEqual(install);
  });

  it('refuses a start that was told something else, saying what to set', async () => {
    await readOrCreateInstall(buckets.install, { partitions: 16, logOrigin: 'a.example' });
    await expect(readOrCreateInstall(buckets.install, { partitions: 4 })).rejects.toMatchObject({
      code: 'misconfigured',
      message: 'IMMUTABLE_PARTITIONS is 4, but this installation was made with 16, and it can never change.',
      nextStep: 'Set IMMUTABLE_PARTITIONS=16, or leave it out.',
    });
    await expect(readOrCreateInstall(buckets.install, { logOrigin: 'b.example' })).rejects.toMatchObject({
      code: 'misconfigured',
    });
  });
});
