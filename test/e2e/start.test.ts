import { execFile } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dataDirAt } from '../../cli/data-dir.ts';
import { freePort } from '../../cli/ports.ts';
import { processIdentity } from '../../infra/process/identity.ts';
import {
  allGone,
  type Ended,
  runProgram,
  type Stack,
  startProgram,
  startStack,
  until,
} from '../support/stack.ts';

const run = promisify(execFile);
const START_MS = 60_000;

let stack: Stack;
const folders: string[] = [];

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'immutable-start-'));
  folders.push(folder);
  return folder;
}

/** Settings of a stack beside the one under test. */
async function apart(more: Record<string, string> = {}): Promise<Record<string, string>> {
  return {
    IMMUTABLE_DATA_DIR: newFolder(),
    IMMUTABLE_PORT: String(await freePort()),
    IMMUTABLE_CLICKHOUSE_PORT: String(await freePort()),
    ...more,
  };
}

beforeAll(async () => {
  stack = await startStack();
});

afterAll(async () => {
  await stack?.stop();
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** The processes of a stack, as its run file has them. */
function processesOf(folder: string): { pid: number; identity: string }[] {
  const { pid, identity, children } = JSON.parse(readFileSync(dataDirAt(folder).runFile, 'utf8'));
  return [{ pid, identity }, ...Object.values<{ pid: number; identity: string }>(children)];
}

async function get(path: string): Promise<{ status: number; body: string }> {
  const response = await fetch(`${stack.baseUrl}${path}`, {
    headers: { authorization: `Bearer ${stack.apiKey}` },
  });
  return { status: response.status, body: await response.text() };
}

async function send(action: string): Promise<string> {
  const response = await fetch(`${stack.baseUrl}/api/v1/events`, {
    method: 'POST',
    headers: { authorization: `Bearer ${stack.apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ actor_id: 'tester', action }),
  });
  expect(response.status).toBe(202);
  return JSON.parse(await response.text()).id;
}

async function untilReadable(id: string): Promise<void> {
  await until(async () => (await get(`/api/v1/events/${id}`)).status === 200, 20_000);
}

/** One clear sentence and what to do; no stack. */
function expectPlainFailure(ended: Ended, ...texts: (string | RegExp)[]): void {
  expect(ended.code).toBe(1);
  for (const text of texts) expect(ended.output).toMatch(text);
  expect(ended.output).not.toMatch(/\n\s+at /);
}

describe('a running stack', () => {
  it('prints a line that works when it is pasted into a shell', async () => {
    const line = stack
      .output()
      .split('\n')
      .find((text) => text.trim().startsWith('curl'));
    const { stdout } = await run('bash', ['-c', line ?? 'false']);
    const [accepted, list, verified] = stdout
      .trim()
      .split('\n')
      .map((text) => JSON.parse(text));
    expect(accepted).toMatchObject({ status: 'queued' });
    expect(list.data[0]).toMatchObject({ id: accepted.id, action: 'document.read' });
    expect(verified.data).toMatchObject({ valid: true });
  });

  it('shows where it is, and keeps what opens it from other users', () => {
    const { credentials, directory } = stack;
    for (const shown of [
      credentials.base_url,
      credentials.workspace_id,
      credentials.api_key,
      directory.path,
    ]) {
      expect(stack.output()).toContain(shown);
    }
    expect(statSync(directory.credentialsFile).mode & 0o777).toBe(0o600);
    expect(statSync(directory.runFile).mode & 0o777).toBe(0o600);
    expect(credentials).toMatchObject({
      setup_url: null,
      clickhouse: { user: `analyst_${credentials.workspace_id}` },
    });
  });

  it('gives a ClickHouse user that reads its workspace and does not write', async () => {
    const { url, user, password } = stack.credentials.clickhouse;
    const ask = (query: string) =>
      fetch(url, {
        method: 'POST',
        headers: { 'X-ClickHouse-User': user, 'X-ClickHouse-Key': password },
        body: query,
      });
    const count = await ask('SELECT uniqExact(workspace_id) <= 1 FROM audit_events');
    expect((await count.text()).trim()).toBe('1');
    for (const query of [
      'SELECT count() FROM immutable.events',
      'TRUNCATE TABLE immutable.events',
      'DROP TABLE immutable.events',
    ]) {
      const refused = await ask(query);
      expect(refused.status).not.toBe(200);
      await refused.text();
    }
  });

  it('serves health and figures', async () => {
    for (const base of [stack.baseUrl, stack.healthUrls.serve, stack.healthUrls.chain]) {
      expect((await fetch(`${base}/healthz`)).status).toBe(200);
      expect((await fetch(`${base}/readyz`)).status).toBe(200);
      expect(await (await fetch(`${base}/metrics`)).text()).toContain('process_cpu_seconds_total');
    }
  });

  it('is managed by the command line', async () => {
    const settings = { IMMUTABLE_DATA_DIR: stack.directory.path };
    const json = async (...args: string[]) => {
      const { code, output, stdout } = await runProgram([...args, '--json'], settings);
      expect(code, output).toBe(0);
      return JSON.parse(stdout);
    };
    const { workspace, api_key } = await json('workspace', 'create', 'Acme');
    expect((await json('workspace', 'list')).map(({ name }: { name: string }) => name)).toContain('Acme');

    const events = (key: string) =>
      fetch(`${stack.baseUrl}/api/v1/events`, { headers: { authorization: `Bearer ${key}` } });
    await until(async () => (await events(api_key)).status === 200, 1_000);

    const made = await json('key', 'create', workspace.id, '--scope', 'ingest', '--label', 'ci');
    expect(made).toMatchObject({ scopes: ['ingest'], label: 'ci', workspace_id: workspace.id });
    await until(async () => (await events(made.api_key)).status === 403, 1_000);
    const revoked = await json('key', 'revoke', made.id);
    await until(async () => (await events(made.api_key)).status === 401, 1_000);
    const listed = await json('key', 'list', workspace.id);
    expect(listed.find(({ id }: { id: string }) => id === made.id)).toEqual(revoked);

    const unknown = await runProgram(['key', 'revoke', 'key_0000000000000000'], settings);
    expectPlainFailure(unknown, 'There is no key key_0000000000000000.');
    expect((await runProgram(['key', 'invent'], settings)).code).toBe(2);
  });

  it('takes the demo events', async () => {
    const settings = { IMMUTABLE_DATA_DIR: stack.directory.path };
    const { code, stdout, output } = await runProgram(['demo', '--events', '750', '--json'], settings);
    expect(code, output).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ sent: 750, accepted: 750, verified: { valid: true } });
  });

  it.each(['serve', 'chain', 'anchor', 'clickhouse', 'nats'] as const)(
    'starts a killed %s again and goes on',
    async (name) => {
      const before = await send('before.kill');
      await untilReadable(before);
      const killed = await stack.kill9(name);
      await until(() => stack.pid(name) !== undefined && stack.pid(name) !== killed, 1_500);
      await stack.untilBack(name, killed);
      await stack.untilBack('serve', -1);
      await untilReadable(await send('after.kill'));
      expect(stack.output()).toContain(`${name} was ended by SIGKILL; starting it again.`);
      expect((await get('/api/v1/verify')).body).toContain('"valid":true');
    },
  );

  it('is not started a second time on the same directory, and is left alone by the attempt', async () => {
    const second = await runProgram(['up'], await apart({ IMMUTABLE_DATA_DIR: stack.directory.path }));
    expectPlainFailure(
      second,
      `already runs on this data directory at ${stack.baseUrl} (process ${stack.pid('up')}`,
      'IMMUTABLE_DATA_DIR',
    );
    await untilReadable(await send('after.second.start'));
  });
});

describe('a start again', () => {
  it('drains at Ctrl-C, exits 0 within 10 s, leaves nothing, and finds its data again', async () => {
    const { apiKey, workspaceId } = stack;
    const id = await send('before.restart');
    const processes = processesOf(stack.directory.path);
    const ended = await stack.stop({ keep: true });
    expect(ended).toMatchObject({ code: 0, signal: null });
    expect(ended.ms).toBeLessThan(10_000);
    expect(ended.output).toMatch(/Draining…\nStopped\.\n$/);
    expect(allGone(processes)).toBe(true);

    await stack.restart();
    expect({ apiKey: stack.apiKey, workspaceId: stack.workspaceId }).toEqual({ apiKey, workspaceId });
    await untilReadable(id);
    expect((await get('/api/v1/verify')).body).toContain('"valid":true');
  });

  it('says so when the key was revoked', async () => {
    const settings = await apart();
    const first = startProgram(['up'], settings);
    await first.until(() => first.output().includes('Immutable is running'), START_MS);
    const keys = JSON.parse((await runProgram(['key', 'list', '--json'], settings)).stdout);
    const key = keys.find(({ scopes }: { scopes: string[] }) => scopes.includes('ingest'));
    expect((await runProgram(['key', 'revoke', key.id], settings)).code).toBe(0);
    await first.stop('SIGTERM');

    const second = startProgram(['up'], settings);
    await second.until(() => second.output().includes('Immutable is running'), START_MS);
    expect(second.output()).toMatch(/revoked at .*; make another: npx immutable key create ws_/);
    expect((await second.stop('SIGHUP')).code).toBe(0);
  });

  it('ends what a killed supervisor left running', async () => {
    const left = processesOf(stack.directory.path);
    const id = await send('before.supervisor.kill');
    await stack.kill9('up');
    await stack.restart();
    expect(allGone(left)).toBe(true);
    await untilReadable(id);
    expect((await get('/api/v1/verify')).body).toContain('"valid":true');
  });

  it('leaves nothing behind even without a next start', async () => {
    const settings = await apart();
    const program = startProgram(['up'], settings);
    await program.until(() => program.output().includes('Immutable is running'), START_MS);
    const processes = processesOf(settings.IMMUTABLE_DATA_DIR ?? '');
    await program.stop('SIGKILL');
    await until(() => allGone(processes), 15_000);
  });

  it('exits 0 also when it is interrupted while it starts', async () => {
    const settings = await apart();
    const program = startProgram(['up'], settings);
    await program.until(() => program.output().includes('✓ NATS server'), START_MS);
    const processes = processesOf(settings.IMMUTABLE_DATA_DIR ?? '');
    const ended = await program.stop();
    expect(ended.code, ended.output).toBe(0);
    expect(ended.ms).toBeLessThan(10_000);
    expect(allGone(processes)).toBe(true);
  });
});

describe('a start that cannot be', () => {
  async function expectRefused(
    settings: Record<string, string>,
    ...texts: (string | RegExp)[]
  ): Promise<void> {
    const ended = await runProgram(['up'], settings);
    expectPlainFailure(ended, ...texts);
    const folder = settings.IMMUTABLE_DATA_DIR ?? '';
    expect(() => statSync(dataDirAt(folder).runFile)).toThrow('ENOENT');
  }

  it.each(['IMMUTABLE_PORT', 'IMMUTABLE_CLICKHOUSE_PORT'])('names a busy port and %s', async (setting) => {
    const port = await freePort();
    const server = createServer().listen(port, '127.0.0.1');
    await expectRefused(
      await apart({ [setting]: String(port) }),
      `Port ${port} on 127.0.0.1 is in use by another program.`,
      `Set ${setting} to another port`,
    );
    server.close();
  });

  it('names every wrong setting', async () => {
    const ended = await runProgram(['up'], await apart({ IMMUTABLE_HTTP: 'x', IMMUTABLE_PROT: '1' }));
    expectPlainFailure(ended, 'IMMUTABLE_HTTP:', 'IMMUTABLE_PROT: there is no such setting');
  });

  it('says when there is no NATS server, or one too old', async () => {
    await expectRefused(
      await apart({ IMMUTABLE_NATS_SERVER_BIN: '/nowhere/nats-server' }),
      '/nowhere/nats-server',
      'IMMUTABLE_NATS_SERVER_BIN',
    );
    const old = join(newFolder(), 'nats-server');
    writeFileSync(old, '#!/bin/sh\necho "nats-server: v2.10.27"\n');
    chmodSync(old, 0o755);
    await expectRefused(
      await apart({ IMMUTABLE_NATS_SERVER_BIN: old }),
      /2\.10\.27; 2\.15\.0 or newer is needed/,
    );
  });

  it('says when something in the data directory is damaged', async () => {
    const settings = await apart();
    const directory = dataDirAt(settings.IMMUTABLE_DATA_DIR ?? '');
    const program = startProgram(['up'], settings);
    await program.until(() => program.output().includes('Immutable is running'), START_MS);
    await program.stop();

    const credentials = readFileSync(directory.credentialsFile, 'utf8');
    writeFileSync(directory.credentialsFile, credentials.slice(0, 40));
    await expectRefused(settings, `The data directory is damaged: ${directory.credentialsFile}`);
    writeFileSync(directory.credentialsFile, credentials);

    truncateSync(join(directory.keys, 'secret.key'), 10);
    await expectRefused(
      settings,
      `The data directory is damaged: ${join(directory.keys, 'secret.key')}`,
      'backup',
    );
  });

  it('says when the directory cannot be used', async () => {
    const file = join(newFolder(), 'file');
    writeFileSync(file, '');
    const ended = await runProgram(['up'], await apart({ IMMUTABLE_DATA_DIR: join(file, 'data') }));
    expectPlainFailure(ended, 'cannot be used', 'IMMUTABLE_DATA_DIR');
  });

  it('says when the disk is nearly full', async ({ skip }) => {
    const folder = newFolder();
    const mounted = await run('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', folder]).catch(
      () => undefined,
    );
    if (mounted === undefined) skip('this user cannot mount a small disk');
    try {
      const ended = await runProgram(['up'], await apart({ IMMUTABLE_DATA_DIR: folder }));
      expectPlainFailure(ended, 'has 64 MiB left; at least 1024 MiB are needed', 'Free some space');
    } finally {
      await run('umount', [folder]);
    }
  });

  it('ends what it has started when a later part fails', async () => {
    const settings = await apart();
    const directory = dataDirAt(settings.IMMUTABLE_DATA_DIR ?? '');
    const program = startProgram(['up'], { ...settings, IMMUTABLE_GEOIP_CITY_V4: '/nowhere.mmdb' });
    await program.until(() => program.output().includes('✓ NATS server'), START_MS);
    const processes = processesOf(directory.path);
    expect(processes.length).toBeGreaterThan(1);
    expectPlainFailure(await program.ended, 'serve ended with code 1.', 'IMMUTABLE_GEOIP_CITY_V4');
    expect(allGone(processes)).toBe(true);
  });

  it('tells the other commands that nothing runs', async () => {
    const settings = { IMMUTABLE_DATA_DIR: newFolder() };
    for (const command of [['workspace', 'list'], ['key', 'list'], ['demo']]) {
      expectPlainFailure(await runProgram(command, settings), 'Immutable does not run on the data directory');
    }
    const json = await runProgram(['workspace', 'list', '--json'], settings);
    expect(JSON.parse(json.output)).toMatchObject({ error: 'unavailable' });
  });
});

describe('a terminal', () => {
  it('that sends every Ctrl-C twice, as npm does, changes nothing', async () => {
    const settings = await apart();
    const program = startProgram(['up'], settings);
    await program.until(() => program.output().includes('Immutable is running'), START_MS);
    const stopping = program.stop();
    process.kill(program.pid!, 'SIGINT');
    expect((await stopping).code).toBe(0);
    expect(processIdentity(program.pid!)).toBeUndefined();
  });
});
