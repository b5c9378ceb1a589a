import { createServer, connect as dial, type Server, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { startTestNats, type TestNats } from '../../test/support/nats.ts';
import { createLogger } from '../log.ts';
import { connectNats, type NatsConnection } from './connect.ts';
import { type Bucket, openBucket } from './kv.ts';
import { holdLease, type Lease } from './lease.ts';
import { ensureStreams } from './streams.ts';

const log = createLogger('test', 'silent');
const TTL_MS = 500;

describe('a lease', () => {
  let server: TestNats;
  let key: string;
  let count = 0;
  const connections: NatsConnection[] = [];
  const leases: Lease[] = [];

  beforeAll(async () => {
    server = await startTestNats();
    const nc = await connectNats({ url: server.url, name: 'setup', log });
    await ensureStreams(nc, { replicas: 1, storeLimitBytes: 1024 ** 3 });
    connections.push(nc);
  });
  beforeEach(() => {
    count += 1;
    key = `test.${count}`;
  });
  afterEach(async () => {
    vi.useRealTimers();
    await Promise.all(leases.splice(0).map((lease) => lease.release()));
  });
  afterAll(async () => {
    await Promise.all(connections.map((nc) => nc.close()));
    await server?.stop();
  });

  async function bucket(url = server.url): Promise<Bucket> {
    const nc = await connectNats({ url, name: 'contender', log });
    connections.push(nc);
    return await openBucket(nc, 'leases');
  }

  async function hold(options: {
    bucket: Bucket;
    holder?: string;
    instance?: string;
    onLost?: () => void;
    signal?: AbortSignal;
  }): Promise<Lease> {
    const lease = await holdLease({ key, holder: 'test', ttlMs: TTL_MS, onLost: () => {}, ...options });
    leases.push(lease);
    return lease;
  }

  it('is held by one contender, for longer than its time-to-live', async () => {
    const onLost = vi.fn();
    const first = await hold({ bucket: await bucket(), onLost });
    const second = vi.fn();
    const waiting = new AbortController();
    const contender = hold({ bucket: await bucket(), signal: waiting.signal }).then(second, () => {});
    await sleep(TTL_MS * 3);
    expect(first.isHeld()).toBe(true);
    expect(onLost).not.toHaveBeenCalled();
    expect(second).not.toHaveBeenCalled();
    waiting.abort();
    await contender;
  });

  it('goes to the next one at once when it is released', async () => {
    const first = await hold({ bucket: await bucket() });
    const next = hold({ bucket: await bucket() });
    const startedAt = performance.now();
    await first.release();
    expect((await next).isHeld()).toBe(true);
    expect(first.isHeld()).toBe(false);
    expect(performance.now() - startedAt).toBeLessThan(TTL_MS);
  });

  it('is taken by exactly one of many who start together', async () => {
    const buckets = await Promise.all(Array.from({ length: 6 }, () => bucket()));
    const waiting = new AbortController();
    const held: Lease[] = [];
    const contenders = buckets.map((one) =>
      hold({ bucket: one, signal: waiting.signal }).then(
        (lease) => held.push(lease),
        () => {},
      ),
    );
    await sleep(TTL_MS * 2);
    expect(held.length).toBe(1);
    waiting.abort();
    await Promise.all(contenders);
  });

  it('is taken over from a holder that died, not before its time-to-live is over', async () => {
    const dead = await bucket();
    await dead.create(key, { holder: 'dead', instance: 'other', token: 'dead' });
    const startedAt = performance.now();
    await hold({ bucket: await bucket() });
    const waitedMs = performance.now() - startedAt;
    expect(waitedMs).toBeGreaterThanOrEqual(TTL_MS);
    expect(waitedMs).toBeLessThan(TTL_MS * 2);
  });

  it('passes at once to the next life of the same supervised process', async () => {
    const former = await bucket();
    await former.create(key, { holder: 'former', instance: 'chain-1', token: 'former' });
    const startedAt = performance.now();
    await hold({ bucket: await bucket(), instance: 'chain-1' });
    expect(performance.now() - startedAt).toBeLessThan(TTL_MS / 2);
  });

  it('does not care what anybody’s calendar says', async () => {
    const onLost = vi.fn();
    const first = await hold({ bucket: await bucket(), onLost });
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 365 * 24 * 3_600_000 });
    const waiting = new AbortController();
    const taken = vi.fn();
    const contender = hold({ bucket: await bucket(), signal: waiting.signal }).then(taken, () => {});
    await sleep(TTL_MS * 2);
    expect(taken).not.toHaveBeenCalled();
    expect(onLost).not.toHaveBeenCalled();
    expect(first.isHeld()).toBe(true);
    waiting.abort();
    await contender;
  });

  it('is known to be lost before anybody else can take it, when the connection hangs', async () => {
    const proxy = await startProxy(server.url);
    const events: string[] = [];
    const cutOff = await hold({ bucket: await bucket(proxy.url), onLost: () => events.push('lost') });
    const next = hold({ bucket: await bucket() }).then((lease) => {
      events.push('taken');
      return lease;
    });
    await sleep(TTL_MS);
    expect(events).toEqual([]);
    proxy.hang();
    expect((await next).isHeld()).toBe(true);
    expect(cutOff.isHeld()).toBe(false);
    expect(events).toEqual(['lost', 'taken']);
    await proxy.close();
  });

  it('outlives a short interruption', async () => {
    const proxy = await startProxy(server.url);
    const onLost = vi.fn();
    const lease = await hold({ bucket: await bucket(proxy.url), onLost });
    for (let time = 0; time < 3; time++) {
      proxy.hang();
      await sleep(TTL_MS / 5);
      proxy.resume();
      await sleep(TTL_MS);
    }
    expect(onLost).not.toHaveBeenCalled();
    expect(lease.isHeld()).toBe(true);
    await proxy.close();
  });

  it('is lost when somebody else’s entry stands in its place', async () => {
    const onLost = vi.fn();
    const lease = await hold({ bucket: await bucket(), onLost });
    await (await bucket()).put(key, { holder: 'usurper', instance: null, token: 'usurper' });
    await vi.waitFor(() => expect(onLost).toHaveBeenCalledOnce());
    expect(lease.isHeld()).toBe(false);
  });

  it('can be waited for no longer', async () => {
    await hold({ bucket: await bucket() });
    await expect(hold({ bucket: await bucket(), signal: AbortSignal.timeout(100) })).rejects.toThrow();
  });
});

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** A wire to the server that can be made to carry nothing, without anybody being told. */
async function startProxy(target: string) {
  const { port, username, password } = new URL(target);
  const sockets = new Set<Socket>();
  const server: Server = createServer((client) => {
    const upstream = dial(Number(port), '127.0.0.1');
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.pipe(to);
      from.on('error', () => to.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('no port');
  return {
    url: `nats://${username}:${password}@127.0.0.1:${address.port}`,
    hang: () => {
      for (const socket of sockets) {
        socket.unpipe();
        socket.pause();
      }
    },
    resume: () => {
      const [...all] = sockets;
      for (let index = 0; index < all.length; index += 2) {
        const [client, upstream] = [all[index], all[index + 1]];
        if (client === undefined || upstream === undefined) continue;
        client.pipe(upstream);
        upstream.pipe(client);
      }
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
