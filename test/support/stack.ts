import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Credentials, readCredentials } from '../../cli/credentials.ts';
import { type DataDir, dataDirAt } from '../../cli/data-dir.ts';
import { freePort } from '../../cli/ports.ts';
import { findRunning, type RunState } from '../../cli/run-file.ts';
import { readOrMakeSecrets } from '../../cli/secrets.ts';
import { USERS, type User } from '../../infra/clickhouse/names.ts';
import { isSameProcess, processIdentity } from '../../infra/process/identity.ts';

/** The children of the embedded stack, and the supervisor itself. */
export type StackProcess =
  | 'up'
  | 'nats'
  | 'clickhouse'
  | 'chain'
  | 'tree'
  | 'anchor'
  | 'serve'
  | 'local-chain';

export interface Stack {
  readonly directory: DataDir;
  readonly credentials: Credentials;
  readonly baseUrl: string;
  readonly apiKey: string;
  readonly operatorKey: string;
  readonly workspaceId: string;
  /** With its password, by user. */
  readonly clickhouseUrls: Readonly<Record<User, string>>;
  readonly natsUrl: string;
  readonly natsMonitorUrl: string;
  /** Where each role serves /healthz, /readyz and /metrics. */
  readonly healthUrls: Readonly<Record<string, string>>;
  /** Undefined while it is between two lives. */
  pid(name: StackProcess): number | undefined;
  /** As a crash would; resolves with the id of the life that ended. For 'up': what it supervised ends by itself. */
  kill9(name: StackProcess): Promise<number>;
  /** Resolves once another life of a killed child is ready (of one whose readiness can be asked). */
  untilBack(name: StackProcess, formerPid: number): Promise<void>;
  /** As Ctrl-C; a folder that was made for this stack is removed unless `keep`. */
  stop(options?: { keep?: boolean }): Promise<Ended>;
  /** Stops (or finds it killed) and starts again on the same data and ports. */
  restart(): Promise<void>;
  /** Everything it printed in its present life. */
  output(): string;
}

export interface StackOptions {
  /** A new temporary folder unless given. */
  dataDir?: string;
  /** Settings beside the ports. */
  env?: Record<string, string>;
  /** Of `up`, such as `--local-chain`. */
  args?: string[];
}

const START_MS = 60_000;

/** The real embedded stack, started as `immutable up` from `dist`, on free ports. */
export async function startStack({ dataDir, env = {}, args = [] }: StackOptions = {}): Promise<Stack> {
  const folder = dataDir ?? mkdtempSync(join(tmpdir(), 'immutable-stack-'));
  const directory = dataDirAt(folder);
  const settings = {
    IMMUTABLE_DATA_DIR: folder,
    IMMUTABLE_PORT: String(await freePort()),
    IMMUTABLE_CLICKHOUSE_PORT: String(await freePort()),
    ...env,
  };

  async function start(): Promise<Life> {
    const program = startProgram(['up', ...args], settings);
    await program.until(() => isReady(program), START_MS);
    const credentials = readCredentials(directory.credentialsFile);
    if (credentials === undefined) throw new Error('a running stack has credentials');
    return { program, credentials, run: runState() };
  }

  /** The banner is the last thing that a start prints. */
  function isReady(program: Program): boolean {
    return findRunning(directory.runFile)?.state === 'ready' && program.stdout() !== '';
  }

  function runState(): RunState {
    return JSON.parse(readFileSync(directory.runFile, 'utf8'));
  }

  let life = await start();
  const { clickhousePasswords } = readOrMakeSecrets(directory.keys);

  function pid(name: StackProcess): number | undefined {
    if (name === 'up') return life.program.isOver() ? undefined : life.program.pid;
    const known = runState().children[name];
    return known !== undefined && isSameProcess(known.pid, known.identity) ? known.pid : undefined;
  }

  return {
    directory,
    get credentials() {
      return life.credentials;
    },
    get baseUrl() {
      return life.credentials.base_url;
    },
    get apiKey() {
      return life.credentials.api_key;
    },
    get operatorKey() {
      return life.credentials.operator_key;
    },
    get workspaceId() {
      return life.credentials.workspace_id;
    },
    get clickhouseUrls() {
      const host = new URL(life.credentials.clickhouse.url).host;
      const urls = USERS.map((user) => [user, `http://${user}:${clickhousePasswords[user]}@${host}`]);
      return Object.fromEntries(urls);
    },
    get natsUrl() {
      return life.run.nats_url ?? '';
    },
    get natsMonitorUrl() {
      return life.run.nats_monitor_url ?? '';
    },
    get healthUrls() {
      return life.run.health;
    },
    pid,
    async kill9(name) {
      const victim = pid(name);
      if (victim === undefined) throw new Error(`${name} is not running`);
      process.kill(victim, 'SIGKILL');
      await until(() => processIdentity(victim) === undefined, 5_000);
      return victim;
    },
    async untilBack(name, formerPid) {
      await until(() => pid(name) !== undefined && pid(name) !== formerPid, 30_000);
      const health = life.run.health[name];
      if (health !== undefined) await until(() => answersOk(`${health}/readyz`), 30_000);
    },
    async stop({ keep = false } = {}) {
      const ended = await life.program.stop();
      if (dataDir === undefined && !keep) rmSync(folder, { recursive: true, force: true });
      return ended;
    },
    async restart() {
      await life.program.stop();
      life = await start();
    },
    output: () => life.program.output(),
  };
}

