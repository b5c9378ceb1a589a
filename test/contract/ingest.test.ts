import { request } from 'node:http';
import { gzipSync } from 'node:zlib';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createKeyRing, type KeyRecord, newToken, tokenHash } from '../../control/keys.ts';
import { ImmutableError } from '../../core/errors.ts';
import { decodeQueued } from '../../core/message.ts';
import { crc32, nativeHasher } from '../../infra/hash.ts';
import { clientAddressBehind } from '../../infra/http/client-address.ts';
import { startHttpServer } from '../../infra/http/server.ts';
import type { HttpServer } from '../../infra/http/types.ts';
import { createMetrics } from '../../infra/metrics.ts';
import type { BatchOutcome } from '../../infra/nats/batch.ts';
import { createCommitter } from '../../ingest/committer.ts';
import { createIdempotencyMemory } from '../../ingest/idempotency.ts';
import { createIngestMetrics } from '../../ingest/metrics.ts';
import { createRecorder } from '../../ingest/recorder.ts';
import { ingestRoutes } from '../../ingest/routes.ts';

const log = pino({ level: 'silent' });
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[78][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const EVENT = { actor_id: 'user_1', action: 'document.viewed' };

const keys = {
  ingest: newToken(),
  read: newToken(),
  revoked: newToken(),
  expired: newToken(),
  operator: newToken(),
};

function keyRing() {
  const ring = createKeyRing();
  const add = (token: string, changes: Partial<KeyRecord>) =>
    ring.set(tokenHash(token), {
      id: 'key_0123456789abcdef',
      workspace_id: 'ws_0123456789abcdef',
      scopes: ['ingest'],
      label: '',
      prefix: token.slice(0, 12),
      created_at: '2026-01-01T00:00:00.000000Z',
      expires_at: null,
      revoked_at: null,
      ...changes,
    });
  add(keys.ingest, {});
  add(keys.read, { scopes: ['read', 'manage'] });
  add(keys.revoked, { revoked_at: '2026-01-02T00:00:00.000000Z' });
  add(keys.expired, { expires_at: '2026-01-02T00:00:00.000000Z' });
  add(keys.operator, { scopes: ['operator'], workspace_id: null });
  return ring;
}

/** The routes of the edge on each server, with a stream that is only an array. */
describe.each(['uws', 'node'] as const)('the events API on %s', (kind) => {
  let server: HttpServer;
  let stored: { id: string; body: Record<string, unknown>; private: Record<string, unknown> }[] = [];
  let outcome: BatchOutcome = { kind: 'stored', firstSequence: 1, lastSequence: 1 };
  let refusal: ImmutableError | undefined;
  let salts = 0;
  let ids = 0;

  beforeAll(async () => {
    const metrics = createIngestMetrics(createMetrics('test'));
    const committer = createCommitter({
      publish: async (messages) => {
        if (outcome.kind !== 'stored') return outcome;
        for (const { payload } of messages) {
          for (const event of decodeQueued(payload, crc32).events) {
            stored.push({ id: event.id, body: JSON.parse(event.body), private: JSON.parse(event.private) });
          }
        }
        return outcome;
      },
      subjectOf: (workspaceId) => workspaceId,
      nowMicros: () => Date.now() * 1000,
      crc32,
      log,
    });
    const routes = ingestRoutes({
      keyRing: keyRing(),
      record: createRecorder({
        committer,
        memory: createIdempotencyMemory(100),
        findDuplicates: async () => new Set(),
      }),
      refusal: () => refusal,
      clientAddress: clientAddressBehind([]),
      placeOf: () => ({}),
      nowMicros: () => Date.now() * 1000,
      newId: () => `0195d3c0-7c2e-7e11-a7b9-${String(++ids).padStart(12, '0')}`,
      newSalt: () => String(++salts).padStart(32, '0'),
      hasher: nativeHasher,
      metrics,
    });
    server = await startHttpServer({ kind, host: '127.0.0.1', port: 0, routes, log });
  });
  afterAll(() => server.close(0));
  beforeEach(() => {
    stored = [];
  });

  interface Answer {
    status: number;
    headers: Headers;
    body: Record<string, unknown>;
  }

  async function send(path: string, init: RequestInit): Promise<Answer> {
    const response = await fetch(`http://127.0.0.1:${server.port}/api/v1${path}`, init);
    const text = await response.text();
    return {
      status: response.status,
      headers: response.headers,
      body: text.startsWith('{') ? JSON.parse(text) : { text },
    };
  }

  const post = (path: string, body: string | Uint8Array, headers: Record<string, string> = {}) =>
    send(path, { method: 'POST', body, headers: { authorization: `Bearer ${keys.ingest}`, ...headers } });
  const postJson = (path: string, value: unknown, headers: Record<string, string> = {}) =>
    post(path, JSON.stringify(value), { 'content-type': 'application/json', ...headers });

  describe('POST /events', () => {
    it('answers 202 with the id, once the event is stored', async () => {
      const answer = await postJson('/events', { ...EVENT, metadata: { a: 1 } });
      expect(answer.status).toBe(202);
      expect(answer.headers.get('content-type')).toContain('application/json');
      expect(answer.body).toEqual({ id: expect.stringMatching(UUID), status: 'queued' });
      expect(stored).toEqual([
        {
          id: answer.body.id,
          body: expect.objectContaining({
            ...EVENT,
            id: answer.body.id,
            workspace_id: 'ws_0123456789abcdef',
          }),
          private: { ip_address: '127.0.0.1', metadata: { a: 1 } },
        },
      ]);
    });

    it('answers a repeated key with the same id, as a duplicate, and stores it once', async () => {
      const keyed = { ...EVENT, idempotency_key: `once-${kind}` };
      const first = await postJson('/events', keyed);
      const again = await postJson('/events', keyed);
      expect(first.body).toEqual({ id: expect.stringMatching(UUID), status: 'queued' });
      expect(again.body).toEqual({ id: first.body.id, status: 'duplicate' });
      expect(again.status).toBe(202);
      expect(stored.length).toBe(1);
    });

    it('names members it does not know', async () => {
      const answer = await postJson('/events', { ...EVENT, colour: 'red', id: 'mine' });
      expect(answer.status).toBe(202);
      expect(answer.body.warnings).toEqual([
        "unknown member 'colour' was ignored",
        "unknown member 'id' was ignored",
      ]);
      expect(stored[0]?.body.id).toBe(answer.body.id);
    });

    it('takes a compressed body', async () => {
      const answer = await post('/events', gzipSync(JSON.stringify(EVENT)), { 'content-encoding': 'gzip' });
      expect(answer.status).toBe(202);
      expect(stored.length).toBe(1);
    });

    it('ignores X-Forwarded-For of strangers', async () => {
      await postJson('/events', EVENT, { 'x-forwarded-for': '203.0.113.9' });
      expect(stored[0]?.private.ip_address).toBe('127.0.0.1');
    });
  });

  describe('POST /events/batch', () => {
    it('answers in order, and stores in order', async () => {
      const events = Array.from({ length: 100 }, (_, index) => ({ ...EVENT, resource_id: String(index) }));
      const answer = await postJson('/events/batch', { events });
      expect(answer.status).toBe(202);
      expect(stored.map(({ body }) => body.resource_id)).toEqual(
        events.map(({ resource_id }) => resource_id),
      );
      expect(answer.body).toEqual({ events: stored.map(({ id }) => ({ id, status: 'queued' })) });
    });

    it('takes the good elements and says what is wrong with the others', async () => {
      const answer = await postJson('/events/batch', {
        events: [EVENT, { action: 'x', metadata: [1] }, { ...EVENT, colour: 1 }, 7],
        extra: true,
      });
      expect(answer.status).toBe(202);
      expect(answer.body).toEqual({
        events: [
          { id: stored[0]?.id, status: 'queued' },
          {
            status: 'rejected',
            error: 'validation_failed',
            message: expect.stringContaining('events[1].'),
            violations: expect.arrayContaining([
              { path: 'events[1].actor_id', message: expect.any(String) },
              { path: 'events[1].metadata', message: expect.any(String) },
            ]),
          },
          { id: stored[1]?.id, status: 'queued', warnings: ["unknown member 'colour' was ignored"] },
          {
            status: 'rejected',
            error: 'validation_failed',
            message: expect.any(String),
            violations: expect.any(Array),
          },
        ],
        warnings: ["unknown member 'extra' was ignored"],
      });
      expect(stored.length).toBe(2);
    });

    it('is refused when every element is bad', async () => {
      const answer = await postJson('/events/batch', { events: [{}, { actor_id: 1 }] });
      expect(answer.status).toBe(422);
      expect(answer.body).toMatchObject({
        error: 'validation_failed',
        violations: expect.arrayContaining([expect.objectContaining({ path: 'events[0].action' })]),
      });
    });

    it('calls the second of two equal keys a duplicate', async () => {
      const keyed = { ...EVENT, idempotency_key: `twice-${kind}` };
      const { body } = await postJson('/events/batch', { events: [keyed, EVENT, keyed] });
      expect(body.events).toMatchObject([
        { status: 'queued' },
        { status: 'queued' },
        { status: 'duplicate' },
      ]);
      expect(stored.length).toBe(2);
    });
  });

  describe('hostile input', () => {
    const object = (members: string) => `{"actor_id":"a","action":"b",${members}}`;
    const nested = (depth: number) => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`;

    it.each<[string, string | Uint8Array, number, string?]>([
      ['nothing', '', 400],
      ['no JSON', 'actor_id=a&action=b', 400],
      ['unfinished JSON', '{"actor_id":"a"', 400],
      ['bytes that are no UTF-8', Buffer.from('{"actor_id":"\xff","action":"b"}', 'latin1'), 400],
      ['a number too many', '{"actor_id":"a","action":"b"} 1', 400],
      ['an array', '[{"actor_id":"a","action":"b"}]', 422, ''],
      ['null', 'null', 422, ''],
      ['a text', '"event"', 422, ''],
      ['nothing required', '{}', 422, 'action'],
      ['a number for a text', '{"actor_id":1,"action":"b"}', 422, 'actor_id'],
      ['an empty actor', '{"actor_id":"","action":"b"}', 422, 'actor_id'],
      ['256 characters', object(`"tenant_id":"${'x'.repeat(256)}"`), 422, 'tenant_id'],
      ['an address that is none', object('"ip_address":"1.2.3"'), 422, 'ip_address'],
      ['a time that is none', object('"occurred_at":"2026-02-30T00:00:00Z"'), 422, 'occurred_at'],
      ['a time before 1970', object('"occurred_at":"1969-12-31T23:59:59Z"'), 422, 'occurred_at'],
      ['the far future', object('"occurred_at":"2200-01-01T00:00:00Z"'), 422, 'occurred_at'],
      ['a version with a fraction', object('"version":1.5'), 422, 'version'],
      ['a negative version', object('"version":-1'), 422, 'version'],
      ['65 KiB of metadata', object(`"metadata":{"a":"${'x'.repeat(65 * 1024)}"}`), 422, 'metadata'],
      [
        '51 members of metadata',
        object(`"metadata":${JSON.stringify(Object.fromEntries([...Array(51).keys()].map((n) => [n, 0])))}`),
        422,
        'metadata',
      ],
      ['metadata that is a text', object('"metadata":"x"'), 422, 'metadata'],
      ['17 levels', object(`"metadata":${nested(17)}`), 422],
      ['100,000 levels', object(`"metadata":${nested(100_000)}`), 422],
      ['a million brackets', '['.repeat(1_000_000), 400],
      ['half a surrogate pair', object('"actor_name":"\\ud800"'), 422, 'actor_name'],
      ['the wrong half', object('"metadata":{"a":"x\\udc00"}'), 422, 'metadata.a'],
      ['a name with half a pair', object('"metadata":{"\\ud800":1}'), 422],
      ['2^53', object('"metadata":{"n":9007199254740992}'), 422, 'metadata.n'],
      ['−2^53', object('"metadata":{"n":-9007199254740993}'), 422, 'metadata.n'],
      ['1e300', object('"metadata":{"n":1e300}'), 422, 'metadata.n'],
      ['1e999', object('"metadata":{"n":1e999}'), 422, 'metadata.n'],
      ['51 targets', object(`"targets":${JSON.stringify(Array(51).fill({ type: 't' }))}`), 422, 'targets'],
      ['a target without type', object('"targets":[{"id":"1"}]'), 422, 'targets[0].type'],
      [
        'a target of 9 KiB',
        object(`"targets":[{"type":"t","metadata":{"a":"${'x'.repeat(9_000)}"}}]`),
        422,
        'targets[0].metadata',
      ],
    ])('%s', async (_, body, status, path) => {
      const answer = await post('/events', body);
      expect(answer.status).toBe(status);
      expect(answer.body).toMatchObject({
        error: status === 400 ? 'bad_request' : 'validation_failed',
        message: expect.any(String),
        request_id: answer.headers.get('x-request-id'),
      });
      if (path !== undefined)
        expect(answer.body.violations).toContainEqual({ path, message: expect.any(String) });
      expect(JSON.stringify(answer.body).length).toBeLessThan(5_000);
      expect(JSON.stringify(answer.body)).not.toMatch(/\.ts|at \w+ \(/);
      expect(stored).toEqual([]);
    });

    it('101 events', async () => {
      const answer = await postJson('/events/batch', { events: Array(101).fill(EVENT) });
      expect(answer.status).toBe(422);
      expect(stored).toEqual([]);
    });

    it('what looks dangerous and is not', async () => {
      const bodies = [
        object('"metadata":{"__proto__":{"admin":true},"constructor":1,"a.b":1,"a":{"b":2},"":0,"$where":1}'),
        object('"actor_name":"\\u0000\\u202e\\ud83d\\ude00\\"\\\\\\n"'),
        object('"metadata":{"n":9007199254740991,"m":-9007199254740991,"x":1e-999,"y":-0,"z":0.1}'),
        object('"metadata":{},"targets":[],"tenant_id":null,"session_id":""'),
        `\ufeff${object('"version":0')}`,
        object(`"metadata":${nested(16)}`),
        '{"actor_id":"a","actor_id":"b","action":"c"}',
      ];
      for (const body of bodies) expect((await post('/events', body)).status).toBe(202);
      expect(stored[0]?.private.metadata).toEqual(
        JSON.parse('{"__proto__":{"admin":true},"constructor":1,"a.b":1,"a":{"b":2},"":0,"$where":1}'),
      );
      expect(stored[1]?.private.actor_name).toBe('\u0000\u202e\u{1f600}"\\\n');
      expect(stored[6]?.body.actor_id).toBe('b');
    });

    it('a body over 8 MiB', async () => {
      const big = `{"events":[${JSON.stringify(EVENT)}],"x":"${'x'.repeat(8 * 1024 * 1024)}"}`;
      const answer = await post('/events/batch', big).catch((error: unknown) => String(error));
      // The server answers and closes while the client still sends: a client may see either.
      if (typeof answer !== 'string') expect(answer.status).toBe(413);
      expect(stored).toEqual([]);
    });

    it('a body that inflates to 100 MiB', async () => {
      const bomb = gzipSync(Buffer.alloc(100 * 1024 * 1024, ' '));
      expect((await post('/events', bomb, { 'content-encoding': 'gzip' })).status).toBe(413);
    });

    it.each([
      ['text/xml', '{}', { 'content-type': 'text/xml' }],
      ['an unknown compression', '{}', { 'content-encoding': 'br' }],
      ['broken gzip', '{}', { 'content-encoding': 'gzip' }],
      ['UTF-16', '{}', { 'content-type': 'application/json; charset=utf-16' }],
    ])('%s', async (_, body, headers) => {
      expect(await post('/events', body, headers)).toMatchObject({
        status: 400,
        body: { error: 'bad_request' },
      });
    });

    it('another method', async () => {
      for (const method of ['GET', 'PUT', 'PATCH', 'DELETE']) {
        const answer = await send('/events/batch', {
          method,
          headers: { authorization: `Bearer ${keys.ingest}` },
        });
        expect(answer.status).toBe(405);
        expect(answer.headers.get('allow')).toBe('POST');
      }
    });
  });

  describe('keys', () => {
    it.each([
      ['none', {}, 401],
      ['an empty one', { authorization: '' }, 401],
      ['no token', { authorization: 'Bearer' }, 401],
      [
        'another scheme',
        { authorization: `Basic ${Buffer.from(`x:${keys.ingest}`).toString('base64')}` },
        401,
      ],
      ['the bare token', { authorization: keys.ingest }, 401],
      ['an unknown one', { authorization: `Bearer ${newToken()}` }, 401],
      ['a cut one', { authorization: `Bearer ${keys.ingest.slice(0, -1)}` }, 401],
      ['two', { authorization: `Bearer ${keys.ingest} ${keys.ingest}` }, 401],
      ['a revoked one', { authorization: `Bearer ${keys.revoked}` }, 401],
      ['an expired one', { authorization: `Bearer ${keys.expired}` }, 401],
      ['12 KiB', { authorization: `Bearer imk_${'x'.repeat(12_000)}` }, 401],
      ['the scope read', { authorization: `Bearer ${keys.read}` }, 403],
      ["an operator's", { authorization: `Bearer ${keys.operator}` }, 403],
    ])('%s', async (_, headers: Record<string, string>, status) => {
      const answer = await send('/events', { method: 'POST', body: JSON.stringify(EVENT), headers });
      expect(answer.status).toBe(status);
      expect(answer.body).toMatchObject({ error: status === 401 ? 'unauthenticated' : 'forbidden' });
      expect(stored).toEqual([]);
    });

    it('headers over the limit', async () => {
      const answer = await post('/events', '{}', { authorization: `Bearer ${'x'.repeat(20_000)}` });
      expect(answer.status).toBe(431);
    });

    it('is asked for before a long body is taken', async () => {
      for (const path of ['/events', '/events/batch']) {
        expect(await answerToHeadOfLongBody(server.port, path, 'Bearer nobody')).toBe(401);
        expect(await answerToHeadOfLongBody(server.port, path, `Bearer ${keys.read}`)).toBe(403);
      }
    });

    it('any case of the scheme', async () => {
      const answer = await postJson('/events', EVENT, { authorization: `bearer ${keys.ingest}` });
      expect(answer.status).toBe(202);
    });
  });

  describe('when events cannot be kept', () => {
    it('the edge refuses, saying when to ask again', async () => {
      refusal = new ImmutableError('unavailable', 'Not now.', { retryAfterSeconds: 5 });
      const answer = await postJson('/events', EVENT);
      refusal = undefined;
      expect(answer).toMatchObject({ status: 503, body: { error: 'unavailable', message: 'Not now.' } });
      expect(answer.headers.get('retry-after')).toBe('5');
    });

    it('the stream is full', async () => {
      const before = outcome;
      outcome = { kind: 'full', code: 10_077, reason: 'maximum bytes exceeded' };
      const answers = await Promise.all([
        postJson('/events', EVENT),
        postJson('/events/batch', { events: [EVENT] }),
        postJson('/events', { ...EVENT, idempotency_key: 'unlucky' }),
      ]);
      outcome = before;
      for (const answer of answers) {
        expect(answer.status).toBe(503);
        expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
      }
      const later = await postJson('/events', { ...EVENT, idempotency_key: 'unlucky' });
      expect(later.body.status).toBe('queued');
    });
  });
});

/** The status that a request gets which announces a body and sends none of it. */
async function answerToHeadOfLongBody(port: number, path: string, authorization: string) {
  return await new Promise((resolve, reject) => {
    const headers = { authorization, 'content-length': 1_000_000 };
    const asked = request({ port, path: `/api/v1${path}`, method: 'POST', headers }, (answer) => {
      resolve(answer.statusCode);
      asked.destroy();
    });
    asked.on('error', reject);
    asked.flushHeaders();
  });
}
