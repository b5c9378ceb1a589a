import { jetstreamManager } from '@nats-io/jetstream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestNats, type TestNats } from '../../test/support/nats.ts';
import { createLogger } from '../log.ts';
import { publishBatch } from './batch.ts';
import { connectNats, type NatsConnection } from './connect.ts';
import { openBucket } from './kv.ts';
import { eventsSubject, STREAM_CHAINED, STREAM_EVENTS } from './names.ts';
import { readMessage, streamState } from './stream-info.ts';
import { ensureStreams, streamEpoch } from './streams.ts';

const log = createLogger('test', 'silent');
const MIB = 1024 ** 2;

describe('streams', () => {
  let server: TestNats;
  let nc: NatsConnection;

  beforeAll(async () => {
    server = await startTestNats();
    nc = await connectNats({ url: server.url, name: 'test', log });
  });
  afterAll(async () => {
    await nc?.close();
    await server?.stop();
  });

  it('are made', async () => {
    await ensureStreams(nc, { replicas: 1, storeLimitBytes: 900 * MIB });
    const epoch = await streamEpoch(nc);
    expect(epoch).toMatch(/^[0-9a-f]{16}$/);
    await ensureStreams(nc, { replicas: 1, storeLimitBytes: 800 * MIB });
    expect(await streamEpoch(nc)).toBe(epoch);
    const manager = await jetstreamManager(nc);
    console.log((await manager.streams.info(STREAM_EVENTS)).config);
    console.log((await manager.streams.info(STREAM_CHAINED)).config.max_bytes);
    const out = await publishBatch(
      nc,
      [1, 2, 3].map((i) => ({
        subject: eventsSubject(0, 'ws_1'),
        payload: Buffer.from('x' + i),
        messageId: 'a' + i,
      })),
      2000,
    );
    expect(out).toEqual({ kind: 'stored', firstSequence: 1, lastSequence: 3 });
    console.log(await readMessage(nc, STREAM_EVENTS, 2), await streamState(nc, STREAM_EVENTS));
    const b = await openBucket(nc, 'keys');
    await b.put('k', { a: 1 });
    const seen: unknown[] = [];
    const stop = await b.watch((key, entry) => seen.push([key, entry?.value]));
    expect(seen).toEqual([['k', { a: 1 }]]);
    await b.delete('k');
    await b.create('k', 5);
    await expect(b.create('k', 5)).rejects.toThrow(/Somebody/);
    console.log(seen, await b.keys());
    await stop();
  });
});