interface Life {
  program: Program;
  credentials: Credentials;
  run: RunState;
}

// --- The command line as a process ---------------------------------------------------------------

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  output: string;
  stdout: string;
  /** From the request to stop, or from the start. */
  ms: number;
}

export interface Program {
  readonly pid: number | undefined;
  readonly ended: Promise<Ended>;
  isOver(): boolean;
  output(): string;
  stdout(): string;
  /** Rejects when it ends first, or `timeoutMs` pass, with what it printed. */
  until(condition: () => boolean | Promise<boolean>, timeoutMs: number): Promise<void>;
  /** As Ctrl-C; killed when it does not end within 20 s. */
  stop(signal?: NodeJS.Signals): Promise<Ended>;
}

/** Seen from here as a source, or compiled into `dist` itself. */
const FROM_HERE = import.meta.url.endsWith('.ts') ? '../../dist/cli/main.js' : '../../cli/main.js';
const PROGRAM = fileURLToPath(new URL(FROM_HERE, import.meta.url));

/**
 * Runs `immutable <args>`. Only the given settings reach it, whatever the developer's shell has. It ends
 * when the test's process does, since it loses its IPC channel then.
 */
export function startProgram(args: string[], settings: Record<string, string>): Program {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !name.startsWith('IMMUTABLE_') || name === 'IMMUTABLE_NATS_SERVER_BIN',
  );
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    env: { ...Object.fromEntries(inherited), ...settings },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  return observe(child);
}

/** Runs `immutable <args>` to its end. */
export async function runProgram(args: string[], settings: Record<string, string>): Promise<Ended> {
  return await startProgram(args, settings).ended;
}

export function observe(child: ChildProcess): Program {
  let output = '';
  let stdout = '';
  let since = performance.now();
  child.stdout?.on('data', (data: Buffer) => {
    output += data;
    stdout += data;
  });
  child.stderr?.on('data', (data: Buffer) => {
    output += data;
  });
  let over: Ended | undefined;
  const ended = new Promise<Ended>((resolve) => {
    child.once('close', (code, signal) => {
      over = { code, signal, output, stdout, ms: performance.now() - since };
      resolve(over);
    });
  });
  return {
    pid: child.pid,
    ended,
    isOver: () => over !== undefined,
    output: () => output,
    stdout: () => stdout,
    async until(condition, timeoutMs) {
      await until(async () => {
        if (await condition()) return true;
        if (over !== undefined) throw new Error(`it ended with code ${over.code}:\n${output}`);
        return false;
      }, timeoutMs).catch((error) => {
        throw new Error(`${error.message}\n${output}`, { cause: error });
      });
    },
    async stop(signal = 'SIGINT') {
      if (over !== undefined) return over;
      since = performance.now();
      child.kill(signal);
      const killer = setTimeout(() => child.kill('SIGKILL'), 20_000);
      const result = await ended;
      clearTimeout(killer);
      return result;
    },
  };
}

/** Asks again until it is so. */
export async function until(condition: () => boolean | Promise<boolean>, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`did not happen within ${timeoutMs} ms: ${condition}`);
    await sleep(20);
  }
}

async function answersOk(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(1_000) });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}

/** Whether every process of the list is gone. */
export function allGone(processes: readonly { pid: number; identity: string }[]): boolean {
  return processes.every(({ pid, identity }) => !isSameProcess(pid, identity));
}
