import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createKeyRing, newToken, tokenHash } from '../../control/keys.ts';
import { EVENT_FIELDS } from '../../core/event.ts';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import { crc32, nativeHasher } from '../../infra/hash.ts';
import { clientAddressBehind } from '../../infra/http/client-address.ts';
import { startHttpServer } from '../../infra/http/server.ts';
import type { HttpServer, Route } from '../../infra/http/types.ts';
import { createMetrics } from '../../infra/metrics.ts';
import { createCommitter } from '../../ingest/committer.ts';
import { createIdempotencyMemory } from '../../ingest/idempotency.ts';
import { createIngestMetrics } from '../../ingest/metrics.ts';
import { createRecorder } from '../../ingest/recorder.ts';
import { ingestRoutes } from '../../ingest/routes.ts';
import { openApiDocument } from '../../query/openapi/document.ts';
import { queryRoutes } from '../../query/routes.ts';
import type { Verification } from '../../query/verify.ts';
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts';
import { answerChecker } from '../support/openapi.ts';
import { chainEvents, insertSeeded, randomFrom, type SeededEvent, variedEvents } from '../support/seed.ts';

const WORKSPACE = 'ws_00000000000000a1';
const log = pino({ level: 'silent' });
const token = newToken();
const powerless = newToken();
const document = openApiDocument();
const differences = answerChecker(document);

let clickhouse: TestClickHouse;
let reader: ClickHouseClient;
let server: HttpServer;
let routes: Route[];
let events: SeededEvent[];
/** Every answer that was seen, as `get /events 200`. */
const seen = new Set<string>();

/** The real handlers of all routes; only the stream behind the edge is a memory. */
beforeAll(async () => {
  clickhouse = await startTestClickHouse();
  const admin = connectClickHouse(clickhouse.adminUrl);
  events = chainEvents(WORKSPACE, variedEvents(120, randomFrom(1)));
  await insertSeeded(admin, events);
  await admin.command({
    query: `ALTER TABLE ${TABLES.events} UPDATE body = replaceOne(body, '"workspace_id":"', '"workspace_id":"x'),
        salt = '' WHERE seq = 120`,
    clickhouse_settings: { mutations_sync: '2' },
  });
  await admin.close();
  reader = connectClickHouse(clickhouse.readerUrl);
  const keyRing = createKeyRing();
  for (const [key, scopes] of [
    [token, ['ingest', 'read']],
    [powerless, ['manage']],
  ] as const) {
    keyRing.set(tokenHash(key), {
      id: 'key_0000000000000001',
      workspace_id: WORKSPACE,
      scopes: [...scopes],
      label: '',
      prefix: key.slice(0, 12),
      created_at: '2026-01-01T00:00:00.000000Z',
      expires_at: null,
      revoked_at: null,
    });
  }
  routes = [
    ...edgeRoutes(keyRing),
    ...queryRoutes({ clickhouse: reader, keyRing, cursorKey: new Uint8Array(32) }),
  ];
  server = await startHttpServer({ kind: 'node', host: '127.0.0.1', port: 0, routes, log });
});

afterAll(async () => {
  await server?.close(0);
  await reader?.close();
  await clickhouse?.stop();
});

function edgeRoutes(keyRing: ReturnType<typeof createKeyRing>): Route[] {
  let ids = 0;
  const committer = createCommitter({
    publish: async () => ({ kind: 'stored', firstSequence: 1, lastSequence: 1 }),
    subjectOf: (workspaceId) => workspaceId,
    nowMicros: () => Date.now() * 1000,
    crc32,
    log,
  });
  return ingestRoutes({
    keyRing,
    record: createRecorder({
      committer,
      memory: createIdempotencyMemory(100),
      findDuplicates: async () => new Set<string>(),
    }),
    refusal: () => undefined,
    clientAddress: clientAddressBehind([]),
    placeOf: () => ({}),
    nowMicros: () => Date.now() * 1000,
    newId: () => `0195d3c0-7c2e-7e11-a7b9-${String(++ids).padStart(12, '0')}`,
    newSalt: () => '0'.repeat(32),
    hasher: nativeHasher,
    metrics: createIngestMetrics(createMetrics('test')),
  });
}

async function expectDescribed(
  status: number,
  described: string,
  init: RequestInit & { path?: string; key?: string | null } = {},
): Promise<Record<string, unknown>> {
  const [method = '', route = ''] = described.split(' ');
  const { path = route, key = token, ...rest } = init;
  const response = await fetch(`http://127.0.0.1:${server.port}/api/v1${path}`, {
    method: method.toUpperCase(),
    headers: key === null ? {} : { authorization: `Bearer ${key}` },
    ...rest,
  });
  const body = (await response.json()) as Record<string, unknown>;
  expect(response.status, JSON.stringify(body)).toBe(status);
  expect(differences(method, route, status, body)).toEqual([]);
  seen.add(`${described} ${status}`);
  return body;
}

