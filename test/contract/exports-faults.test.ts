import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Bucket } from '../../infra/nats/kv.ts';
import type { ObjectStore } from '../../infra/object-store/types.ts';
import { FORMATS, type Format } from '../../query/export/format.ts';
import { type ExportJobs, openExportJobs, REMEMBERED_AT_MOST } from '../../query/export/jobs.ts';
import { DAY_MS, type ExportRecord } from '../../query/export/record.ts';
import { createExportSource, type ExportSource } from '../../query/export/source.ts';
import {
  type ExportProcess,
  type ExportWorld,
  ended,
  log,
  madeOf,
  mortal,
  startExportApi,
  startExportProcess,
  startExportWorld,
  until,
  untilEnded,
} from '../support/exports.ts';
import { chainEvents, insertSeeded, randomFrom, variedEvents } from '../support/seed.ts';

const WORKSPACE = 'ws_00000000000000a1';
const OTHER = 'ws_00000000000000b2';

let world: ExportWorld;
/** A process that serves the API and makes nothing. */
let observer: ExportJobs;

beforeAll(async () => {
  world = await startExportWorld();
  observer = await openExportJobs(world.bucket, { log });
  await insertSeeded(world.writer, chainEvents(WORKSPACE, variedEvents(250, randomFrom(1))));
  await insertSeeded(world.writer, chainEvents(OTHER, variedEvents(120, randomFrom(2))));
});

afterAll(async () => {
  await observer?.stop();
  await world?.stop();
});

function ask(workspaceId: string, format: Format = 'csv', filters: ExportRecord['filters'] = {}) {
  return observer.create(workspaceId, { format, filters, bom: false });
}

describe('another process', () => {
  test('takes over what a dead one began, at the part it had come to', async () => {
    const { id } = await ask(WORKSPACE, 'ndjson');
    const life = mortal(world, { at: 6, side: 'after' });
    // Signs of life would be among what it dies of, and on a busy machine all of it.
    const former = await startExportProcess(world, {
      ...life,
      instance: 'one',
      timing: { beatMs: 1_000_000 },
    });
    await life.death;
    const begun = (await observer.find(id))!.record;
    expect(begun).toMatchObject({ status: 'processing', runner: { instance: 'one' } });
    expect(begun.parts).toBeGreaterThan(0);

    const puts: string[] = [];
    const store: ObjectStore = {
      ...world.store,
      put: async (key, bytes) => {
        puts.push(key.slice(key.lastIndexOf('/') + 1));
        await world.store.put(key, bytes);
      },
    };
    const successor = await startExportProcess(world, { store, instance: 'two' });
    const record = await untilEnded(observer, id);
    expect(madeOf(world, record).manifest).toMatchObject({ rows: 250 });
    expect(puts).toEqual([
      ...Array.from(
        { length: record.parts - begun.parts },
        (_, index) => `part-${String(begun.parts + index).padStart(6, '0')}`,
      ),
      'manifest.json',
    ]);
    await Promise.all([former.stop(), successor.stop()]);
  });

  test('is not disturbed by one that was only asleep', async () => {
    let wake = () => {};
    const asleep = new Promise<void>((resolve) => {
      wake = resolve;
    });
    let updates = 0;
    let slept = 0;
    const bucket: Bucket = {
      ...world.bucket,
      update: async (key, value, revision) => {
        updates += 1;
        if (updates >= 4) {
          slept += 1;
          await asleep;
        }
        return await world.bucket.update(key, value, revision);
      },
    };
    const { id } = await ask(WORKSPACE, 'parquet');
    const sleeper = await startExportProcess(world, { bucket, instance: 'one' });
    await until(async () => (slept > 0 ? true : undefined));
    const successor = await startExportProcess(world, { instance: 'two' });
    const record = await untilEnded(observer, id);
    const made = madeOf(world, record);
    wake();
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect((await observer.find(id))!.record).toEqual(record);
    expect(madeOf(world, record)).toEqual(made);
    await Promise.all([sleeper.stop(), successor.stop()]);
  });

  test('goes on at once with what one that was stopped gave back', async () => {
    const { id } = await ask(WORKSPACE, 'csv');
    let reads = 0;
    const real = createExportSource(world.reader);
    const source: ExportSource = {
      ...real,
      rows: async (...asked) => {
        reads += 1;
        if (reads === 2) await new Promise((resolve) => setTimeout(resolve, 300));
        return await real.rows(...asked);
      },
    };
    const former = await startExportProcess(world, { source, instance: 'one' });
    await until(async () => (reads >= 2 ? true : undefined));
    await former.stop();
    expect((await observer.find(id))!.record).toMatchObject({ status: 'processing', runner: null });
    const successor = await startExportProcess(world, { instance: 'two', timing: { silentMs: 60_000 } });
    expect(madeOf(world, await untilEnded(observer, id)).manifest).toMatchObject({ rows: 250 });
    await successor.stop();
  });

  test('never does what one that lives does', async () => {
    const puts: string[] = [];
    const counting = (): ObjectStore => ({
      ...world.store,
      put: async (key, bytes) => {
        puts.push(key);
        await world.store.put(key, bytes);
      },
    });
    const processes: ExportProcess[] = [];
    for (const instance of ['one', 'two', 'three']) {
      processes.push(await startExportProcess(world, { store: counting(), instance }));
    }
    const jobs = await Promise.all([
      ...FORMATS.map((format) => ask(WORKSPACE, format)),
      ...FORMATS.map((format) => ask(OTHER, format)),
    ]);
    for (const { id } of jobs) madeOf(world, await untilEnded(observer, id));
    expect(new Set(puts).size).toBe(puts.length);
    await Promise.all(processes.map((one) => one.stop()));
  });
});

