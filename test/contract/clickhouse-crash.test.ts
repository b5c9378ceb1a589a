import { randomInt } from 'node:crypto';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { chdbSpec } from '../../infra/chdb/spec.ts';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts';
import { insertRows, row } from '../support/event-rows.ts';

let server: TestClickHouse;
let reader: ClickHouseClient;

beforeAll(async () => {
  server = await startTestClickHouse();
  reader = connectClickHouse(server.readerUrl);
});

afterAll(async () => {
  await reader?.close();
  await server?.stop();
});

const ROWS = 500;
const KILLS = 6;

test('kill -9 in the middle of inserts: what was acknowledged is there, once, and inserts are all or nothing', async () => {
  const acknowledged: number[] = [];
  let killing = true;
  const killer = (async () => {
    for (let kill = 0; kill < KILLS; kill++) {
      await sleep(randomInt(50, 400));
      await server.kill9();
      await server.restart();
    }
    killing = false;
  })();

  for (let batch = 0; killing || batch < 20; batch++) {
    await insertForSure(batch);
    acknowledged.push(batch);
  }
  await killer;

  expect(await countsByBatch()).toEqual(acknowledged.map((batch) => ({ batch, rows: ROWS })));
}, 60_000);

/** As the chain stage does: the same token until it is answered; another only where no row came of it. */
async function insertForSure(batch: number): Promise<void> {
  for (let suffix = 0; ; suffix++) {
    await untilAnswered(() => insertRows(server.writerUrl, rowsOf(batch), `0:batch:${batch}:${suffix}`));
    const stored = await untilAnswered(() => countOf(batch));
    if (stored > 0) return;
  }
}

function rowsOf(batch: number) {
  return Array.from({ length: ROWS }, (_, index) =>
    row({ workspaceId: 'ws_crash', seq: batch * ROWS + index + 1, streamSeq: batch + 1, streamIndex: index }),
  );
}

async function untilAnswered<T>(ask: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + 30_000;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await sleep(20);
    }
  }
}

async function countOf(batch: number): Promise<number> {
  const result = await reader.query({
    query: 'SELECT count() AS n FROM immutable.events WHERE stream_seq = {streamSeq:UInt64}',
    query_params: { streamSeq: batch + 1 },
    format: 'JSONEachRow',
  });
  const [found] = await result.json<{ n: number }>();
  return found?.n ?? 0;
}

async function countsByBatch(): Promise<{ batch: number; rows: number }[]> {
  const result = await reader.query({
    query: `SELECT toUInt32(stream_seq - 1) AS batch, toUInt32(count()) AS rows FROM immutable.events
      GROUP BY stream_seq ORDER BY stream_seq`,
    format: 'JSONEachRow',
  });
  return result.json();
}

test('a second process on the same directory, and a damaged one, are refused in one sentence', async () => {
  const { startChdbServer } = await import('../../infra/chdb/server.ts');
  const { createLogger } = await import('../../infra/log.ts');
  const options = {
    host: '127.0.0.1',
    port: 0,
    users: {},
    generations: '/nowhere',
    log: createLogger('test', 'silent'),
  };
  await expect(startChdbServer({ ...options, path: server.path })).rejects.toMatchObject({
    code: 'misconfigured',
    message: `${server.path} is in use by process ${server.pid}.`,
  });
  await expect(startChdbServer({ ...options, path: '/dev/null/data' })).rejects.toMatchObject({
    code: 'misconfigured',
  });
});

test('SIGTERM lets a running insert finish, and ends within seconds', async () => {
  const inserting = insertRows(server.writerUrl, rowsOf(1_000_000), 'last');
  await sleep(5);
  const startedAt = performance.now();
  await server.restart();
  expect(performance.now() - startedAt).toBeLessThan(10_000);
  const outcome = await inserting.then(() => ROWS).catch(() => undefined);
  const stored = await untilAnswered(() => countOf(1_000_000));
  expect([0, ROWS]).toContain(stored);
  if (outcome !== undefined) expect(stored).toBe(outcome);
});

test('a server that no longer answers queries, though it answers /ping, is not ready, and ends', async () => {
  const { origin, hostname: host, port } = new URL(server.adminUrl);
  const passwordsFile = join(server.path, '..', 'passwords.json');
  const spec = chdbSpec({ path: server.path, host, port: Number(port), passwordsFile });
  expect(await spec.ready()).toBe(true);
  rmSync(`${server.path}-scratch`, { recursive: true }); // Results go through its pipes.
  expect((await fetch(`${origin}/ping`)).ok).toBe(true);
  expect(await spec.ready()).toBe(false);
  const { pid } = server;
  await expect.poll(() => isAlive(pid), { timeout: 40_000, interval: 500 }).toBe(false);
  await server.restart();
  expect(await spec.ready()).toBe(true);
});

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

test('a part of the table that is damaged stops it, rather than being left out', async () => {
  await server.kill9();
  const files = readdirSync(server.path, { recursive: true, encoding: 'utf8' });
  for (const file of files.filter((name) => /\/2\d{5}_\d+_\d+_\d+\/checksums\.txt$/.test(name))) {
    writeFileSync(join(server.path, file), 'damaged');
  }
  await expect(server.restart()).rejects.toThrow('or damaged');
});
