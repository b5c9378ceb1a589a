import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { jetstreamManager } from '@nats-io/jetstream';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createKeyRing, newToken, tokenHash } from '../control/keys.ts';
import { partitionOf } from '../control/partition.ts';
import { decodeQueued } from '../core/message.ts';
import { openGeo } from '../infra/geo/geo.ts';
import { crc32 } from '../infra/hash.ts';
import { startHttpServer } from '../infra/http/server.ts';
import type { HttpServer } from '../infra/http/types.ts';
import { createMetrics } from '../infra/metrics.ts';
import { connectNats, type NatsConnection } from '../infra/nats/connect.ts';
import { openBucket } from '../infra/nats/kv.ts';
import { BUCKETS, eventsSubject, STREAM_EVENTS } from '../infra/nats/names.ts';
import { findNatsServer } from '../infra/nats/server.ts';
import { readMessage, streamState } from '../infra/nats/stream-info.ts';
import { ensureStreams } from '../infra/nats/streams.ts';
import { freePort, startTestNats, type TestNats } from '../test/support/nats.ts';
import { type Ingest, startIngest } from './main.ts';

const log = pino({ level: 'silent' });
const WORKSPACE = 'ws_0123456789abcdef';
const PARTITIONS = 4;
const STORE_BYTES = 1024 ** 3;
const token = newToken();

interface Edge {
  nc: NatsConnection;
  ingest: Ingest;
  server: HttpServer;
  post(
    event: unknown,
    path?: string,
  ): Promise<{ status: number; retryAfter: string | null; body: Record<string, unknown> }>;
  stop(): Promise<void>;
}

async function startEdge(
  nats: { url: string; monitorUrl: string },
  { allowUnsyncedNats = false, storeLimitBytes = STORE_BYTES } = {},
): Promise<Edge> {
  const nc = await connectNats({ url: nats.url, name: 'edge', log });
  await ensureStreams(nc, { replicas: 1, storeLimitBytes });
  const keyRing = createKeyRing();
  keyRing.set(tokenHash(token), {
    id: 'key_0123456789abcdef',
    workspace_id: WORKSPACE,
    scopes: ['ingest'],
    label: '',
    prefix: token.slice(0, 12),
    created_at: '2026-01-01T00:00:00.000000Z',
    expires_at: null,
    revoked_at: null,
  });
  const ingest = await startIngest({
    nc,
    keyRing,
    alarms: await openBucket(nc, BUCKETS.alarms),
    findKnownIds: async () => new Set(),
    geo: await openGeo(),
    partitions: PARTITIONS,
    trustedProxies: [],
    monitorUrls: [nats.monitorUrl],
    allowUnsyncedNats,
    log,
    metrics: createMetrics('edge'),
  });
  const server = await startHttpServer({
    kind: 'uws',
    host: '127.0.0.1',
    port: 0,
    routes: ingest.routes,
    log,
  });
  return {
    nc,
    ingest,
    server,
    post: async (event, path = '/events') => {
      const response = await fetch(`http://127.0.0.1:${server.port}/api/v1${path}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}` },
        body: JSON.stringify(event),
      });
      const body: unknown = await response.json();
      return {
        status: response.status,
        retryAfter: response.headers.get('retry-after'),
        body: typeof body === 'object' ? { ...body } : {},
      };
    },
    stop: async () => {
      await server.close(1_000);
      await ingest.drain(1_000);
      await nc.close();
    },
  };
}

/** Everything in EVENTS, in its order. */
async function storedEvents(
  nc: NatsConnection,
): Promise<{ id: string; subject: string; body: Record<string, unknown> }[]> {
  const { firstSequence, lastSequence } = await streamState(nc, STREAM_EVENTS);
  const events = [];
  for (let sequence = firstSequence; sequence <= lastSequence; sequence += 1) {
    const message = await readMessage(nc, STREAM_EVENTS, sequence);
    if (message === undefined) continue;
    for (const event of decodeQueued(message.payload, crc32).events) {
      events.push({ id: event.id, subject: message.subject, body: JSON.parse(event.body) });
    }
  }
  return events;
}

