import { describe, expect, it } from 'vitest';
import { connectionOptions } from './connect.ts';
import { BUCKETS, chainedFilter, chainedSubject, eventsFilter, eventsSubject } from './names.ts';
import { natsServerConfig, natsUrl } from './server.ts';
import { wantedStreams } from './streams.ts';
import { atLeastVersion, natsVersion } from './version.ts';

describe('versions', () => {
  it.each([
    ['nats-server: v2.15.1', '2.15.1', true],
    ['nats-server: v2.16.0-RC.1', '2.16.0', true],
    ['nats-server: v2.10.27', '2.10.27', false],
    ['nats-server: v2.9.25', '2.9.25', false],
    ['nats-server: v3.0.0', '3.0.0', true],
  ])('%s', (text, version, newEnough) => {
    expect(natsVersion(text)).toBe(version);
    expect(atLeastVersion(version, '2.15.0')).toBe(newEnough);
  });
  it('are absent from other text', () => {
    expect(natsVersion('command not found')).toBeUndefined();
  });
});

describe('subjects', () => {
  it('carry partition and workspace, and are matched by their partition’s filter alone', () => {
    expect(eventsSubject(3, 'ws_1')).toBe('events.3.ws_1');
    expect(eventsFilter(3)).toBe('events.3.*');
    expect(chainedSubject(12, 'ws_1')).toBe('chained.12.ws_1');
    expect(chainedFilter(12)).toBe('chained.12.*');
  });
});

describe('the address of NATS', () => {
  it('may name several servers, and carries the credentials', () => {
    const options = connectionOptions('nats://me:p%20w@one:4222, nats://two:4223', 'edge');
    expect(options).toMatchObject({
      servers: ['nats://one:4222', 'nats://two:4223'],
      user: 'me',
      pass: 'p w',
      name: 'edge',
      maxReconnectAttempts: -1,
    });
    expect(options.tls).toBeUndefined();
  });
  it('may ask for TLS, carry a token, or be a bare host', () => {
    expect(connectionOptions('tls://secret@one:4222', 'edge')).toMatchObject({ token: 'secret', tls: {} });
    expect(connectionOptions('one:4222', 'edge')).toMatchObject({ servers: ['nats://one:4222'] });
  });
  it.each(['', 'nats://one:port'])('is refused when it is %j', (url) => {
    expect(() => connectionOptions(url, 'edge')).toThrow(/IMMUTABLE_NATS_URL/);
  });
  it('of the embedded server survives any password', () => {
    const password = 'a/b:c@d e%';
    expect(connectionOptions(natsUrl(4222, password), 'edge').pass).toBe(password);
  });
});

describe('the embedded server', () => {
  it('listens on loopback alone and syncs before it acknowledges', () => {
    const config = JSON.parse(
      natsServerConfig({ storeDir: '/data/nats', port: 4222, monitorPort: 8222, password: 'p"w' }),
    );
    expect(config).toMatchObject({
      host: '127.0.0.1',
      http: '127.0.0.1:8222',
      authorization: { password: 'p"w' },
      jetstream: { sync_interval: 'always', store_dir: '/data/nats' },
    });
    expect(Object.keys(config)).not.toContain('cluster');
    expect(config.max_payload).toBeGreaterThanOrEqual(1024 ** 2);
  });
});

describe('the streams', () => {
  it('leave room in the store for every bucket to come', () => {
    const storeLimitBytes = 1_000_000;
    const reserved = wantedStreams({ replicas: 1, storeLimitBytes }).map((stream) => stream.max_bytes);
    expect(reserved.length).toBe(2 + Object.keys(BUCKETS).length);
    expect(reserved.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThan(storeLimitBytes);
  });
});
