import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { createKeyRing, newToken, tokenHash } from '../../control/keys.ts';
import { ImmutableError } from '../../core/errors.ts';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { startHttpServer } from '../../infra/http/server.ts';
import { createLogger } from '../../infra/log.ts';
import { createMetrics } from '../../infra/metrics.ts';
import { connectNats, type NatsConnection } from '../../infra/nats/connect.ts';
import { type Bucket, openBucket } from '../../infra/nats/kv.ts';
import { BUCKETS } from '../../infra/nats/names.ts';
import { ensureStreams } from '../../infra/nats/streams.ts';
import { directoryStore } from '../../infra/object-store/directory.ts';
import type { ObjectStore } from '../../infra/object-store/types.ts';
import type { Extent, Format } from '../../query/export/format.ts';
import { type ExportJobs, openExportJobs } from '../../query/export/jobs.ts';
import { createExportMetrics } from '../../query/export/metrics.ts';
import type { ExportRecord } from '../../query/export/record.ts';
import { exportRoutes } from '../../query/export/routes.ts';
import { type Runner, startRunner, type Timing } from '../../query/export/runner.ts';
import { createExportSource, type ExportSource } from '../../query/export/source.ts';
import { startTestClickHouse, type TestClickHouse } from './clickhouse.ts';
import { startTestNats, type TestNats } from './nats.ts';

export const log = createLogger('exports', process.env.IMMUTABLE_LOG_LEVEL ?? 'silent');

/** Parts so small that a few hundred events make several. */
export const SMALL_PARTS: Readonly<Record<Format, Extent>> = {
  csv: { rows: 100, textBytes: 90_000 },
  ndjson: { rows: 100, textBytes: 90_000 },
  parquet: { rows: 100, textBytes: 90_000 },
};

export const QUICK: Timing = {
  beatMs: 100,
  silentMs: 600,
  lookMs: 50,
  sweepMs: 50,
  retryMs: { first: 20, most: 100 },
};

/** NATS, ClickHouse and a folder of objects: what the processes of a test share. */
export interface ExportWorld {
  nats: TestNats;
  clickhouse: TestClickHouse;
  writer: ClickHouseClient;
  reader: ClickHouseClient;
  nc: NatsConnection;
  bucket: Bucket;
  store: ObjectStore;
  folder: string;
  stop(): Promise<void>;
}