const event = (name: string) => ({ actor_id: 'user_1', action: 'document.viewed', resource_id: name });

describe('the edge on a real stream', () => {
  let nats: TestNats;
  let edge: Edge;
  beforeAll(async () => {
    nats = await startTestNats();
    edge = await startEdge(nats);
  });
  afterAll(async () => {
    await edge.stop();
    await nats.stop();
  });

  it('stores what it answers 202 to, under the subject of the workspace', async () => {
    const single = await edge.post({ ...event('single'), ip_address: '81.2.69.142' });
    const batch = await edge.post({ events: [event('b0'), {}, event('b2')] }, '/events/batch');
    expect([single.status, batch.status]).toEqual([202, 202]);
    const stored = await storedEvents(edge.nc);
    expect(stored.map(({ body }) => body.resource_id)).toEqual(['single', 'b0', 'b2']);
    expect(stored[0]).toMatchObject({ id: single.body.id, body: { ip_country: 'GB' } });
    const subject = eventsSubject(partitionOf(WORKSPACE, PARTITIONS), WORKSPACE);
    expect(new Set(stored.map((each) => each.subject))).toEqual(new Set([subject]));
    expect(edge.ingest.ready()).toEqual([]);
  });

  it('refuses the partition whose chain is stopped, until the alarm is gone', async () => {
    const alarms = await openBucket(edge.nc, BUCKETS.alarms);
    const partition = partitionOf(WORKSPACE, PARTITIONS);
    await alarms.put(`partition.${(partition + 1) % PARTITIONS}`, { message: 'stream made anew' });
    await delay(50);
    expect((await edge.post(event('a'))).status).toBe(202);
    await alarms.put(`partition.${partition}`, { message: 'stream made anew' });
    await expect.poll(() => edge.post(event('b'))).toMatchObject({ status: 503, retryAfter: '5' });
    await alarms.delete(`partition.${partition}`);
    await expect.poll(async () => (await edge.post(event('c'))).status).toBe(202);
  });

  it('loses and doubles nothing when NATS is killed again and again', { timeout: 60_000 }, async () => {
    const before = new Set((await storedEvents(edge.nc)).map(({ id }) => id));
    const acknowledged: string[] = [];
    const unavailable: number[] = [];
    let going = true;
    async function client(name: number): Promise<void> {
      for (let request = 0; going; request += 1) {
        const answer = await edge.post(
          { events: [event(`${name}.${request}.0`), event(`${name}.${request}.1`)] },
          '/events/batch',
        );
        if (answer.status === 202) acknowledged.push(...idsOf(answer.body.events));
        else {
          unavailable.push(answer.status);
          expect(Number(answer.retryAfter)).toBeGreaterThan(0);
          await delay(20);
        }
      }
    }
    const clients = Array.from({ length: 8 }, (_, name) => client(name));
    for (let round = 0; round < 3; round += 1) {
      await delay(300);
      await nats.kill9();
      await delay(100);
      await nats.restart();
      const soFar = acknowledged.length;
      await expect.poll(() => acknowledged.length, { timeout: 15_000 }).toBeGreaterThan(soFar);
    }
    going = false;
    await Promise.all(clients);

    const stored = (await storedEvents(edge.nc)).filter(({ id }) => !before.has(id));
    const ids = stored.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(acknowledged.length).toBeGreaterThan(50);
    expect(acknowledged.filter((id) => !ids.includes(id))).toEqual([]);
    // Unkeyed events of one request stand side by side, once: also those whose answer was lost.
    const names = stored.map(({ body }) => String(body.resource_id));
    expect(new Set(names).size).toBe(names.length);
    for (const [place, name] of names.entries()) {
      if (name.endsWith('.0')) expect(names[place + 1]).toBe(name.replace(/0$/, '1'));
    }
    expect(new Set(unavailable)).toEqual(unavailable.length === 0 ? new Set() : new Set([503]));
  });

  it('refuses at once while NATS is away, and takes events again after', async () => {
    await nats.kill9();
    await expect.poll(() => edge.ingest.ready()).toEqual(['The event store cannot be reached.']);
    const startedAt = performance.now();
    expect(await edge.post(event('lost'))).toMatchObject({ status: 503, retryAfter: '5' });
    expect(performance.now() - startedAt).toBeLessThan(1_000);
    await nats.restart();
    await expect.poll(async () => (await edge.post(event('back'))).status, { timeout: 15_000 }).toBe(202);
    expect(edge.ingest.ready()).toEqual([]);
  });
});

