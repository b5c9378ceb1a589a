import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { removeOtherScratch } from '../../infra/chdb/configuration.ts';
import { chdbSpec } from '../../infra/chdb/spec.ts';
import { connectClickHouse } from '../../infra/clickhouse/client.ts';
import { migrate } from '../../infra/clickhouse/migrate.ts';
import { USERS, type User } from '../../infra/clickhouse/names.ts';
import { freePort } from './nats.ts';

export interface TestClickHouse {
  adminUrl: string;
  writerUrl: string;
  readerUrl: string;
  analystUrl: string;
  retentionUrl: string;
  /** The data directory. */
  path: string;
  /** Of the present process; another one after `restart`. */
  readonly pid: number;
  /** Ends the server and removes its files. */
  stop(): Promise<void>;
  /** As a power cut would, except that what the kernel holds survives. */
  kill9(): Promise<void>;
  /** Starts it again on the same port and files, ending it first if it runs. */
  restart(): Promise<void>;
}

const ROOT = join(import.meta.dirname, '..', '..');

/**
 * The embedded ClickHouse as a child process, as `npm start` runs it: a free loopback port, a temporary
 * directory, migrated unless told otherwise.
 */
export async function startTestClickHouse(options: { migrated?: boolean } = {}): Promise<TestClickHouse> {
  buildIfStale();
  const folder = mkdtempSync(join(tmpdir(), 'immutable-clickhouse-'));
  const path = join(folder, 'data');
  const passwordsFile = join(folder, 'passwords.json');
  const passwords = Object.fromEntries(USERS.map((user) => [user, `test-${user}`]));
  writeFileSync(passwordsFile, JSON.stringify(passwords), { mode: 0o600 });
  const port = await freePort();
  const spec = chdbSpec({ path, port, passwordsFile, program: testProgram() });
  let stderr = '';

  async function start(): Promise<ChildProcess> {
    const started = spawn(spec.command, spec.args, {
      env: { ...process.env, ...spec.env, IMMUTABLE_LOG_LEVEL: 'warn' },
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'], // It ends when the test process does, however that ends.
    });
    started.stderr?.on('data', (chunk) => {
      stderr = `${stderr}${chunk}`.slice(-4000);
    });
    const deadline = performance.now() + spec.readyTimeoutMs;
    while (!(await spec.ready().catch(() => false))) {
      if (started.exitCode !== null) throw new Error(`chdb ended with ${started.exitCode}: ${stderr}`);
      if (performance.now() > deadline) throw new Error(`chdb did not become ready: ${stderr}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return started;
  }

  async function end(signal: NodeJS.Signals): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await ended;
  }

  const urlOf = (user: User) => `http://${user}:test-${user}@127.0.0.1:${port}`;
  let child = await start();
  if (options.migrated ?? true) {
    const client = connectClickHouse(urlOf('admin'));
    await migrate(client, { serverKind: 'chdb' });
    await client.close();
  }
  return {
    adminUrl: urlOf('admin'),
    writerUrl: urlOf('writer'),
    readerUrl: urlOf('reader'),
    analystUrl: urlOf('analyst'),
    retentionUrl: urlOf('retention'),
    path,
    get pid() {
      return child.pid ?? 0;
    },
    stop: async () => {
      await end('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
      removeOtherScratch(path, '');
    },
    kill9: () => end('SIGKILL'),
    restart: async () => {
      await end('SIGTERM');
      child = await start();
    },
  };
}

/** The role's entry without the command line around it. */
function testProgram(): string[] {
  const main = join(ROOT, 'dist', 'infra', 'chdb', 'main.js');
  return [
    '--input-type=module',
    '--eval',
    `const { runChdb } = await import(${JSON.stringify(main)}); await runChdb();`,
  ];
}

/** Child processes run what was built; a test must not run yesterday's. */
function buildIfStale(): void {
  const source = join(ROOT, 'infra', 'chdb');
  const stale = readdirSync(source)
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
    .some((file) => {
      const built = join(ROOT, 'dist', 'infra', 'chdb', file.replace(/\.ts$/, '.js'));
      const builtAt = statSync(built, { throwIfNoEntry: false })?.mtimeMs ?? 0;
      return builtAt < statSync(join(source, file)).mtimeMs;
    });
  if (!stale) return;
  try {
    execFileSync(join(ROOT, 'node_modules', '.bin', 'tsc'), ['-p', 'tsconfig.build.json'], { cwd: ROOT });
  } catch {
    // It writes what it can; an error elsewhere is for the type check to tell.
  }
}
