import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLogger } from '../log.ts';
import { processIdentity } from './identity.ts';
import type { ChildSpec } from './spec.ts';
import { type Supervised, type SuperviseOptions, supervise } from './supervisor.ts';

const log = createLogger('test', 'silent');
let folder: string;
let logFile: string;
let told: string[];
const running: Supervised[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'immutable-supervisor-'));
  logFile = join(folder, 'logs', 'child.log');
  told = [];
});

afterEach(async () => {
  for (const supervised of running.splice(0)) await supervised.stop(0);
});

/** A child of ours: a Node program that writes its process id into `alive` once it runs. */
function node(program: string, more: Partial<ChildSpec> = {}): ChildSpec {
  const alive = join(folder, 'alive');
  const prelude = `require('node:fs').writeFileSync(${JSON.stringify(alive)}, String(process.pid));`;
  return {
    name: 'child',
    command: process.execPath,
    args: ['-e', prelude + program],
    ready: async () => isAlive(Number(readFileSync(alive, 'utf8'))),
    readyTimeoutMs: 5_000,
    ...more,
  };
}

const STAYS = 'setInterval(() => {}, 1000);';

async function started(spec: ChildSpec, options: Partial<SuperviseOptions> = {}): Promise<Supervised> {
  const tell = (sentence: string) => told.push(sentence);
  const supervised = await supervise(spec, { log, logFile, tell, ...options });
  running.push(supervised);
  return supervised;
}

function isAlive(pid: number): boolean {
  return processIdentity(pid) !== undefined;
}

async function until(condition: () => boolean, timeoutMs = 5_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`did not happen within ${timeoutMs} ms: ${condition}`);
    await sleep(10);
  }
}

describe('supervise', () => {
  it('starts a killed child again within a second, and says so', async () => {
    const lives: (number | undefined)[] = [];
    const child = await started(node(STAYS), { onLife: (pid) => lives.push(pid) });
    const first = child.pid!;
    process.kill(first, 'SIGKILL');
    await until(() => child.pid !== undefined && child.pid !== first, 1_000);
    await until(() => told.length === 2);
    expect(told[0]).toBe('child was ended by SIGKILL; starting it again.');
    expect(told[1]).toMatch(/^child serves again, after 0\.\d s\.$/);
    expect(lives).toEqual([first, undefined, child.pid]);
    expect(child.restarts).toBe(1);
  });

  it('tries ever more rarely when a child keeps dying, and shows its last words', async () => {
    const flag = join(folder, 'broken');
    const child = await started(
      node(
        `if (require('node:fs').existsSync(${JSON.stringify(flag)})) { console.error('out of luck'); process.exit(3) } ${STAYS}`,
      ),
    );
    writeFileSync(flag, '');
    process.kill(child.pid!, 'SIGKILL');
    await until(() => told.some((sentence) => sentence.includes('3 times in a row')), 10_000);
    expect(told.at(-1)).toMatch(/ended with code 3, 3 times in a row; next attempt in 0\.4 s\./);
    expect(told.at(-1)).toContain('out of luck');
  });

  it('reports a first life that ends, stays silent or cannot begin, and leaves nothing running', async () => {
    const ends = node(`console.error('no such port'); process.exit(1)`, { ready: async () => false });
    await expect(supervise(ends, { log, logFile })).rejects.toThrow(
      /child ended with code 1\.[\s\S]*no such port/,
    );

    const silent = node(STAYS, { ready: async () => false, readyTimeoutMs: 300 });
    await expect(supervise(silent, { log, logFile })).rejects.toThrow('child was not ready within');
    expect(isAlive(Number(readFileSync(join(folder, 'alive'), 'utf8')))).toBe(false);

    const missing = { ...node(STAYS), command: join(folder, 'nothing') };
    await expect(supervise(missing, { log, logFile })).rejects.toThrow(/child cannot be started: .*ENOENT/);
  });

  it('asks a child to end, and kills it with what it started when it does not', async () => {
    const polite = await started(node(`process.on('SIGTERM', () => process.exit(0)); ${STAYS}`));
    const pid = polite.pid!;
    await polite.stop();
    expect(isAlive(pid)).toBe(false);

    const grandchild = join(folder, 'grandchild');
    const stubborn = await started(
      node(
        `process.on('SIGTERM', () => {});
         const started = require('node:child_process').spawn('sleep', ['1000']);
         require('node:fs').writeFileSync(${JSON.stringify(grandchild)}, String(started.pid)); ${STAYS}`,
      ),
    );
    await until(() => existsSync(grandchild) && isAlive(Number(readFileSync(grandchild, 'utf8'))));
    const before = performance.now();
    await stubborn.stop(200);
    expect(performance.now() - before).toBeLessThan(2_000);
    await until(() => !isAlive(Number(readFileSync(grandchild, 'utf8'))));
    await sleep(300);
    expect(stubborn.pid).toBeUndefined();
  });

  it('stops in the middle of a pause between two lives', async () => {
    const child = await started(node(STAYS));
    process.kill(child.pid!, 'SIGKILL');
    await until(() => child.pid === undefined);
    await child.stop();
    await sleep(200);
    expect(child.pid).toBeUndefined();
  });

  it('keeps a terminal interrupt from its children', async () => {
    const child = await started(node(STAYS));
    const groups = readFileSync(`/proc/${child.pid}/stat`, 'latin1').split(') ')[1]!.split(' ');
    expect(Number(groups[2])).toBe(child.pid);
  });
});

describe('a supervisor that is killed', () => {
  it('takes its children along: ours by the lost channel, others by the watchdog', async () => {
    const pids = join(folder, 'pids.json');
    const at = (file: string) => JSON.stringify(pathToFileURL(join(import.meta.dirname, file)).href);
    const program = `
      import { writeFileSync } from 'node:fs';
      const { supervise } = await import(${at('../../dist/infra/process/supervisor.js')});
      const { startWatchdog } = await import(${at('../../dist/infra/process/watchdog.js')});
      const log = { warn() {}, error() {}, info() {} };
      const ready = async () => true;
      const ours = await supervise({ name: 'ours', command: process.execPath,
        args: ['-e', "process.on('disconnect', () => process.exit(0)); setInterval(() => {}, 1000)"],
        ready, readyTimeoutMs: 1000 }, { log, logFile: ${JSON.stringify(logFile)} });
      const other = await supervise({ name: 'other', command: 'sleep', args: ['1000'], ready,
        readyTimeoutMs: 1000 }, { log, logFile: ${JSON.stringify(logFile)} });
      startWatchdog().guard([other.pid]);
      writeFileSync(${JSON.stringify(pids)}, JSON.stringify({ ours: ours.pid, other: other.pid }));
      setInterval(() => {}, 1000);`;
    const supervisor = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: 'inherit' });
    await until(() => {
      try {
        return readFileSync(pids, 'utf8').endsWith('}');
      } catch {
        return false;
      }
    });
    const { ours, other } = JSON.parse(readFileSync(pids, 'utf8'));
    expect(isAlive(ours) && isAlive(other)).toBe(true);
    supervisor.kill('SIGKILL');
    await until(() => !isAlive(ours));
    await until(() => !isAlive(other), 10_000);
  });
});