describe('what an export needs', () => {
  test('may be away for a while: ClickHouse', async () => {
    const worker = await startExportProcess(world);
    await world.clickhouse.kill9();
    const { id } = await ask(WORKSPACE, 'ndjson');
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect((await observer.find(id))!.record).toMatchObject({ status: 'processing', error_message: null });
    await world.clickhouse.restart();
    expect(madeOf(world, await untilEnded(observer, id)).manifest).toMatchObject({ rows: 250 });
    await worker.stop();
  });

  test('may be away for a while: the object store, and NATS in the middle', async () => {
    let failures = 4;
    const store: ObjectStore = {
      ...world.store,
      put: async (key, bytes) => {
        failures -= 1;
        if (failures === 2) await world.nats.restart();
        if (failures >= 0) throw Object.assign(new Error('the disk is gone'), { code: 'EIO' });
        await world.store.put(key, bytes);
      },
    };
    const worker = await startExportProcess(world, { store });
    const { id } = await ask(WORKSPACE, 'csv');
    expect(madeOf(world, await untilEnded(observer, id)).manifest).toMatchObject({ rows: 250 });
    await worker.stop();
  });

  test('is waited for 24 hours, and then the export fails in plain words and leaves nothing', async () => {
    const record = await ask(WORKSPACE, 'csv');
    const real = createExportSource(world.reader);
    let late = false;
    let reads = 0;
    const source: ExportSource = {
      ...real,
      rows: async (...asked) => {
        reads += 1;
        if (reads === 1) return await real.rows(...asked);
        late = true;
        throw new Error('no such thing');
      },
    };
    const worker = await startExportProcess(world, {
      source,
      now: () => Date.now() + (late ? DAY_MS + 60_000 : 0),
    });
    const failed = await untilEnded(observer, record.id);
    expect(failed).toMatchObject({ status: 'failed', runner: null });
    expect(failed.error_message).toContain('within 24 hours');
    expect(existsSync(join(world.folder, 'exports', WORKSPACE, record.id))).toBe(false);
    await worker.stop();
  });

  test('must not fail again and again in the same place', async () => {
    const { id } = await ask(WORKSPACE, 'csv');
    let reads = 0;
    const source: ExportSource = {
      ...createExportSource(world.reader),
      rows: async () => {
        reads += 1;
        throw new Error('always');
      },
    };
    const worker = await startExportProcess(world, { source });
    const failed = await untilEnded(observer, id);
    expect(failed.error_message).toContain('several times');
    expect(failed.error_message).not.toContain('always');
    expect(reads).toBeLessThanOrEqual(10);
    await worker.stop();
  });
});

