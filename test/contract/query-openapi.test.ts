import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createKeyRing, newToken, tokenHash } from '../../control/keys.ts';
import type { SigningKeys } from '../../control/signing-keys.ts';
import { base64Encode } from '../../core/bytes.ts';
import { EVENT_FIELDS } from '../../core/event.ts';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import { crc32, nativeHasher } from '../../infra/hash.ts';
import { clientAddressBehind } from '../../infra/http/client-address.ts';
import { startHttpServer } from '../../infra/http/server.ts';
import type { HttpRequest, HttpServer, Route } from '../../infra/http/types.ts';
import { createMetrics } from '../../infra/metrics.ts';
import { createCommitter } from '../../ingest/committer.ts';
import { createIdempotencyMemory } from '../../ingest/idempotency.ts';
import { createIngestMetrics } from '../../ingest/metrics.ts';
import { createRecorder } from '../../ingest/recorder.ts';
import { ingestRoutes } from '../../ingest/routes.ts';
import { anchorRoutes } from '../../query/anchors/routes.ts';
import { openApiDocument } from '../../query/openapi/document.ts';
import { createAddressLimit } from '../../query/proofs/address-limit.ts';
import { proofRoutes } from '../../query/proofs/routes.ts';
import { queryRoutes } from '../../query/routes.ts';
import type { Verification } from '../../query/verify.ts';
import { createTestAnchors, PENDING, type StoredAnchor } from '../support/anchors.ts';
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts';
import { answerChecker } from '../support/openapi.ts';
import { chainEvents, insertSeeded, randomFrom, type SeededEvent, variedEvents } from '../support/seed.ts';
import { LOG_ORIGIN, storeTree, testLog } from '../support/tree.ts';

const WORKSPACE = 'ws_00000000000000a1';
const STARTED_MS = Date.now();
/** How many of its events a checkpoint has. */
const SIGNED = 110;
const SIGNING_KEYS: SigningKeys = {
  keys: [
    {
      public_key: base64Encode(new Uint8Array(32).fill(7)),
      sealed_seed: 'sealed',
      created_at: '2026-01-01T00:00:00.000000Z',
      signs_until: null,
    },
  ],
};
const log = pino({ level: 'silent' });
const token = newToken();
const powerless = newToken();
/** Of a workspace whose events were archived. */
const ARCHIVED = 'ws_00000000000000b2';
const archivedToken = newToken();
const emptyToken = newToken();
const document = openApiDocument();
const differences = answerChecker(document);

let clickhouse: TestClickHouse;
let reader: ClickHouseClient;
let server: HttpServer;
let routes: Route[];
let events: SeededEvent[];
/** Confirmed, and pending. */
let anchored: StoredAnchor[];
/** Every answer that was seen, as `get /events 200`. */
const seen = new Set<string>();

