import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ImmutableError } from '../core/errors.ts';
import { loadConfig } from './config.ts';

function file(text: string): string {
  const path = join(mkdtempSync(join(tmpdir(), 'immutable-config-')), 'settings');
  writeFileSync(path, text);
  return path;
}

function problemOf(env: NodeJS.ProcessEnv): string {
  try {
    loadConfig(env);
  } catch (error) {
    if (error instanceof ImmutableError && error.code === 'misconfigured') return error.message;
    throw error;
  }
  throw new Error('the settings were accepted');
}

describe('loadConfig', () => {
  it('has a default for everything that has a sensible one', () => {
    const config = loadConfig({});
    expect(config).toMatchObject({
      port: 8080,
      host: '127.0.0.1',
      dataDir: resolve('data'),
      clickhousePort: 8123,
      streamReplicas: 1,
      http: 'uws',
      logLevel: 'info',
      trustedProxies: [],
      allowUnsyncedNats: false,
    });
    expect(config.natsUrl).toBeUndefined();
    expect(config.partitions).toBeUndefined();
  });

  it('reads the environment, and takes an empty value for none', () => {
    const config = loadConfig({
      IMMUTABLE_PORT: '9000',
      IMMUTABLE_NATS_URL: '',
      IMMUTABLE_TRUSTED_PROXIES: '10.0.0.0/8, ::1',
    });
    expect(config.port).toBe(9000);
    expect(config.natsUrl).toBeUndefined();
    expect(config.trustedProxies).toEqual(['10.0.0.0/8', '::1']);
  });

  it('reports every problem at once, by the name of the setting', () => {
    const problem = problemOf({
      IMMUTABLE_PORT: 'eighty',
      IMMUTABLE_HTTP: 'apache',
      IMMUTABLE_PUBLIC_URL: 'nowhere',
      IMMUTABLE_PORTS: '1',
    });
    for (const name of [
      'IMMUTABLE_PORT:',
      'IMMUTABLE_HTTP:',
      'IMMUTABLE_PUBLIC_URL:',
      'IMMUTABLE_PORTS: there is no such setting',
    ]) {
      expect(problem).toContain(name);
    }
  });

  it('refuses a range of addresses that is none', () => {
    const ranges = (text: string) => problemOf({ IMMUTABLE_ALLOW_PRIVATE_DESTINATIONS: text });
    expect(ranges('10.0.0.0/8, 10.0.0.0/40, inside')).toContain(
      'IMMUTABLE_ALLOW_PRIVATE_DESTINATIONS: "10.0.0.0/40" is neither an address nor a range',
    );
    expect(loadConfig({ IMMUTABLE_ALLOW_PRIVATE_DESTINATIONS: '10.0.0.0/8,fd00::/8' })).toMatchObject({
      allowPrivateDestinations: ['10.0.0.0/8', 'fd00::/8'],
    });
  });

  it('refuses endpoints of a chain that are no web addresses, or none at all, and quotes no key in them', () => {
    for (const urls of [
      'localhost:8545',
      'https://chain.example.com/v2,wss://chain.example.com/s3cret',
      ',',
    ]) {
      const problem = problemOf({ IMMUTABLE_ANCHOR_RPC_URL: urls });
      expect(problem).toContain('IMMUTABLE_ANCHOR_RPC_URL: ');
      expect(problem).not.toContain('s3cret');
    }
  });

  it('refuses half of a pair', () => {
    expect(problemOf({ IMMUTABLE_TLS_CERT: 'cert.pem' })).toContain('give both or neither');
  });

  it('reads a configuration file, over which the environment wins', () => {
    const path = file('# comment\n\nIMMUTABLE_PORT=9000\nIMMUTABLE_HOST = 0.0.0.0\n');
    expect(loadConfig({ IMMUTABLE_CONFIG: path })).toMatchObject({ port: 9000, host: '0.0.0.0' });
    expect(loadConfig({ IMMUTABLE_CONFIG: path, IMMUTABLE_PORT: '9001' })).toMatchObject({ port: 9001 });
  });

  it('says which line of the file is not a setting, and which file is missing', () => {
    expect(problemOf({ IMMUTABLE_CONFIG: file('IMMUTABLE_PORT 9000') })).toMatch(/line 1 of/);
    expect(problemOf({ IMMUTABLE_CONFIG: '/nowhere/settings' })).toContain('/nowhere/settings');
  });

  it('reads a secret from the file that <name>_FILE names, from either source', () => {
    const secret = file('nats://secret@host:4222\n');
    expect(loadConfig({ IMMUTABLE_NATS_URL_FILE: secret }).natsUrl).toBe('nats://secret@host:4222');
    const config = file(`IMMUTABLE_NATS_URL_FILE=${secret}`);
    expect(loadConfig({ IMMUTABLE_CONFIG: config }).natsUrl).toBe('nats://secret@host:4222');
    expect(loadConfig({ IMMUTABLE_CONFIG: config, IMMUTABLE_NATS_URL: 'nats://other:4222' }).natsUrl).toBe(
      'nats://other:4222',
    );
    expect(problemOf({ IMMUTABLE_NATS_URL_FILE: secret, IMMUTABLE_NATS_URL: 'x' })).toContain(
      'give one of them',
    );
  });
});
