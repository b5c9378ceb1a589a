import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestNats, type TestNats } from '../../test/support/nats.ts';
import { createLogger } from '../log.ts';
import { connectionState, connectNats, type NatsConnection, untilLost } from './connect.ts';

const log = createLogger('test', 'silent');

describe('a lost connection', () => {
  let server: TestNats;
  let nc: NatsConnection;

  beforeAll(async () => {
    server = await startTestNats();
    nc = await connectNats({ url: server.url, name: 'test', log });
    nc.subscribe('silence', { callback: () => {} });
  });
  afterAll(async () => {
    await nc?.close();
    await server?.stop();
  });

  it('ends the requests under way at once, and sends those made meanwhile when it is back', async () => {
    const state = connectionState(nc);
    const before = state.losses();
    const sentMs = performance.now();
    const unanswered = expect(nc.request('silence', '', { timeout: 20_000 })).rejects.toMatchObject({
      code: 'unavailable',
    });
    const waiting = expect(untilLost(nc, new Promise(() => {}))).rejects.toMatchObject({
      code: 'unavailable',
    });
    await nc.flush();
    await server.kill9();
    await Promise.all([unanswered, waiting]);
    expect(performance.now() - sentMs).toBeLessThan(5_000);
    expect(state.connected()).toBe(false);
    expect(state.losses()).toBe(before + 1);
    await expect(untilLost(nc, new Promise(() => {}))).rejects.toMatchObject({ code: 'unavailable' });

    await expect(nc.request('silence', '', { timeout: 200 })).rejects.toMatchObject({ code: 'unavailable' });
    nc.subscribe('echo', { callback: (_, message) => void message.respond(message.data) });
    const later = nc.request('echo', 'hello', { timeout: 20_000 });
    await server.restart();
    expect((await later).string()).toBe('hello');
    expect(state.losses()).toBe(before + 1);
  });
});
