import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import * as https from 'node:https';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ImmutableError } from '../../core/errors.ts';
import { healthRoutes } from '../../infra/http/health.ts';
import { startHttpServer } from '../../infra/http/server.ts';
import { HTTP_LIMITS, type HttpServer, type Route } from '../../infra/http/types.ts';
import { createMetrics } from '../../infra/metrics.ts';

/** Streams that say how long they are. */
const SIZED: Record<string, { says: number; gives: number }> = {
  '/sized': { says: 20_000_000, gives: 20_000_000 },
  '/sized-nothing': { says: 0, gives: 0 },
  '/sized-short': { says: 300_000, gives: 100_000 },
  '/sized-long': { says: 150_000, gives: 300_000 },
};
const SIZED_CHUNK_BYTES = 100_000;

const hasOpenssl = spawnSync('openssl', ['version']).status === 0;

/** What every server behind `startHttpServer` keeps, as seen from the socket. */
describe.each(['uws', 'node'] as const)('HTTP server %s', (kind) => {
  const logged: string[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => void logged.push(line) });
  const seen: string[] = [];
  let pulled = 0;
  let streamsStopped = 0;
  let release: () => void = () => {};
  let problems: string[] = [];
  let server: HttpServer;

  const routes: Route[] = [
    {
      method: 'POST',
      path: '/echo',
      maxBodyBytes: 1_000,
      handler: async (request) => {
        seen.push(request.path);
        await delay(1);
        return {
          status: 200,
          body: JSON.stringify({
            method: request.method,
            query: request.query,
            body: request.body.toString('latin1'),
            address: request.remoteAddress,
            agent: request.header('user-agent') ?? null,
            forwarded: request.header('x-forwarded-for') ?? null,
            id: request.id,
          }),
        };
      },
    },
    {
      method: 'POST',
      path: '/members-only',
      maxBodyBytes: 1024 * 1024,
      mayBeLong: (header) => {
        if (header('authorization') !== 'member') throw new ImmutableError('unauthenticated', 'Who are you?');
      },
      handler: ({ body }) => ({ status: 200, body: String(body.length) }),
    },
    {
      method: 'GET',
      path: '/things/:id',
      handler: ({ params }) => ({ status: 200, body: JSON.stringify(params) }),
    },
    { method: 'PUT', path: '/things/:id', handler: () => ({ status: 204 }) },
    { method: 'GET', path: '/things/all', handler: () => ({ status: 200, body: '"all"' }) },
    {
      method: 'DELETE',
      path: '/things/:name/parts/:part',
      handler: ({ params }) => ({ status: 200, body: JSON.stringify(params) }),
    },
    {
      method: 'GET',
      path: '/slow/:ms',
      handler: async ({ params }) => {
        await delay(Number(params.ms));
        return { status: 200, body: JSON.stringify(params.ms) };
      },
    },
    {
      method: 'GET',
      path: '/held',
      handler: async () => {
        await new Promise<void>((resolve) => {
          release = resolve;
        });
        return { status: 200, body: '"released"' };
      },
    },
    {
      method: 'GET',
      path: '/fails/:how',
      handler: async ({ params }) => {
        if (params.how === 'later') await delay(1);
        if (params.how === 'busy')
          throw new ImmutableError('unavailable', 'Try later.', { retryAfterSeconds: 7 });
        if (params.how === 'invalid') {
          throw new ImmutableError('validation_failed', 'No.', {
            violations: [{ path: 'a', message: 'is wrong' }],
          });
        }
        if (params.how === 'stop') throw new ImmutableError('damaged_message', 'secret detail');
        throw new TypeError('secret detail');
      },
    },
    {
      method: 'GET',
      path: '/big',
      handler: () => ({
        status: 200,
        headers: { 'content-type': 'text/plain' },
        body: 'x'.repeat(5_000_000),
      }),
    },
    {
      method: 'GET',
      path: '/stream',
      handler: () => ({ status: 200, headers: { 'content-type': 'text/plain' }, body: chunks(50, 1_000) }),
    },
    ...(Object.entries(SIZED).map(([path, { says, gives }]) => ({
      method: 'GET',
      path,
      handler: () => ({
        status: 200,
        length: says,
        body: chunks(gives / SIZED_CHUNK_BYTES, SIZED_CHUNK_BYTES),
      }),
    })) satisfies Route[]),
    { method: 'GET', path: '/endless', handler: () => ({ status: 200, body: chunks(1e9, 64 * 1024) }) },
    { method: 'GET', path: '/broken', handler: () => ({ status: 200, body: breaking() }) },
    ...healthRoutes({ metrics: createMetrics('test'), ready: () => problems }),
  ];

  async function* chunks(count: number, size: number): AsyncGenerator<Uint8Array> {
    try {
      for (let index = 0; index < count; index += 1) {
        pulled += 1;
        yield Buffer.alloc(size, 'x');
        if (index % 10 === 0) await delay(0);
      }
    } finally {
      streamsStopped += 1;
    }
  }

  async function* breaking(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('beginning');
    await delay(5);
    throw new Error('source broke');
  }

  beforeAll(async () => {
    server = await startHttpServer({ kind, host: '127.0.0.1', port: 0, routes, log });
  });
  afterAll(() => server.close(0));

  const ask = (...parts: (string | number)[]) => exchange(server.port, parts);

  it('gives a handler the whole request', async () => {
    const answer = await ask(post('/echo?a=1&b=%20', 'hello', ['User-Agent: test', 'X-Request-Id: my-id.1']));
    expect(answer.status).toBe(200);
    expect(answer.headers['content-type']).toBe('application/json; charset=utf-8');
    expect(answer.json()).toEqual({
      method: 'POST',
      query: 'a=1&b=%20',
      body: 'hello',
      address: '127.0.0.1',
      agent: 'test',
      forwarded: null,
      id: 'my-id.1',
    });
    expect(answer.headers['x-request-id']).toBe('my-id.1');
  });

  it('joins a header that was sent several times', async () => {
    const answer = await ask(post('/echo', '', ['X-Forwarded-For: 1.1.1.1', 'x-forwarded-for: 2.2.2.2']));
    expect(answer.json()).toMatchObject({ forwarded: '1.1.1.1, 2.2.2.2' });
  });

  it('makes a request id where none, or no sensible one, was sent', async () => {
    const ids = await Promise.all(
      [[], ['X-Request-Id: with space'], [`X-Request-Id: ${'x'.repeat(200)}`]].map(
        async (headers) => (await ask(get('/healthz', headers))).headers['x-request-id'],
      ),
    );
    expect(new Set(ids).size).toBe(3);
    for (const id of ids) expect(id).toMatch(/^[a-z0-9]+-[a-z0-9]+$/);
  });

  it('finds routes: literal before pattern, parameters decoded', async () => {
    expect((await ask(get('/things/a%20b%2Fc'))).json()).toEqual({ id: 'a b/c' });
    expect((await ask(get('/things/all'))).json()).toBe('all');
    expect((await ask(request('DELETE', '/things/n/parts/7'))).json()).toEqual({ name: 'n', part: '7' });
    const nothing = await ask(request('PUT', '/things/1'));
    expect(nothing.status).toBe(204);
    expect(nothing.body).toBe('');
  });

  it.each(['/', '/nowhere', '/things', '/things/', '/things/a/b', '/things/%zz', '/echo/', '//echo'])(
    'answers 404 as JSON at %s',
    async (path) => {
      const answer = await ask(get(path));
      expect(answer.status).toBe(404);
      expect(answer.json()).toMatchObject({ error: 'not_found', request_id: answer.headers['x-request-id'] });
    },
  );

  it('answers 405 with Allow', async () => {
    const literal = await ask(get('/echo'));
    expect(literal.status).toBe(405);
    expect(literal.headers.allow).toBe('POST');
    expect(literal.json()).toMatchObject({ error: 'method_not_allowed' });
    const pattern = await ask(request('PATCH', '/things/1', 'body'));
    expect(pattern.headers.allow).toBe('GET, HEAD, PUT');
    expect((await ask(request('OPTIONS', '/echo'))).status).toBe(405);
  });

  it('runs no handler before the body is complete', async () => {
    seen.length = 0;
    const answering = ask(request('POST', '/echo', 'hello').slice(0, -3), 60, 'llo');
    await delay(40);
    expect(seen).toEqual([]);
    expect((await answering).json()).toMatchObject({ body: 'hello' });
  });

  it('refuses a body from its announced length, before it is sent, and closes', async () => {
    const answer = await ask('POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 1001\r\n\r\n');
    expect(answer.status).toBe(413);
    expect(answer.json()).toMatchObject({ error: 'payload_too_large' });
    expect(answer.closed).toBe(true);
    const unknown = await ask('POST /nowhere HTTP/1.1\r\nHost: t\r\nContent-Length: 999999999\r\n\r\n');
    expect(unknown.status).toBe(413);
  });

  it('holds long bodies only of those who may send them', async () => {
    const head = (line: string) => `POST /members-only HTTP/1.1\r\nHost: t\r\n${line}\r\n`;
    for (const line of ['Content-Length: 65537\r\n', 'Transfer-Encoding: chunked\r\n']) {
      const refused = await ask(head(line));
      expect(refused.status).toBe(401);
      expect(refused.json()).toMatchObject({ error: 'unauthenticated', message: 'Who are you?' });
      expect(refused.closed).toBe(true);
    }
    const body = 'x'.repeat(65_537);
    expect((await ask(`${head('Authorization: member\r\nContent-Length: 65537\r\n')}${body}`)).json()).toBe(
      65_537,
    );
    // Whether a short one is welcome is for the handler to say, and the connection may go on.
    const short = await ask(`${head('Content-Length: 5\r\n')}hello`);
    expect(short).toMatchObject({ status: 200, closed: false });
  });

  it('puts together a body of very many chunks', async () => {
    const pieces = Array.from({ length: 1_000 }, (_, index) => String(index % 10));
    expect((await ask(chunked('/echo', pieces))).json()).toMatchObject({ body: pieces.join('') });
  });

  it('takes a body of exactly the limit, announced or chunked', async () => {
    const body = 'x'.repeat(1_000);
    expect((await ask(post('/echo', body))).json()).toMatchObject({ body });
    expect((await ask(chunked('/echo', [body.slice(0, 600), body.slice(600)]))).json()).toMatchObject({
      body,
    });
  });

  it('counts the bytes of a chunked body', async () => {
    seen.length = 0;
    const answer = await ask(chunked('/echo', ['x'.repeat(600), 'x'.repeat(401)]));
    expect(answer.status).toBe(413);
    expect(answer.closed).toBe(true);
    expect(seen).toEqual([]);
  });

  it.each([
    ['a doubled Content-Length', ['Content-Length: 5', 'Content-Length: 5']],
    ['two different lengths', ['Content-Length: 5', 'Content-Length: 7']],
    ['length and chunks', ['Content-Length: 5', 'Transfer-Encoding: chunked']],
    ['chunks and length', ['Transfer-Encoding: chunked', 'Content-Length: 5']],
    ['an encoding that is not chunked', ['Transfer-Encoding: gzip']],
    ['an encoding before chunked', ['Transfer-Encoding: gzip, chunked']],
    ['a doubled encoding', ['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked']],
    ['a negative length', ['Content-Length: -5']],
    ['a signed length', ['Content-Length: +5']],
    ['a length list', ['Content-Length: 5, 5']],
    ['a length in words', ['Content-Length: five']],
    ['an endless length', ['Content-Length: 99999999999999999999999']],
    ['a space before the colon', ['Content-Length : 5']],
    ['a folded header', ['Content-Length: 5', 'X-A: b\r\n c']],
    ['a chunk without a size', ['Transfer-Encoding: chunked']],
  ])('refuses %s and closes, running nothing', async (_, headers) => {
    seen.length = 0;
    const bad = `POST /echo HTTP/1.1\r\nHost: t\r\n${headers.join('\r\n')}\r\n\r\nhello`;
    const answer = await ask(bad);
    expect(answer.status).toBe(400);
    expect(answer.closed).toBe(true);

    const client = await open(server.port);
    client.socket.write(bad + request('POST', '/echo', 'smuggled'));
    expect(await client.untilClosed(500)).toBe(true);
    expect(client.received().filter(({ status }) => status !== 400)).toEqual([]);
    expect(seen).toEqual([]);
  });

  it.each([
    ['no HTTP at all', '\x16\x03\x01\x02\r\n\r\n'],
    ['a missing Host', 'GET /healthz HTTP/1.1\r\n\r\n'],
    [
      'headers over the limit',
      get('/healthz', [`Authorization: Bearer ${'x'.repeat(HTTP_LIMITS.headerBytes)}`]),
    ],
  ])('refuses %s and closes', async (_, text) => {
    const answer = await ask(text);
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(answer.closed).toBe(true);
  });

  it('takes large headers, but no URL over its limit', async () => {
    expect((await ask(get('/healthz', [`Authorization: Bearer ${'x'.repeat(12_000)}`]))).status).toBe(200);
    const answer = await ask(get(`/healthz?${'x'.repeat(HTTP_LIMITS.urlCharacters)}`));
    expect(answer.status).toBe(400);
    expect(answer.json()).toMatchObject({ error: 'bad_request' });
  });

  it('asks for a body only where the client waits for that', async () => {
    const answer = await ask(
      'POST /echo HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n',
      30,
      'hello',
    );
    expect(answer.raw).toMatch(/^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 200 OK/);
  });

  it('answers HEAD like GET, without the body', async () => {
    for (const [path, length] of [
      ['/things/all', '5'],
      ['/big', '5000000'],
      ['/stream', undefined],
      ['/sized', '20000000'],
      ['/sized-nothing', '0'],
    ] as const) {
      const answer = await ask(request('HEAD', path));
      expect(answer.status).toBe(200);
      expect(answer.body).toBe('');
      if (length !== undefined) expect(answer.headers['content-length']).toBe(length);
    }
  });

  it('keeps a connection for the next request', async () => {
    const client = await open(server.port);
    for (let index = 0; index < 5; index += 1) {
      client.socket.write(post('/echo', String(index)));
      expect((await client.nextAnswer()).json()).toMatchObject({ body: String(index) });
    }
    client.socket.destroy();
  });

  it('closes when the client asks for that', async () => {
    const answer = await ask(get('/healthz', ['Connection: close']));
    expect(answer.status).toBe(200);
    expect(answer.closed).toBe(true);
  });

  it('never lets pipelined answers change places', async () => {
    const client = await open(server.port);
    client.socket.write(get('/slow/30') + get('/slow/1') + get('/slow/10'));
    await client.untilClosed(300);
    const bodies = client.received().map((answer) => answer.json());
    // uWebSockets.js cannot hold a request back: it closes instead, and the client asks again.
    expect(bodies).toEqual(kind === 'uws' ? [] : ['30', '1', '10']);
    expect(client.closed()).toBe(kind === 'uws');
    client.socket.destroy();
  });

  it('turns errors into answers', async () => {
    const busy = await ask(get('/fails/busy'));
    expect(busy.status).toBe(503);
    expect(busy.headers['retry-after']).toBe('7');
    expect(busy.json()).toEqual({
      error: 'unavailable',
      message: 'Try later.',
      request_id: busy.headers['x-request-id'],
    });
    const invalid = await ask(get('/fails/invalid'));
    expect(invalid.status).toBe(422);
    expect(invalid.json()).toMatchObject({ violations: [{ path: 'a', message: 'is wrong' }] });
  });

  it.each(['now', 'later', 'stop'])('keeps an unexpected error (%s) to the log', async (how) => {
    logged.length = 0;
    const answer = await ask(get(`/fails/${how}`, ['X-Request-Id: find-me']));
    expect(answer.status).toBe(500);
    expect(answer.json()).toMatchObject({ error: 'internal', request_id: 'find-me' });
    expect(answer.raw).not.toContain('secret');
    expect(answer.raw).not.toContain('.ts');
    expect(logged.join('')).toContain('secret detail');
    expect(logged.join('')).toContain('find-me');
  });

  it('writes nothing after the client has gone', async () => {
    for (const path of ['/slow/30', '/endless', '/big']) {
      const client = await open(server.port);
      client.socket.write(get(path));
      await delay(5);
      client.socket.resetAndDestroy();
    }
    const uploading = await open(server.port);
    uploading.socket.write('POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 500\r\n\r\nhalf');
    await delay(5);
    uploading.socket.resetAndDestroy();
    await delay(60);
    expect((await ask(get('/healthz'))).status).toBe(200);
  });

  it('sends large and streamed bodies whole', async () => {
    expect((await ask(get('/big'))).body).toBe('x'.repeat(5_000_000));
    const streamed = await ask(get('/stream'));
    expect(streamed.headers['transfer-encoding']).toBe('chunked');
    expect(streamed.body).toBe('x'.repeat(50_000));
  });

  it('says how long a stream is where that is known', async () => {
    const client = await open(server.port);
    for (const path of ['/sized', '/sized-nothing', '/sized']) {
      client.socket.write(get(path));
      const answer = await client.nextAnswer();
      expect(answer.headers['content-length']).toBe(String(SIZED[path]?.says));
      expect(answer.headers['transfer-encoding']).toBeUndefined();
      expect(answer.body).toBe('x'.repeat(SIZED[path]?.says ?? -1));
    }
    client.socket.destroy();
  });

  it('closes where a stream is not as long as was said', async () => {
    for (const path of ['/sized-short', '/sized-long']) {
      logged.length = 0;
      await expect(ask(get(path)), path).rejects.toThrow('closed after');
      expect(logged.join(''), path).toContain('an answer broke off');
    }
  });

  it('pulls from a sized stream only what the client reads, and loses nothing of it', async () => {
    pulled = 0;
    streamsStopped = 0;
    const client = await open(server.port);
    client.socket.pause();
    client.socket.write(get('/sized'));
    await delay(300);
    expect(pulled).toBeLessThan(190);
    client.socket.resume();
    expect((await client.nextAnswer()).body).toBe('x'.repeat(20_000_000));
    client.socket.write(get('/sized'));
    client.socket.pause();
    await delay(100);
    client.socket.destroy();
    await expect.poll(() => streamsStopped, { timeout: 5_000 }).toBe(2);
  });

  it('pulls from a stream only what the client reads, and stops it when the client goes', async () => {
    pulled = 0;
    streamsStopped = 0;
    const client = await open(server.port);
    client.socket.pause();
    client.socket.write(get('/endless'));
    await delay(300);
    const afterWaiting = pulled;
    // The kernel's buffers of both ends take some megabytes.
    expect(afterWaiting).toBeLessThan(400);
    await delay(200);
    expect(pulled).toBe(afterWaiting);
    client.socket.resume();
    await delay(100);
    expect(pulled).toBeGreaterThan(afterWaiting);
    client.socket.destroy();
    await expect.poll(() => streamsStopped, { timeout: 5_000 }).toBe(1);
  });

  it('closes without an end when a stream breaks', async () => {
    logged.length = 0;
    const answer = await ask(get('/broken'));
    expect(answer.closed).toBe(true);
    expect(answer.raw).toContain('beginning');
    expect(answer.raw).not.toContain('\r\n0\r\n\r\n');
    expect(logged.join('')).toContain('source broke');
  });

  it('tells its health, readiness and metrics', async () => {
    expect((await ask(get('/healthz'))).json()).toEqual({ status: 'ok' });
    problems = [];
    expect((await ask(get('/readyz'))).json()).toEqual({ status: 'ready' });
    problems = ['NATS is away.'];
    const notReady = await ask(get('/readyz'));
    expect(notReady.status).toBe(503);
    expect(notReady.headers['retry-after']).toBe('1');
    expect(notReady.json()).toMatchObject({ error: 'unavailable', message: 'NATS is away.' });
    const metrics = await ask(get('/metrics'));
    expect(metrics.headers['content-type']).toContain('text/plain');
    expect(metrics.body).toContain('process_cpu');
  });

  it('closes on clients that send or read too slowly, and on idle ones', { timeout: 40_000 }, async () => {
    const slow: Record<string, string> = {
      'says nothing': '',
      'stops in the headers': 'GET /healthz HTTP/1.1\r\nHo',
      'stops in the body': 'POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nh',
      'is idle': get('/healthz'),
    };
    const closed = Object.entries(slow).map(async ([name, text]) => {
      const client = await open(server.port);
      client.socket.write(text);
      return [name, await client.untilClosed(HTTP_LIMITS.idleMs * 2)];
    });
    streamsStopped = 0;
    const reader = await open(server.port);
    reader.socket.pause();
    reader.socket.write(get('/endless'));
    expect(await Promise.all(closed)).toEqual(Object.keys(slow).map((name) => [name, true]));
    await expect.poll(() => streamsStopped, { timeout: 10_000 }).toBe(1);
    reader.socket.destroy();
  });

  it('refuses a port that is taken, saying what to do', async () => {
    const second = startHttpServer({ kind, host: '127.0.0.1', port: server.port, routes: [], log });
    await expect(second).rejects.toMatchObject({
      code: 'misconfigured',
      message: `Another program already listens on port ${server.port} of 127.0.0.1.`,
      nextStep: expect.stringContaining('IMMUTABLE_PORT'),
    });
    await expect(
      startHttpServer({ kind, host: '203.0.113.1', port: 0, routes: [], log }),
    ).rejects.toMatchObject({
      code: 'misconfigured',
      nextStep: expect.stringContaining('IMMUTABLE_HOST'),
    });
  });

  it.skipIf(!hasOpenssl)(
    `speaks TLS, and refuses files that do not belong together${hasOpenssl ? '' : ' [needs openssl: it is not installed]'}`,
    async () => {
      const folder = mkdtempSync(join(tmpdir(), 'immutable-tls-'));
      try {
        const [one, other] = [makeCertificate(folder, 'one'), makeCertificate(folder, 'other')];
        const options = { kind, host: '127.0.0.1', port: 0, routes, log };
        const secure = await startHttpServer({ ...options, tls: one });
        const answer = await new Promise<IncomingMessage>((resolve, reject) => {
          const asked = https.get({
            port: secure.port,
            path: '/healthz',
            ca: readFileSync(one.certFile),
            servername: 'localhost',
          });
          asked.on('response', resolve).on('error', reject);
        });
        answer.resume();
        expect(answer.statusCode).toBe(200);
        await secure.close(100);
        for (const tls of [
          { certFile: one.certFile, keyFile: other.keyFile },
          { certFile: join(folder, 'missing.pem'), keyFile: one.keyFile },
        ]) {
          await expect(startHttpServer({ ...options, tls })).rejects.toMatchObject({
            code: 'misconfigured',
            nextStep: expect.stringContaining('IMMUTABLE_TLS_CERT'),
          });
        }
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
  );

  it('drains: answers what it holds, refuses what is new, closes every connection', async () => {
    const draining = await startHttpServer({ kind, host: '127.0.0.1', port: 0, routes, log });
    const idle = await open(draining.port);
    idle.socket.write(get('/healthz'));
    await idle.nextAnswer();
    const late = await open(draining.port);
    late.socket.write('GET /hea');
    const held = await open(draining.port);
    held.socket.write(get('/held'));
    await delay(20);

    const closing = draining.close(5_000);
    await delay(20);
    late.socket.write('lthz HTTP/1.1\r\nHost: t\r\n\r\n');
    const refused = await late.nextAnswer();
    expect(refused.status).toBe(503);
    expect(refused.json()).toMatchObject({ error: 'unavailable' });
    expect(await late.untilClosed(500)).toBe(true);
    await expect(open(draining.port)).rejects.toMatchObject({ code: 'ECONNREFUSED' });

    release();
    expect((await held.nextAnswer()).json()).toBe('released');
    await closing;
    expect(await held.untilClosed(500)).toBe(true);
    expect(await idle.untilClosed(500)).toBe(true);
  });

  it('drains for no longer than it was told', async () => {
    const draining = await startHttpServer({ kind, host: '127.0.0.1', port: 0, routes, log });
    const held = await open(draining.port);
    held.socket.write(get('/held'));
    await delay(20);
    const startedAt = performance.now();
    await draining.close(100);
    expect(performance.now() - startedAt).toBeLessThan(1_000);
    expect(await held.untilClosed(500)).toBe(true);
    release();
  });
});

function makeCertificate(folder: string, name: string): { certFile: string; keyFile: string } {
  const files = { certFile: join(folder, `${name}.pem`), keyFile: join(folder, `${name}.key`) };
  const what = [
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-subj',
    '/CN=localhost',
    '-nodes',
  ];
  const where = ['-addext', 'subjectAltName=DNS:localhost', '-out', files.certFile, '-keyout', files.keyFile];
  execFileSync('openssl', ['req', '-x509', ...what, ...where], { stdio: 'ignore' });
  return files;
}

// --- A client that sends exactly what it is told --------------------------------------------------

interface Answer {
  status: number;
  headers: Record<string, string>;
  body: string;
  json(): unknown;
  raw: string;
  /** How many answers came. */
  count: number;
  closed: boolean;
}

function request(method: string, path: string, body = '', headers: string[] = []): string {
  const length = body === '' ? [] : [`Content-Length: ${Buffer.byteLength(body)}`];
  return `${[`${method} ${path} HTTP/1.1`, 'Host: t', ...headers, ...length].join('\r\n')}\r\n\r\n${body}`;
}

const get = (path: string, headers: string[] = []) => request('GET', path, '', headers);
const post = (path: string, body: string, headers: string[] = []) => request('POST', path, body, headers);

function chunked(path: string, pieces: string[]): string {
  const body = [...pieces, ''].map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`).join('');
  return `POST ${path} HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n${body}`;
}

/** Sends the parts (a number waits that many ms) and gives the first answer once it is complete and the dust settled. */
async function exchange(port: number, parts: (string | number)[]): Promise<Answer> {
  const client = await open(port);
  for (const part of parts) {
    if (typeof part === 'number') await delay(part);
    else client.socket.write(part, 'latin1');
  }
  const first = await client.nextAnswer();
  await client.untilClosed(20);
  const answer = { ...first, raw: client.raw(), count: client.received().length, closed: client.closed() };
  client.socket.destroy();
  return answer;
}

interface Client {
  socket: Socket;
  /** The next complete answer; what came so far once the connection closed. */
  nextAnswer(): Promise<Answer>;
  received(): Answer[];
  raw(): string;
  closed(): boolean;
  untilClosed(ms: number): Promise<boolean>;
}

async function open(port: number): Promise<Client> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: false });
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
  const pieces: Buffer[] = [];
  let closed = false;
  let taken = 0;
  socket.on('data', (piece) => pieces.push(piece));
  socket.on('error', () => {});
  socket.on('close', () => {
    closed = true;
  });
  const raw = () => Buffer.concat(pieces).toString('latin1');
  const received = () => parseAnswers(raw(), closed);
  return {
    socket,
    raw,
    received,
    closed: () => closed,
    nextAnswer: async () => {
      for (let waited = 0; waited < 1_000; waited += 1) {
        const answer = received()[taken];
        if (answer !== undefined) {
          taken += 1;
          return answer;
        }
        if (closed) throw new Error(`closed after ${JSON.stringify(raw().slice(0, 200))}`);
        await delay(pieces.length > 20 ? 20 : 2);
      }
      throw new Error('no answer');
    },
    untilClosed: async (ms) => {
      const deadline = performance.now() + ms;
      while (!closed && performance.now() < deadline) await delay(2);
      return closed;
    },
  };
}

function parseAnswers(text: string, closed: boolean): Answer[] {
  const answers: Answer[] = [];
  let rest = text;
  while (rest !== '') {
    const headEnd = rest.indexOf('\r\n\r\n');
    if (headEnd < 0) break;
    const [statusLine = '', ...lines] = rest.slice(0, headEnd).split('\r\n');
    rest = rest.slice(headEnd + 4);
    const status = Number(statusLine.split(' ')[1]);
    if (status === 100) continue;
    const headers = Object.fromEntries(
      lines.map((line) => [
        line.slice(0, line.indexOf(':')).toLowerCase(),
        line.slice(line.indexOf(':') + 1).trim(),
      ]),
    );
    const body = takeBody(rest, headers, closed);
    if (body === undefined) break;
    rest = rest.slice(body.consumed);
    answers.push({
      status,
      headers,
      body: body.text,
      json: () => JSON.parse(body.text),
      raw: text,
      count: 0,
      closed,
    });
  }
  return answers;
}

function takeBody(
  rest: string,
  headers: Record<string, string>,
  closed: boolean,
): { text: string; consumed: number } | undefined {
  if (headers['transfer-encoding'] === 'chunked' && rest !== '') {
    let text = '';
    let at = 0;
    for (;;) {
      const lineEnd = rest.indexOf('\r\n', at);
      const size = Number.parseInt(rest.slice(at, lineEnd), 16);
      if (lineEnd < 0 || Number.isNaN(size) || rest.length < lineEnd + 4 + size) {
        return closed ? { text, consumed: rest.length } : undefined;
      }
      text += rest.slice(lineEnd + 2, lineEnd + 2 + size);
      at = lineEnd + 4 + size;
      if (size === 0) return { text, consumed: at };
    }
  }
  const length = Number(headers['content-length'] ?? 0);
  if (rest === '' && length > 0) return { text: '', consumed: 0 }; // HEAD, or not here yet: `exchange` waits a little
  return rest.length < length ? undefined : { text: rest.slice(0, length), consumed: length };
}