describe('the edge refuses', () => {
  const cleanUps: (() => Promise<void> | void)[] = [];
  afterEach(async () => {
    for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  });

  it('a NATS server that does not sync always, unless that is wanted', async () => {
    const nats = await startCarelessNats(cleanUps);
    const edge = await startEdge(nats);
    cleanUps.push(edge.stop);
    expect(edge.ingest.ready()).toEqual([expect.stringContaining('may not keep what it acknowledges')]);
    expect((await edge.post(event('a'))).status).toBe(503);
    const careless = await startEdge(nats, { allowUnsyncedNats: true });
    cleanUps.push(careless.stop);
    expect((await careless.post(event('b'))).status).toBe(202);
  });

  it('when the stream was made anew under it', async () => {
    const nats = await startTestNats();
    cleanUps.push(nats.stop);
    const edge = await startEdge(nats);
    cleanUps.push(edge.stop);
    expect((await edge.post(event('a'))).status).toBe(202);
    await (await jetstreamManager(edge.nc)).streams.delete(STREAM_EVENTS);
    await ensureStreams(edge.nc, { replicas: 1, storeLimitBytes: STORE_BYTES });
    await nats.restart();
    await expect
      .poll(() => edge.ingest.ready(), { timeout: 10_000 })
      .toEqual([expect.stringContaining('lost events that it had acknowledged')]);
    expect((await edge.post(event('b'))).status).toBe(503);
    expect((await streamState(edge.nc, STREAM_EVENTS)).messages).toBe(0);
  });

  it('when the stream is full', async () => {
    const storeLimitBytes = 64 * 1024 * 1024;
    const nats = await startTestNats({ storeLimitBytes });
    cleanUps.push(nats.stop);
    const edge = await startEdge(nats, { storeLimitBytes: 4 * 1024 * 1024 });
    cleanUps.push(edge.stop);
    const large = { ...event('large'), metadata: { text: 'x'.repeat(60_000) } };
    let answer = await edge.post({ events: Array(10).fill(large) }, '/events/batch');
    for (let sent = 1; sent < 20 && answer.status === 202; sent += 1) {
      answer = await edge.post({ events: Array(10).fill(large) }, '/events/batch');
    }
    expect(answer).toMatchObject({ status: 503, retryAfter: '10', body: { error: 'unavailable' } });
    expect(answer.body.message).toContain('full');
  });
});

function idsOf(entries: unknown): string[] {
  return Array.isArray(entries) ? entries.map((entry: { id: string }) => entry.id) : [];
}

/** As NATS comes: it flushes every two minutes, and acknowledges at once. */
async function startCarelessNats(
  cleanUps: (() => Promise<void> | void)[],
): Promise<{ url: string; monitorUrl: string }> {
  const { path } = await findNatsServer({
    natsServerBin: process.env.IMMUTABLE_NATS_SERVER_BIN || undefined,
  });
  const [port, monitorPort] = [await freePort(), await freePort()];
  const folder = mkdtempSync(join(tmpdir(), 'immutable-nats-'));
  const args = ['-js', '-a', '127.0.0.1', '-p', String(port), '-m', String(monitorPort), '-sd', folder];
  const server: ChildProcess = spawn(path, args, { stdio: 'ignore' });
  const ended = new Promise((resolve) => server.once('exit', resolve));
  cleanUps.push(async () => {
    server.kill('SIGKILL');
    await ended;
    rmSync(folder, { recursive: true, force: true });
  });
  return { url: `nats://127.0.0.1:${port}`, monitorUrl: `http://127.0.0.1:${monitorPort}` };
}