/** The real handlers of all routes; only the stream behind the edge is a memory. */
beforeAll(async () => {
  clickhouse = await startTestClickHouse();
  const admin = connectClickHouse(clickhouse.adminUrl);
  events = chainEvents(WORKSPACE, variedEvents(120, randomFrom(1)));
  await insertSeeded(admin, events);
  const workspaceLog = testLog(WORKSPACE);
  await storeTree(admin, workspaceLog, events, [SIGNED]);
  await storeTree(admin, testLog(ARCHIVED), chainEvents(ARCHIVED, variedEvents(10, randomFrom(2))));
  await admin.command({
    query: `ALTER TABLE ${TABLES.events} UPDATE body = replaceOne(body, '"workspace_id":"', '"workspace_id":"x'),
        salt = '' WHERE seq = 120`,
    clickhouse_settings: { mutations_sync: '2' },
  });
  const anchors = createTestAnchors(admin);
  const upTo = (size: number) => [{ log: workspaceLog, events, size }];
  anchored = [...(await anchors.anchor(upTo(50))), ...(await anchors.anchor(upTo(100), PENDING))];
  await admin.close();
  reader = connectClickHouse(clickhouse.readerUrl);
  const keyRing = createKeyRing();
  for (const [key, scopes, workspaceId] of [
    [token, ['ingest', 'read'], WORKSPACE],
    [powerless, ['manage'], WORKSPACE],
    [archivedToken, ['read'], ARCHIVED],
    [emptyToken, ['read'], 'ws_00000000000000e0'],
  ] as const) {
    keyRing.set(tokenHash(key), {
      id: 'key_0000000000000001',
      workspace_id: workspaceId,
      scopes: [...scopes],
      label: '',
      prefix: key.slice(0, 12),
      created_at: '2026-01-01T00:00:00.000000Z',
      expires_at: null,
      revoked_at: null,
    });
  }
  // It stands still, so that no time brings a new token of the limit.
  const limit = createAddressLimit(() => STARTED_MS);
  const clientAddress = (request: HttpRequest) => request.header('x-test-address') ?? 'modest';
  routes = [
    ...edgeRoutes(keyRing),
    ...queryRoutes({ clickhouse: reader, keyRing, cursorKey: new Uint8Array(32) }),
    ...anchorRoutes({
      clickhouse: reader,
      keyRing,
      cursorKey: new Uint8Array(32),
      isSigned: () => true,
      records: anchors.records,
      limit,
      clientAddress,
    }),
    ...proofRoutes({
      clickhouse: reader,
      keyRing,
      signingKeys: () => SIGNING_KEYS,
      logOrigin: LOG_ORIGIN,
      isLogPublic: (workspaceId) => workspaceId === WORKSPACE || workspaceId === ARCHIVED,
      limit,
      clientAddress,
      now: () => STARTED_MS,
    }),
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
  init: RequestInit & { path?: string; key?: string | null; address?: string } = {},
): Promise<Record<string, unknown>> {
  const [method = '', route = ''] = described.split(' ');
  const { path = route, key = token, address = 'modest', ...rest } = init;
  const response = await fetch(`http://127.0.0.1:${server.port}/api/v1${path}`, {
    method: method.toUpperCase(),
    headers: { 'x-test-address': address, ...(key === null ? {} : { authorization: `Bearer ${key}` }) },
    ...rest,
  });
  const [type = ''] = response.headers.get('content-type')?.split(';') ?? [];
  const text = await response.text();
  const isJson = type === 'application/json';
  const body = isJson ? (JSON.parse(text) as Record<string, unknown>) : { text };
  expect(response.status, text).toBe(status);
  expect(differences(method, route, status, isJson ? body : text, type)).toEqual([]);
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

  test('checkpoints, tiles and entries, with a key and without', async () => {
    for (const [prefix, route, key] of [
      ['', '', token],
      ['/public/logs/{workspace}', `/public/logs/${WORKSPACE}`, null],
    ] as const) {
      const { text } = await expectDescribed(200, `get ${prefix}/checkpoint`, {
        path: `${route}/checkpoint`,
        key,
      });
      expect(text).toMatch(new RegExp(`^${LOG_ORIGIN}/${WORKSPACE}\n${SIGNED}\n`));
      const tile = `get ${prefix}/tile/{tile}`;
      for (const name of [`0/000.p/${SIGNED}`, 'entries/000.p/3']) {
        await expectDescribed(200, tile, { path: `${route}/tile/${name}`, key });
      }
      await expectDescribed(404, tile, { path: `${route}/tile/0/001`, key });
    }
    const entries = 'tile/entries/000.p/10';
    await expectDescribed(410, 'get /tile/{tile}', { path: `/${entries}`, key: archivedToken });
    await expectDescribed(410, 'get /public/logs/{workspace}/tile/{tile}', {
      path: `/public/logs/${ARCHIVED}/${entries}`,
      key: null,
    });
    await expectDescribed(404, 'get /public/logs/{workspace}/checkpoint', {
      path: '/public/logs/ws_00000000000000e0/checkpoint',
      key: null,
    });
  });

  test('evidence, with and without personal data', async () => {
    const get = (seq: number, query = '') => ({ path: `/events/${events[seq - 1]!.event.id}/proof${query}` });
    for (const seq of [1, 2, SIGNED]) await expectDescribed(200, 'get /events/{id}/proof', get(seq));
    await expectDescribed(200, 'get /events/{id}/proof', get(1, '?private=false'));
    await expectDescribed(422, 'get /events/{id}/proof', get(1, '?private=maybe'));
    await expectDescribed(404, 'get /events/{id}/proof', get(SIGNED + 1));
  });

  test('anchors, with a key and without', async () => {
    await expectDescribed(200, 'get /anchors');
    await expectDescribed(200, 'get /anchors', { path: '/anchors?limit=1' });
    await expectDescribed(400, 'get /anchors', { path: '/anchors?cursor=altered' });
    await expectDescribed(422, 'get /anchors', { path: '/anchors?limit=0' });
    for (const { id } of anchored) {
      await expectDescribed(200, 'get /anchors/{id}', { path: `/anchors/${id}` });
      await expectDescribed(200, 'get /anchors/{id}/verify', { path: `/anchors/${id}/verify` });
      const open = { path: `/public/anchors/${id}/verify`, key: null };
      await expectDescribed(200, 'get /public/anchors/{id}/verify', open);
    }
    await expectDescribed(404, 'get /anchors/{id}', { path: '/anchors/none' });
    await expectDescribed(404, 'get /anchors/{id}/verify', { path: '/anchors/none/verify' });
    await expectDescribed(404, 'get /public/anchors/{id}/verify', { path: '/public/anchors/none/verify' });
    const lookUp = 'get /public/anchors/lookup';
    const tx = `/public/anchors/lookup?tx_hash=${anchored[0]!.batch.inclusion?.tx_hash}`;
    const { data } = await expectDescribed(200, lookUp, { path: tx, key: null });
    expect(data).toMatchObject({ anchor: { id: anchored[0]!.id } });
    await expectDescribed(404, lookUp, { path: `${tx}&merkle_root=${'0'.repeat(64)}`, key: null });
    await expectDescribed(422, lookUp, { key: null });
  });

  test('consistency, and the log itself', async () => {
    await expectDescribed(200, 'get /consistency', { path: '/consistency?first=1' });
    await expectDescribed(200, 'get /consistency', { path: `/consistency?first=${SIGNED}` });
    await expectDescribed(422, 'get /consistency', { path: '/consistency' });
    const { text } = await expectDescribed(200, 'get /log/events', { path: '/log/events?first=3&limit=2' });
    expect(String(text).split('\n')).toHaveLength(3);
    await expectDescribed(422, 'get /log/events', { path: '/log/events?first=0' });
  });

  test('a log without a checkpoint', async () => {
    const key = emptyToken;
    for (const operation of ['get /checkpoint', 'get /log/events'])
      await expectDescribed(404, operation, { key });
    await expectDescribed(404, 'get /consistency', { path: '/consistency?first=1', key });
  });

  test('verifier keys, and too many questions without a key', async () => {
    const keys = 'get /public/keys';
    await expectDescribed(200, keys, { key: null });
    await expectDescribed(200, keys, { path: `/public/keys?workspace_id=${WORKSPACE}`, key: null });
    await expectDescribed(422, keys, { path: '/public/keys?workspace_id=x', key: null });
    const greedy = { key: null, address: 'greedy' };
    for (let asked = 0; asked < 600; asked += 1) await expectDescribed(200, keys, greedy);
    await expectDescribed(429, keys, greedy);
    const log = `/public/logs/${WORKSPACE}`;
    await expectDescribed(429, 'get /public/logs/{workspace}/checkpoint', {
      ...greedy,
      path: `${log}/checkpoint`,
    });
    await expectDescribed(429, 'get /public/logs/{workspace}/tile/{tile}', {
      ...greedy,
      path: `${log}/tile/0/000`,
    });
    await expectDescribed(429, 'get /public/anchors/lookup', greedy);
    await expectDescribed(429, 'get /public/anchors/{id}/verify', greedy);
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
    for (const operation of operations().filter((operation) => !isForEveryone(operation))) {
      const init = operation.startsWith('post') ? { body: '{}' } : {};
      await expectDescribed(401, operation, { ...init, key: null });
      await expectDescribed(403, operation, { ...init, key: powerless });
    }
  });

  test('ClickHouse away', async () => {
    await clickhouse.kill9();
    const { id } = events[0]!.event;
    for (const [operation, path] of [
      ['get /events', '/events'],
      ['get /verify', '/verify'],
      ['get /events/{id}', `/events/${id}`],
      ['get /events/{id}/proof', `/events/${id}/proof`],
      ['get /checkpoint', '/checkpoint'],
      ['get /tile/{tile}', '/tile/0/000.p/1'],
      ['get /consistency', '/consistency?first=1'],
      ['get /log/events', '/log/events'],
      ['get /anchors', '/anchors'],
      ['get /anchors/{id}', `/anchors/${anchored[0]!.id}`],
      ['get /anchors/{id}/verify', `/anchors/${anchored[0]!.id}/verify`],
      ['get /public/anchors/{id}/verify', `/public/anchors/${anchored[0]!.id}/verify`],
      ['get /public/anchors/lookup', `/public/anchors/lookup?tx_hash=0x${'0'.repeat(64)}`],
      ['get /public/logs/{workspace}/checkpoint', `/public/logs/${WORKSPACE}/checkpoint`],
      ['get /public/logs/{workspace}/tile/{tile}', `/public/logs/${WORKSPACE}/tile/0/000.p/1`],
    ] as const) {
      await expectDescribed(503, operation, { path });
    }
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
      'get /anchors/{id}/verify 429',
      'post /events 503',
      'post /events/batch 503',
      'post /events/batch 413',
    ];
    expect(described.filter((answer) => !seen.has(answer)).sort()).toEqual(elsewhere.sort());
  });
});

describe('the description', () => {
  test('names every route of the API that is served, and no other', () => {
    const served = routes
      .filter(({ path }) => path.startsWith('/api/v1/'))
      .map(
        ({ method, path }) =>
          `${method.toLowerCase()} ${path.replace('/api/v1', '').replace(/[:*](\w+)/g, '{$1}')}`,
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

function isForEveryone(operation: string): boolean {
  const [method = '', path = ''] = operation.split(' ');
  const { security } = (document.paths as never)[path][method] as { security?: unknown[] };
  return security?.length === 0;
}