describe('answers are as described:', () => {
  test('a list of events, with and without warnings and further pages', async () => {
    await expectDescribed(200, 'get /events');
    await expectDescribed(200, 'get /events', { path: '/events?limit=100&order=asc&nothing=1' });
    await expectDescribed(200, 'get /events', { path: '/events?actor_id=nobody' });
    await expectDescribed(400, 'get /events', { path: '/events?cursor=altered' });
    await expectDescribed(422, 'get /events', { path: '/events?limit=0' });
  });

  test('one event', async () => {
    for (const { event } of events.slice(0, 20)) {
      await expectDescribed(200, 'get /events/{id}', { path: `/events/${event.id}` });
    }
    await expectDescribed(404, 'get /events/{id}', { path: '/events/none' });
  });

  test('a verification, with breaks of several kinds', async () => {
    const { data } = await expectDescribed(200, 'get /verify');
    const { breaks } = data as Verification;
    expect(breaks.map(({ type }) => type)).toEqual(['hash_mismatch', 'private_mismatch', 'column_mismatch']);
    await expectDescribed(200, 'get /verify', { path: '/verify?from=2100-01-01T00:00:00Z' });
    await expectDescribed(422, 'get /verify', { path: '/verify?from=never' });
  });

  test('events sent', async () => {
    const event = { actor_id: 'user_1', action: 'document.viewed' };
    const post = (body: unknown) => ({ body: JSON.stringify(body) });
    await expectDescribed(202, 'post /events', post(event));
    await expectDescribed(202, 'post /events', post({ ...event, colour: 'red', idempotency_key: 'k' }));
    await expectDescribed(202, 'post /events', post({ ...event, idempotency_key: 'k' }));
    await expectDescribed(422, 'post /events', post({ action: 'document.viewed' }));
    await expectDescribed(400, 'post /events', { body: '{' });
    await expectDescribed(413, 'post /events', { body: 'x'.repeat(9 * 1024 * 1024) });
    await expectDescribed(
      202,
      'post /events/batch',
      post({ events: [event, {}, { ...event, colour: 'red' }] }),
    );
    await expectDescribed(422, 'post /events/batch', post({ events: [{}, {}] }));
    await expectDescribed(422, 'post /events/batch', post({ events: Array(101).fill(event) }));
    await expectDescribed(400, 'post /events/batch', { body: 'no json' });
  });

  test('the description itself', async () => {
    expect(await expectDescribed(200, 'get /openapi.json', { key: null })).toEqual(document);
  });

  test('a key that is missing or may not', async () => {
    for (const operation of operations().filter((operation) => operation !== 'get /openapi.json')) {
      const init = operation.startsWith('post') ? { body: '{}' } : {};
      await expectDescribed(401, operation, { ...init, key: null });
      await expectDescribed(403, operation, { ...init, key: powerless });
    }
  });

  test('ClickHouse away', async () => {
    await clickhouse.kill9();
    for (const operation of ['get /events', 'get /verify']) await expectDescribed(503, operation);
    await expectDescribed(503, 'get /events/{id}', { path: `/events/${events[0]!.event.id}` });
  });

  test('none was left out but those that need more than this', () => {
    const described = operations().flatMap((operation) => {
      const [method = '', path = ''] = operation.split(' ');
      const { responses } = (document.paths as never)[path][method] as { responses: object };
      return Object.keys(responses).map((status) => `${operation} ${status}`);
    });
    const elsewhere = [
      'get /events 429',
      'get /verify 429',
      'post /events 503',
      'post /events/batch 503',
      'post /events/batch 413',
    ];
    expect(described.filter((answer) => !seen.has(answer)).sort()).toEqual(elsewhere.sort());
  });
});

describe('the description', () => {
  test('names every route that is served, and no other', () => {
    const served = routes.map(
      ({ method, path }) =>
        `${method.toLowerCase()} ${path.replace('/api/v1', '').replace(/:(\w+)/g, '{$1}')}`,
    );
    expect(operations().sort()).toEqual(served.sort());
  });

  test('names every member of an event that a client may send', () => {
    const { NewEvent } = (document.components as never as { schemas: { NewEvent: { properties: object } } })
      .schemas;
    const sent = EVENT_FIELDS.filter((field) => field.setBy === 'client').map((field) => field.name);
    expect(Object.keys(NewEvent.properties).sort()).toEqual([...sent].sort());
  });

  test('finds an answer that is not as described', () => {
    expect(differences('get', '/events', 200, { data: [], pagination: {} })).not.toEqual([]);
    expect(
      differences('get', '/events/{id}', 404, { error: 'lost', message: '', request_id: '' }),
    ).not.toEqual([]);
    expect(differences('get', '/events', 201, {})).toEqual(['get /events does not say what 201 looks like']);
    const error = { error: 'not_found', message: '', request_id: '' };
    expect(differences('get', '/events/{id}', 404, error)).toEqual([]);
    expect(differences('get', '/events/{id}', 404, { ...error, stack: '' })).not.toEqual([]);
  });
});

/** Those of exports, which need a stream and an object store, are checked by `exports.test.ts`. */
function operations(): string[] {
  return Object.entries(document.paths as Record<string, object>)
    .filter(([path]) => !path.startsWith('/exports'))
    .flatMap(([path, methods]) => Object.keys(methods).map((method) => `${method} ${path}`));
}
