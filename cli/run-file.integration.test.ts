import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { processIdentity } from '../infra/process/identity.ts';
import { endOrphans } from './children.ts';
import { freePort, requirePort } from './ports.ts';
import { claimRunFile, findRunning } from './run-file.ts';

const newPath = () => join(mkdtempSync(join(tmpdir(), 'immutable-run-')), 'run.json');

/** The file as a process that is gone left it, or one that runs. */
function writeAs(path: string, pid: number, identity: string, children = {}): void {
  const state = {
    pid,
    identity,
    started_at: '2026-03-15T12:00:00.000Z',
    state: 'ready',
    base_url: 'http://127.0.0.1:8080',
    nats_url: 'nats://127.0.0.1:4222',
    nats_monitor_url: null,
    clickhouse_admin_url: null,
    health: {},
    children,
  };
  writeFileSync(path, JSON.stringify(state));
}

describe('claimRunFile', () => {
  it('lets one process run on a directory, and tells others about it', async () => {
    const path = newPath();
    const run = await claimRunFile(path);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(findRunning(path)?.state).toBe('starting');
    run.update({ state: 'ready', nats_url: 'nats://127.0.0.1:1' });
    expect(findRunning(path)).toMatchObject({ state: 'ready', pid: process.pid });
    run.release();
    expect(existsSync(path)).toBe(false);
    expect(findRunning(path)).toBeUndefined();
  });

  it('refuses a second one, naming the first', async () => {
    const path = newPath();
    const other = spawn('sleep', ['100']);
    try {
      writeAs(path, other.pid!, processIdentity(other.pid!)!);
      await expect(claimRunFile(path)).rejects.toMatchObject({
        code: 'misconfigured',
        message: expect.stringContaining(
          `already runs on this data directory at http://127.0.0.1:8080 (process ${other.pid}`,
        ),
      });
    } finally {
      other.kill('SIGKILL');
    }
  });

  it('takes over from a process that is gone, also where its id belongs to another one now', async () => {
    for (const pid of [4_194_303, process.ppid]) {
      const path = newPath();
      writeAs(path, pid, 'another boot:1');
      expect(findRunning(path)).toBeUndefined();
      (await claimRunFile(path)).release();
    }
  });

  it('takes over a file that cannot be read', async () => {
    const path = newPath();
    writeFileSync(path, '{"pid":');
    (await claimRunFile(path)).release();
  });

  it('writes down the process of each child', async () => {
    const path = newPath();
    const run = await claimRunFile(path);
    run.recordChild('nats', process.ppid);
    expect(JSON.parse(readFileSync(path, 'utf8')).children).toEqual({
      nats: { pid: process.ppid, identity: processIdentity(process.ppid) },
    });
    run.recordChild('nats', undefined);
    expect(JSON.parse(readFileSync(path, 'utf8')).children).toEqual({});
    run.release();
  });

  it('finds what a killed supervisor left running, which is then ended, and nobody else', async () => {
    const path = newPath();
    const ours = spawn('sleep', ['100']);
    const foreign = spawn('sleep', ['100']);
    try {
      writeAs(path, 4_194_303, 'x', {
        nats: { pid: ours.pid!, identity: processIdentity(ours.pid!) },
        serve: { pid: foreign.pid!, identity: 'another boot:1' },
      });
      const run = await claimRunFile(path);
      expect(run.orphans).toMatchObject([{ name: 'nats', pid: ours.pid }]);
      await endOrphans(run.orphans);
      expect(processIdentity(ours.pid!)).toBeUndefined();
      expect(processIdentity(foreign.pid!)).toBeDefined();
      run.release();
    } finally {
      ours.kill('SIGKILL');
      foreign.kill('SIGKILL');
    }
  });
});

describe('requirePort', () => {
  it('names the busy port and the setting', async () => {
    const server = createServer();
    const port = await freePort();
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    await expect(requirePort('127.0.0.1', port, 'IMMUTABLE_PORT')).rejects.toMatchObject({
      message: `Port ${port} on 127.0.0.1 is in use by another program.`,
      nextStep: expect.stringContaining('IMMUTABLE_PORT='),
    });
    server.close();
    await expect(requirePort('192.0.2.1', 80, 'IMMUTABLE_PORT')).rejects.toMatchObject({
      message: expect.stringContaining('IMMUTABLE_HOST: 192.0.2.1 is no address of this machine'),
    });
    expect(await requirePort('127.0.0.1', 0, 'IMMUTABLE_PORT')).toBeGreaterThan(0);
  });
});