describe('of one workspace', () => {
  test('five at most are under way, however many ask at once and wherever', async () => {
    const busy = 'ws_0000000000000555';
    const elsewhere = await openExportJobs(world.bucket, { log });
    const asked = await Promise.allSettled(
      Array.from({ length: 16 }, (_, index) =>
        (index % 2 === 0 ? observer : elsewhere).create(busy, { format: 'csv', filters: {}, bom: false }),
      ),
    );
    expect(asked.filter(({ status }) => status === 'fulfilled')).toHaveLength(5);
    const times = new Set(asked.map((one) => (one.status === 'fulfilled' ? one.value.created_at : '')));
    expect(times.size).toBe(6);

    const api = await startExportApi(observer, world.store);
    const refused = await api.as(busy, 'POST', '/exports');
    expect(refused.status).toBe(429);
    expect(refused.headers.get('retry-after')).toBe('30');
    expect(refused.json.error).toBe('rate_limited');
    // Of another workspace, it is nobody's business.
    expect((await api.as('ws_0000000000000556', 'POST', '/exports')).status).toBe(202);

    const worker = await startExportProcess(world);
    for (const one of asked) if (one.status === 'fulfilled') await untilEnded(observer, one.value.id);
    const { json } = await api.as(busy, 'POST', '/exports');
    expect((await ended(api, busy, json.data.id)).status).toBe('completed');
    await Promise.all([worker.stop(), elsewhere.stop(), api.stop()]);
  });

  test('a place taken by a process that died before it made the job is free again after a minute', async () => {
    const unlucky = 'ws_0000000000000557';
    const dying: Bucket = {
      ...world.bucket,
      create: (key, value) =>
        key.startsWith('exp_') ? Promise.reject(new Error('dead')) : world.bucket.create(key, value),
    };
    const former = await openExportJobs(dying, { log });
    const wanted = { format: 'csv' as const, filters: {}, bom: false };
    for (let n = 0; n < 5; n += 1) await expect(former.create(unlucky, wanted)).rejects.toThrow('dead');
    await expect(observer.create(unlucky, wanted)).rejects.toMatchObject({ code: 'rate_limited' });
    const later = await openExportJobs(world.bucket, { log, now: () => Date.now() + 61_000 });
    await later.create(unlucky, wanted);
    await Promise.all([former.stop(), later.stop()]);
  });

  test('no more are remembered than memory is meant for', async () => {
    const avid = 'ws_0000000000000558';
    const one = await ask(avid);
    for (let n = 1; n < REMEMBERED_AT_MOST; n += 1) {
      const id = `exp_${n.toString(16).padStart(16, '0')}`;
      await world.bucket.create(id, { ...one, id, status: 'completed' });
    }
    await until(async () => (observer.list(avid).length === REMEMBERED_AT_MOST ? true : undefined));
    await expect(ask(avid)).rejects.toMatchObject({ code: 'rate_limited' });
  });
});

describe('what has expired', () => {
  test('is gone after 7 days, shown until 30, and then unknown', async () => {
    const owner = 'ws_0000000000000777';
    let now = Date.now();
    const worker = await startExportProcess(world, { now: () => now });
    const api = await startExportApi(worker.jobs, world.store, { now: () => now });
    const { json } = await api.as(owner, 'POST', '/exports');
    const { id } = json.data;
    const pending = (await observer.find(id))!.record;
    const shown = await ended(api, owner, id);
    const download =
      new URL(shown.download_url).pathname.replace('/api/v1', '') + new URL(shown.download_url).search;
    const manifest =
      new URL(shown.manifest_url).pathname.replace('/api/v1', '') + new URL(shown.manifest_url).search;
    expect((await api.call(null, 'GET', download)).status).toBe(200);
    expect(Date.parse(shown.expires_at) - Date.parse(shown.created_at)).toBe(7 * DAY_MS);

    // What a doubled attempt left goes with it.
    await world.store.put(`exports/${owner}/${id}/part-000000`, Buffer.from('x'));
    now = Date.parse(shown.expires_at);
    for (const address of [download, manifest]) {
      const answer = await api.call(null, 'GET', address);
      expect(answer.status).toBe(410);
      expect(answer.json.error).toBe('gone');
    }
    await until(async () => ((await observer.find(id))?.record.removed ? true : undefined));
    expect(existsSync(join(world.folder, 'exports', owner))).toBe(false);
    expect((await api.as(owner, 'GET', `/exports/${id}`)).json.data).toMatchObject({
      status: 'completed',
      download_url: null,
      manifest_url: null,
    });
    expect((await api.call(null, 'GET', download)).status).toBe(410);

    now += 23 * DAY_MS;
    await until(async () => ((await observer.find(id)) === undefined ? true : undefined));
    expect((await api.as(owner, 'GET', `/exports/${id}`)).status).toBe(404);
    expect((await api.call(null, 'GET', download)).status).toBe(404);
    expect(pending.expires_at).toBe(shown.expires_at);
    await Promise.all([worker.stop(), api.stop()]);
  });

  test('cannot be fetched before it is completed either', async () => {
    const owner = 'ws_0000000000000778';
    const api = await startExportApi(observer, world.store);
    const record = await ask(owner);
    const { signLink } = await import('../../query/export/link.ts');
    const signature = signLink('download', record.id, record.expires_at, new Uint8Array(32).fill(7));
    const early = await api.call(null, 'GET', `/exports/${record.id}/download?signature=${signature}`);
    expect(early.status).toBe(409);
    expect(early.json.error).toBe('conflict');
    await api.stop();
  });
});