export async function startExportWorld(): Promise<ExportWorld> {
  const [nats, clickhouse] = await Promise.all([startTestNats(), startTestClickHouse()]);
  const nc = await connectNats({ url: nats.url, name: 'test', log });
  await ensureStreams(nc, { replicas: 1, storeLimitBytes: 1024 ** 3 });
  const folder = mkdtempSync(join(tmpdir(), 'immutable-objects-'));
  const writer = connectClickHouse(clickhouse.writerUrl);
  const reader = connectClickHouse(clickhouse.readerUrl);
  return {
    nats,
    clickhouse,
    writer,
    reader,
    nc,
    bucket: await openBucket(nc, BUCKETS.exports),
    store: directoryStore(folder),
    folder,
    stop: async () => {
      await nc.close();
      await Promise.all([writer.close(), reader.close()]);
      await Promise.all([nats.stop(), clickhouse.stop()]);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export interface ProcessOptions {
  bucket?: Bucket;
  store?: ObjectStore;
  source?: ExportSource;
  extents?: Readonly<Record<Format, Extent>>;
  instance?: string;
  now?: () => number;
  timing?: Partial<Timing>;
  windowRows?: number;
}

/** One process that makes exports. */
export interface ExportProcess {
  jobs: ExportJobs;
  runner: Runner;
  stop(): Promise<void>;
}

export async function startExportProcess(
  world: ExportWorld,
  options: ProcessOptions = {},
): Promise<ExportProcess> {
  const { now = Date.now } = options;
  const jobs = await openExportJobs(options.bucket ?? world.bucket, { log, now });
  const source =
    options.source ?? createExportSource(world.reader, { windowRows: options.windowRows ?? 500 });
  const runner = startRunner({
    jobs,
    store: options.store ?? world.store,
    source,
    extents: options.extents ?? SMALL_PARTS,
    coverageOf: async () => null,
    metrics: createExportMetrics(createMetrics('test')),
    instance: options.instance,
    timing: { ...QUICK, ...options.timing },
    log,
    now,
  });
  return {
    jobs,
    runner,
    stop: async () => {
      await runner.stop();
      await jobs.stop();
    },
  };
}

export interface ExportAnswer {
  status: number;
  headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: what a test reads is whatever the API answers
  json: any;
  bytes: Buffer;
}

/** The routes on a port of their own, with a key for any workspace a test asks for. */
export interface ExportApi {
  base: string;
  call(key: string | null, method: string, path: string, body?: unknown): Promise<ExportAnswer>;
  as(workspaceId: string, method: string, path: string, body?: unknown): Promise<ExportAnswer>;
  addKey(workspaceId: string | null, scopes: ('ingest' | 'read' | 'manage' | 'operator')[]): string;
  stop(): Promise<void>;
}

export async function startExportApi(
  jobs: ExportJobs,
  store: ObjectStore,
  { now = Date.now, kind = 'uws' }: { now?: () => number; kind?: 'uws' | 'node' } = {},
): Promise<ExportApi> {
  const keyRing = createKeyRing();
  const tokens = new Map<string, string>();
  const routes = exportRoutes({
    jobs,
    store,
    keyRing,
    linkKey: new Uint8Array(32).fill(7),
    publicUrl: 'https://audit.example.com',
    now,
  });
  const server = await startHttpServer({ kind, host: '127.0.0.1', port: 0, routes, log });
  const base = `http://127.0.0.1:${server.port}/api/v1`;

  function addKey(...[workspaceId, scopes]: Parameters<ExportApi['addKey']>): string {
    const token = newToken();
    keyRing.set(tokenHash(token), {
      id: 'key_0000000000000001',
      workspace_id: workspaceId,
      scopes,
      label: 'test',
      prefix: token.slice(0, 12),
      created_at: '2026-01-01T00:00:00.000000Z',
      expires_at: null,
      revoked_at: null,
    });
    return token;
  }

  async function call(...[key, method, path, body]: Parameters<ExportApi['call']>): Promise<ExportAnswer> {
    const response = await fetch(`${base}${path}`, {
      method,
      redirect: 'manual',
      headers: key === null ? {} : { authorization: `Bearer ${key}` },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const bytes = Buffer.from(await response.arrayBuffer());
    const isJson = response.headers.get('content-type')?.startsWith('application/json') ?? false;
    return {
      status: response.status,
      headers: response.headers,
      json: isJson && bytes.length > 0 ? JSON.parse(bytes.toString()) : undefined,
      bytes,
    };
  }

  return {
    base,
    call,
    addKey,
    as(workspaceId, method, path, body) {
      const token = tokens.get(workspaceId) ?? addKey(workspaceId, ['read']);
      tokens.set(workspaceId, token);
      return call(token, method, path, body);
    },
    stop: () => server.close(1_000),
  };
}

/** Polls until the export has ended, one way or the other. */
export async function ended(api: ExportApi, workspaceId: string, id: string, withinMs = 30_000) {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const { json } = await api.as(workspaceId, 'GET', `/exports/${id}`);
    if (['completed', 'failed'].includes(json.data.status)) return json.data;
    if (performance.now() > deadline) throw new Error(`still ${JSON.stringify(json.data)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Polls until the job has ended, one way or the other. */
export async function untilEnded(jobs: ExportJobs, id: string, withinMs = 20_000): Promise<ExportRecord> {
  return await until(async () => {
    const found = await jobs.find(id).catch(whileNatsIsAway);
    return found !== undefined && ['completed', 'failed'].includes(found.record.status)
      ? found.record
      : undefined;
  }, withinMs);
}

/** A look that a restart of NATS cuts off is for the next one to make. */
function whileNatsIsAway(error: unknown): undefined {
  if (error instanceof ImmutableError && error.code === 'unavailable') return undefined;
  throw error;
}

export async function until<T>(look: () => Promise<T | undefined>, withinMs = 20_000): Promise<T> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > deadline) throw new Error('it did not come to pass');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

export interface MadeExport {
  bytes: Buffer;
  manifest: Record<string, unknown>;
}

/** What there is of a completed export, and that there is nothing else. */
export function madeOf(world: ExportWorld, record: ExportRecord): MadeExport {
  const folder = join(world.folder, 'exports', record.workspace_id, record.id);
  const name = `immutable-${record.id}.${record.format}`;
  expect(readdirSync(folder).sort()).toEqual([name, 'manifest.json']);
  const bytes = readFileSync(join(folder, name));
  const { export_id, created_at, file_name, ...manifest } = JSON.parse(
    readFileSync(join(folder, 'manifest.json'), 'utf8'),
  );
  expect([export_id, created_at, file_name]).toEqual([record.id, record.created_at, name]);
  expect(manifest.sha256).toBe(createHash('sha256').update(bytes).digest('hex'));
  expect(record).toMatchObject({ sha256: manifest.sha256, file_size: bytes.length, runner: null });
  return { bytes, manifest };
}

/** Everything that a process does outside of itself, which it dies of at one moment. */
export function mortal(world: ExportWorld, dies: { at: number; side: 'before' | 'after' } | undefined) {
  let effects = 0;
  let dead = false;
  let tell = () => {};
  const death = new Promise<void>((resolve) => {
    tell = resolve;
  });

  async function effect<T>(work: () => Promise<T>): Promise<T> {
    if (dead) throw new Error('dead');
    effects += 1;
    const isLast = effects === dies?.at;
    if (isLast) dead = true;
    if (isLast && dies?.side === 'before') {
      tell();
      throw new Error('dead before');
    }
    const result = await work();
    if (isLast) {
      tell();
      throw new Error('dead after');
    }
    return result;
  }

  const store: ObjectStore = {
    ...world.store,
    put: (key, bytes) => effect(() => world.store.put(key, bytes)),
    compose: (key, sources) => effect(() => world.store.compose(key, sources)),
    remove: (keys) => effect(() => world.store.remove(keys)),
  };
  const bucket: Bucket = {
    ...world.bucket,
    update: (key, value, revision) => effect(() => world.bucket.update(key, value, revision)),
  };
  return { store, bucket, death, effects: () => effects };
}
