import { once } from 'node:events';
import {
  createServer as createPlainServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
} from 'node:http';
import { createServer, get as getEncrypted } from 'node:https';
import type { AddressInfo } from 'node:net';
import { request } from 'undici';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Authority, createAuthority } from '../../test/support/certificates.ts';
import { type DnsAnswer, type DnsServer, startDns } from '../../test/support/dns.ts';
import { guardedAgent } from './agent.ts';
import { outboundPolicy } from './policy.ts';
import { checkedLookup, dnsResolve, OutboundRefused } from './resolver.ts';
import { createSender, type Outcome, type Sender, type SenderOptions } from './sender.ts';

/** 127.0.0.1 stands for an address that may be reached, all others of 127.0.0.0/8 for the inside. */
const ALLOWED = '127.0.0.1';
const INSIDE = '127.0.0.2';

let authority: Authority;
const cleanUps: (() => unknown)[] = [];

beforeAll(() => {
  authority = createAuthority();
});

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

interface Recipient {
  port: number;
  requests: { method: string; url: string; headers: Record<string, unknown>; body: string }[];
}

const ok: RequestListener = (_, response) => response.end('thanks');

async function recipient(
  { address = ALLOWED, port = 0, names = ['hook.example.test', ALLOWED], plain = false } = {},
  answer: RequestListener = ok,
): Promise<Recipient> {
  const requests: Recipient['requests'] = [];
  const listener: RequestListener = (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { method = '', url = '', headers } = request;
      requests.push({ method, url, headers, body: Buffer.concat(chunks).toString() });
      answer(request, response);
    });
  };
  const server: Server = plain ? createPlainServer(listener) : createServer(authority.issue(names), listener);
  server.listen(port, address);
  await once(server, 'listening');
  cleanUps.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return { port: (server.address() as AddressInfo).port, requests };
}

async function dns(answer: DnsAnswer): Promise<DnsServer> {
  const server = await startDns(answer);
  cleanUps.push(server.close);
  return server;
}

function sender(server: DnsServer, options: Partial<SenderOptions> = {}): Sender {
  const made = createSender({
    policy: outboundPolicy([ALLOWED]),
    resolve: dnsResolve([server.address]),
    ca: [authority.certificate],
    timeoutMs: 5_000,
    ...options,
  });
  cleanUps.push(made.close);
  return made;
}

