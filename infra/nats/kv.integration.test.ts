import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startTestNats, type TestNats } from '../../test/support/nats.ts';
import { createLogger } from '../log.ts';
import { jetStreamClockSkewMs } from './clock.ts';
import { connectionState, connectNats, type NatsConnection } from './connect.ts';
import { type Bucket, type Entry, openBucket } from './kv.ts';
import { ensureStreams } from './streams.ts';
import { checkSyncAlways, smallestStoreBytes } from './sync-check.ts';

const log = createLogger('test', 'silent');

describe('a bucket', () => {
  let server: TestNats;
  let nc: NatsConnection;
  let bucket: Bucket;

  beforeAll(async () => {
    server = await startTestNats();
    nc = await connectNats({ url: server.url, name: 'test', log });
    await ensureStreams(nc, { replicas: 1, storeLimitBytes: 1024 ** 3 });
    bucket = await openBucket(nc, 'workspaces');
  });
  afterAll(async () => {
    await nc?.close();
    await server?.stop();
  });

  it('keeps JSON under keys', async () => {
    expect(await bucket.get('ws_1')).toBeUndefined();
    const revision = await bucket.create('ws_1', { name: 'Zoë', tags: [1, null] });
    expect(await bucket.get('ws_1')).toEqual({
      key: 'ws_1',
      value: { name: 'Zoë', tags: [1, null] },
      revision,
    });
    expect(await bucket.put('ws_1', 'other')).toBeGreaterThan(revision);
    expect(await bucket.keys()).toEqual(['ws_1']);
    await bucket.delete('ws_1');
    expect(await bucket.get('ws_1')).toBeUndefined();
    expect(await bucket.keys()).toEqual([]);
  });

  it('lets only one of two writers change what both have read', async () => {
    const revision = await bucket.create('ws_2', 1);
    await expect(bucket.create('ws_2', 2)).rejects.toMatchObject({ code: 'conflict' });
    const next = await bucket.update('ws_2', 2, revision);
    await expect(bucket.update('ws_2', 3, revision)).rejects.toMatchObject({ code: 'conflict' });
    await expect(bucket.delete('ws_2', revision)).rejects.toMatchObject({ code: 'conflict' });
    await bucket.delete('ws_2', next);
    expect(await bucket.create('ws_2', 4)).toBeGreaterThan(next);
    await bucket.delete('ws_2');
  });

  it('tells a watcher what is there, and then what changes', async () => {
    await bucket.put('a', 1);
    await bucket.put('b', 2);
    await bucket.put('gone', 3);
    await bucket.delete('gone');
    const seen = new Map<string, unknown>();
    const stop = await bucket.watch(record(seen));
    expect(seen).toEqual(
      new Map([
        ['a', 1],
        ['b', 2],
      ]),
    );
    await bucket.put('c', 3);
    await bucket.delete('a');
    await vi.waitFor(() =>
      expect(seen).toEqual(
        new Map([
          ['b', 2],
          ['c', 3],
        ]),
      ),
    );
    await stop();
    await bucket.put('d', 4);
    await sleep(50);
    expect(seen.has('d')).toBe(false);
    await Promise.all(['b', 'c', 'd'].map((key) => bucket.delete(key)));
  });

  it('is watched from the start even when it holds nothing', async () => {
    const empty = await openBucket(nc, 'keys');
    const seen = new Map<string, unknown>();
    const stop = await empty.watch(record(seen));
    expect(seen.size).toBe(0);
    await empty.put('first', true);
    await vi.waitFor(() => expect(seen.get('first')).toBe(true));
    await stop();
  });

  it('tells a watcher only of the keys that it wants', async () => {
    const mixed = await openBucket(nc, 'anchors');
    await mixed.put('batch.1', 1);
    await mixed.put('head.1', 1);
    const seen = new Map<string, unknown>();
    const stop = await mixed.watch(record(seen), 'batch.*');
    await mixed.put('head.2', 2);
    await mixed.put('batch.2', 2);
    await vi.waitFor(() => expect(seen.size).toBe(2));
    expect([...seen.keys()]).toEqual(['batch.1', 'batch.2']);
    await stop();
  });

  it('keeps what is put at the very moment a watch has told all that was there', async () => {
    const busy = await openBucket(nc, 'alarms');
    let number = 0;
    let writing = true;
    const writer = (async () => {
      for (; writing; number++) await busy.put(`key_${number}`, number);
    })();
    for (let round = 0; round < 40; round++) {
      const seen = new Map<string, unknown>();
      const stop = await busy.watch(record(seen));
      const written = number;
      await vi.waitFor(() => expect(seen.size).toBeGreaterThan(written));
      const missing = [...Array(written).keys()].filter((n) => !seen.has(`key_${n}`));
      expect(missing).toEqual([]);
      await stop();
    }
    writing = false;
    await writer;
  });

  it('tells a watcher what changed while the server was away', async () => {
    await bucket.put('kept', 1);
    await bucket.put('removed', 1);
    const seen = new Map<string, unknown>();
    const stop = await bucket.watch(record(seen));
    // Another process makes the changes at the moment the server is back, before this one has noticed.
    await server.kill9();
    await server.restart();
    const other = await connectNats({ url: server.url, name: 'other', log });
    const theirs = await openBucket(other, 'workspaces');
    await theirs.put('kept', 2);
    await theirs.delete('removed');
    await theirs.put('added', 1);
    await expect.poll(() => connectionState(nc).connected()).toBe(true);
    await vi.waitFor(
      () =>
        expect(seen).toEqual(
          new Map([
            ['kept', 2],
            ['added', 1],
          ]),
        ),
      { timeout: 5_000 },
    );
    await theirs.put('after', 1);
    await vi.waitFor(() => expect(seen.get('after')).toBe(1));
    await other.close();
    await stop();
  });

  it('stays watched over several losses in a row', async () => {
    const seen = new Map<string, unknown>();
    const stop = await bucket.watch(record(seen));
    for (let round = 0; round < 3; round++) {
      await server.restart();
      await expect.poll(() => connectionState(nc).connected()).toBe(true);
      await bucket.put('round', round);
      await vi.waitFor(() => expect(seen.get('round')).toBe(round), { timeout: 5_000 });
    }
    await stop();
  });

  it('holds what is not JSON as null', async () => {
    nc.publish('$KV.workspaces.odd', 'not json');
    await vi.waitFor(async () => expect(await bucket.get('odd')).toMatchObject({ value: null }));
    await bucket.delete('odd');
  });

  it('shows clocks that agree on one machine', async () => {
    expect(Math.abs(await jetStreamClockSkewMs(nc))).toBeLessThan(50);
  });
});

describe('the check that servers sync before they acknowledge', () => {
  it('passes the embedded server, and fails when one of several does not, or does not answer', async () => {
    const [careful, careless] = await Promise.all([startTestNats(), startTestNats()]);
    await checkSyncAlways([careful.monitorUrl]);
    expect(await smallestStoreBytes([careful.monitorUrl])).toBeGreaterThan(1024 ** 3);

    const config = join(careless.storeDir, 'nats-server.conf');
    writeFileSync(config, readFileSync(config, 'utf8').replace('"always"', '"2m"'));
    await careless.restart();
    await expect(checkSyncAlways([careful.monitorUrl, careless.monitorUrl])).rejects.toMatchObject({
      code: 'misconfigured',
      message: expect.stringContaining(careless.monitorUrl),
    });
    await careless.kill9();
    await expect(checkSyncAlways([careful.monitorUrl, careless.monitorUrl])).rejects.toMatchObject({
      code: 'unavailable',
    });
    await Promise.all([careful.stop(), careless.stop()]);
  });
});

function record(seen: Map<string, unknown>) {
  return (key: string, entry: Entry | undefined) => {
    if (entry === undefined) seen.delete(key);
    else seen.set(key, entry.value);
  };
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
