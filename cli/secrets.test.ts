import { mkdtempSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { newToken } from '../control/keys.ts';
import { newWorkspaceId } from '../control/workspaces.ts';
import { readPasswords } from '../infra/chdb/authenticate.ts';
import { readCredentials, writeCredentials } from './credentials.ts';
import { readOrMakeSecrets } from './secrets.ts';

const folder = () => mkdtempSync(join(tmpdir(), 'immutable-keys-'));

describe('readOrMakeSecrets', () => {
  it('makes them once, for their owner alone', () => {
    const keys = folder();
    const secrets = readOrMakeSecrets(keys);
    expect(readOrMakeSecrets(keys)).toEqual(secrets);
    expect(readdirSync(keys).sort()).toEqual([
      'clickhouse-users.json',
      'instance.id',
      'nats.password',
      'secret.key',
    ]);
    for (const file of readdirSync(keys)) expect(statSync(join(keys, file)).mode & 0o777).toBe(0o600);
    expect(readFileSync(secrets.secretKeyFile, 'utf8').trim()).toMatch(/^[0-9a-f]{64}$/);
    const all = [secrets.natsPassword, secrets.instanceId, ...Object.values(secrets.clickhousePasswords)];
    expect(new Set(all).size).toBe(all.length);
    expect(readPasswords(secrets.clickhousePasswordsFile)).toEqual(secrets.clickhousePasswords);
  });

  it('adds the password of a user that an older version did not have', () => {
    const keys = folder();
    const { clickhousePasswords, clickhousePasswordsFile } = readOrMakeSecrets(keys);
    const { retention: _, ...older } = clickhousePasswords;
    writeFileSync(clickhousePasswordsFile, JSON.stringify(older));
    const { clickhousePasswords: now } = readOrMakeSecrets(keys);
    expect(now).toEqual({ ...older, retention: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(readOrMakeSecrets(keys).clickhousePasswords).toEqual(now);
    expect(statSync(clickhousePasswordsFile).mode & 0o777).toBe(0o600);
  });

  it.each(['clickhouse-users.json', 'instance.id', 'nats.password', 'secret.key'])(
    'refuses a cut %s rather than making another',
    (file) => {
      const keys = folder();
      readOrMakeSecrets(keys);
      truncateSync(join(keys, file), 20);
      expect(() => readOrMakeSecrets(keys)).toThrow(`The data directory is damaged: ${join(keys, file)}`);
      expect(statSync(join(keys, file)).size).toBe(20);
    },
  );
});

describe('credentials', () => {
  const credentials = {
    base_url: 'http://127.0.0.1:8080',
    workspace_id: newWorkspaceId(),
    api_key: newToken(),
    operator_key: newToken(),
    setup_url: null,
    clickhouse: { url: 'http://127.0.0.1:8123', user: 'reader', password: 'p' },
  };

  it('are read back as written, by their owner alone', () => {
    const file = join(folder(), 'credentials.json');
    expect(readCredentials(file)).toBeUndefined();
    writeCredentials(file, credentials);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readCredentials(file)).toEqual(credentials);
  });

  it.each(['', '{', '{}', JSON.stringify({ ...credentials, api_key: 'imk_short' })])(
    'are refused when the file holds %j',
    (text) => {
      const file = join(folder(), 'credentials.json');
      writeFileSync(file, text);
      expect(() => readCredentials(file)).toThrow(`The data directory is damaged: ${file} cannot be read.`);
    },
  );
});