function post(from: Sender, url: string): Promise<Outcome> {
  return from.send({ url, method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"a":1}' });
}

/** Answers in turn, the last one for ever. */
function inTurn(...answers: (readonly string[] | undefined)[]): DnsAnswer {
  return () => (answers.length > 1 ? answers.shift() : answers[0]);
}

const REFUSED = { kind: 'refused', reason: 'leads to an address that is not public' };

describe('a message', () => {
  it('arrives whole, by the name of its host', async () => {
    const [hook, names] = [await recipient(), await dns(() => [ALLOWED])];
    const outcome = await post(sender(names), `https://hook.example.test:${hook.port}/in?x=1#y`);
    expect(outcome).toMatchObject({
      kind: 'answered',
      status: 200,
      answer: { text: 'thanks', isCut: false },
    });
    expect(hook.requests).toMatchObject([
      {
        method: 'POST',
        url: '/in?x=1',
        body: '{"a":1}',
        headers: { host: `hook.example.test:${hook.port}`, 'content-type': 'application/json' },
      },
    ]);
  });

  it('goes unencrypted to where the operator allows it', async () => {
    const [hook, names] = [await recipient({ plain: true }), await dns(() => [ALLOWED])];
    const from = sender(names);
    for (const host of ['hook.example.test', ALLOWED]) {
      expect(await post(from, `http://${host}:${hook.port}/`)).toMatchObject({
        kind: 'answered',
        status: 200,
      });
    }
    expect(names.questions).toEqual(['A hook.example.test', 'AAAA hook.example.test']);
  });

  it('goes to nobody whom no trusted authority vouches for, nor for another name', async () => {
    const names = await dns(() => [ALLOWED]);
    const hook = await recipient({ names: ['other.example.test'] });
    const url = `https://hook.example.test:${hook.port}/`;
    expect(await post(sender(names), url)).toMatchObject({
      kind: 'failed',
      reason: 'the TLS connection failed (ERR_TLS_CERT_ALTNAME_INVALID)',
    });
    expect(await post(sender(names, { ca: [] }), url)).toMatchObject({
      kind: 'failed',
      reason: 'the TLS connection failed (UNABLE_TO_VERIFY_LEAF_SIGNATURE)',
    });
    expect(hook.requests).toEqual([]);
  });
});

describe('an address that must not be reached', () => {
  it('is not connected to, whether the URL names it or DNS does', async () => {
    const hook = await recipient({ address: INSIDE });
    const names = await dns(() => [INSIDE]);
    const from = sender(names);
    for (const host of [INSIDE, '0x7f.0.0.2', '2130706434', '[::ffff:127.0.0.2]', 'hook.example.test']) {
      expect(await post(from, `https://${host}:${hook.port}/`)).toEqual(REFUSED);
      expect(await from.refusalOf(`https://${host}:${hook.port}/`)).toBe(REFUSED.reason);
    }
    expect(hook.requests).toEqual([]);
  });

  it('is not connected to by the agent alone, whatever somebody asks of it', async () => {
    const hook = await recipient({ address: INSIDE, plain: true });
    const names = await dns(() => [INSIDE]);
    const dispatcher = guardedAgent({
      policy: outboundPolicy([ALLOWED]),
      resolve: dnsResolve([names.address]),
      timeoutMs: 5_000,
    });
    cleanUps.push(() => dispatcher.destroy());
    for (const host of [INSIDE, '2130706434', '[::ffff:127.0.0.2]', 'hook.example.test']) {
      for (const scheme of ['http', 'https']) {
        await expect(request(`${scheme}://${host}:${hook.port}/`, { dispatcher })).rejects.toThrow(
          OutboundRefused,
        );
      }
    }
    expect(hook.requests).toEqual([]);
  });

  it('makes a name refused that has others beside it', async () => {
    const [hook, names] = [await recipient(), await dns(() => [ALLOWED, INSIDE])];
    expect(await post(sender(names), `https://hook.example.test:${hook.port}/`)).toEqual(REFUSED);
    expect(hook.requests).toEqual([]);
  });

  it('is none the less refused for a public name when unencrypted', async () => {
    const names = await dns(() => ['1.1.1.1']);
    expect(await post(sender(names), 'http://hook.example.test:8080/')).toEqual(REFUSED);
  });
});

describe('a name whose address changes', () => {
  it('is asked for once, and the connection goes to the address that was checked', async () => {
    const hook = await recipient();
    const inside = await recipient({ address: INSIDE, port: hook.port });
    const names = await dns(inTurn([ALLOWED], [INSIDE]));
    const outcome = await post(sender(names), `https://hook.example.test:${hook.port}/`);
    expect(outcome).toMatchObject({ kind: 'answered', status: 200 });
    expect(names.questions).toEqual(['A hook.example.test', 'AAAA hook.example.test']);
    expect([hook.requests.length, inside.requests.length]).toEqual([1, 0]);
  });

  it('is checked again for each connection', async () => {
    const hook = await recipient({}, (_, response) => response.setHeader('connection', 'close').end());
    const inside = await recipient({ address: INSIDE, port: hook.port });
    const names = await dns(inTurn([ALLOWED], [ALLOWED], [INSIDE]));
    const from = sender(names);
    const url = `https://hook.example.test:${hook.port}/`;
    expect(await from.refusalOf(url)).toBeUndefined();
    expect(await post(from, url)).toMatchObject({ kind: 'answered' });
    expect(await post(from, url)).toEqual(REFUSED);
    expect([hook.requests.length, inside.requests.length]).toEqual([1, 0]);
  });
});

describe('the look-up', () => {
  it.each([true, false])(
    'serves connections that are made without undici (all addresses asked for: %s)',
    async (all) => {
      const hook = await recipient();
      const names = await dns(inTurn([ALLOWED], [INSIDE]));
      const lookup = checkedLookup(false, outboundPolicy([ALLOWED]), dnsResolve([names.address]));
      const get = async () => {
        const asked = { host: 'hook.example.test', port: hook.port, agent: false, autoSelectFamily: all };
        const outgoing = getEncrypted({ ...asked, lookup, ca: authority.certificate });
        const response = await new Promise<IncomingMessage>((resolve, reject) => {
          outgoing.once('response', resolve).once('error', reject);
        });
        response.resume();
        return response.statusCode;
      };
      expect(await get()).toBe(200);
      await expect(get()).rejects.toThrow(OutboundRefused);
      expect(hook.requests).toHaveLength(1);
    },
  );
});

describe('a redirect', () => {
  it.each([301, 302, 303, 307, 308])('%i is an answer', async (status) => {
    const names = await dns(() => [ALLOWED]);
    const inside = await recipient({ address: INSIDE });
    const location = `https://${INSIDE}:${inside.port}/`;
    const hook = await recipient({}, (_, response) => response.writeHead(status, { location }).end());
    const outcome = await post(sender(names), `https://hook.example.test:${hook.port}/`);
    expect(outcome).toMatchObject({ kind: 'answered', status });
    expect([hook.requests.length, inside.requests.length]).toEqual([1, 0]);
  });
});

describe('an answer', () => {
  const send = async (answer: RequestListener, options: Partial<SenderOptions> = {}) => {
    const [hook, names] = [await recipient({}, answer), await dns(() => [ALLOWED])];
    return post(sender(names, options), `https://hook.example.test:${hook.port}/`);
  };

  it('is read up to its bound, however long it is', async () => {
    let sent = 0;
    const endless: RequestListener = (_, response) => {
      const more = () => {
        while (response.write('x'.repeat(65_536))) sent += 65_536;
        response.once('drain', more);
      };
      more();
    };
    const outcome = await send(endless);
    expect(outcome).toMatchObject({
      kind: 'answered',
      status: 200,
      answer: { text: 'x'.repeat(4_096), isCut: true },
    });
    expect(sent).toBeLessThan(32 * 1024 * 1024); // what lay in the buffers on the way
  });

  it('of just that length is whole', async () => {
    const outcome = await send((_, response) => response.end('x'.repeat(4_096)));
    expect(outcome).toMatchObject({ answer: { text: 'x'.repeat(4_096), isCut: false } });
  });

  it('is not unpacked', async () => {
    const packed = Buffer.from('1f8b08000000000000034b04000000ffff', 'hex');
    const outcome = await send((_, response) => response.setHeader('content-encoding', 'gzip').end(packed));
    expect(outcome).toMatchObject({ kind: 'answered', status: 200 });
  });

  it('that drips counts by its status when time is up', async () => {
    const dripping: RequestListener = (_, response) => {
      response.writeHead(202, { 'retry-after': '7' });
      const timer = setInterval(() => response.write('.'), 50);
      response.once('close', () => clearInterval(timer));
    };
    const outcome = await send(dripping, { timeoutMs: 400 });
    expect(outcome).toMatchObject({
      kind: 'answered',
      status: 202,
      retryAfter: '7',
      answer: { isCut: true },
    });
  });

  it('that never comes is a failure when time is up', async () => {
    const outcome = await send(() => {}, { timeoutMs: 300 });
    expect(outcome).toMatchObject({ kind: 'failed', reason: 'there was no answer within 0.3 s' });
  });

  it('cut off before its head is a failure', async () => {
    const outcome = await send((request) => request.socket.destroy());
    expect(outcome).toMatchObject({
      kind: 'failed',
      reason: 'the connection was closed before an answer came',
    });
  });

  it('with an endless head is a failure', async () => {
    const outcome = await send((_, response) => {
      for (let header = 0; header < 100; header += 1) response.setHeader(`x-${header}`, 'x'.repeat(1_000));
      response.end();
    });
    expect(outcome).toMatchObject({
      kind: 'failed',
      reason: 'the request failed (UND_ERR_HEADERS_OVERFLOW)',
    });
  });
});

describe('a host that is not there', () => {
  it.each<[string, DnsAnswer]>([
    ['no such name', () => undefined],
    ['no address', () => []],
  ])('%s', async (_, answer) => {
    const from = sender(await dns(answer));
    expect(await post(from, 'https://hook.example.test/')).toMatchObject({
      kind: 'failed',
      reason: 'the host name does not resolve',
    });
    expect(await from.refusalOf('https://hook.example.test/')).toBe('the host name does not resolve');
  });

  it('whose name server is silent, costs no more than the time there is', async () => {
    const from = sender(await dns(() => null), { timeoutMs: 300 });
    expect(await post(from, 'https://hook.example.test/')).toMatchObject({
      kind: 'failed',
      reason: 'there was no answer within 0.3 s',
    });
  });

  it('that refuses the connection', async () => {
    const { port } = await recipient();
    for (const cleanUp of cleanUps.splice(0)) await cleanUp();
    const outcome = await post(sender(await dns(() => [ALLOWED])), `https://hook.example.test:${port}/`);
    expect(outcome).toMatchObject({ kind: 'failed', reason: 'the connection was refused' });
    expect(JSON.stringify(outcome)).not.toContain(ALLOWED);
  });
});
