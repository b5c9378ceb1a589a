import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findNatsServer, natsMonitorUrl, natsServerSpec, natsUrl } from '../../infra/nats/server.ts';

export interface TestNats {
  url: string;
  monitorUrl: string;
  storeDir: string;
  /** Of the present process; another one after `restart`. */
  readonly pid: number;
  /** Ends the server and removes its files. */
  stop(): Promise<void>;
  /** As a power cut would, except that what the kernel holds survives. */
  kill9(): Promise<void>;
  /** Starts it again on the same port and files, ending it first if it runs. */
  restart(): Promise<void>;
}

const PASSWORD = 'test-password';

/** A NATS server of its own, as the embedded start runs it, on free loopback ports and a temporary folder. */
export async function startTestNats(options: { storeLimitBytes?: number } = {}): Promise<TestNats> {
  const { path } = await findNatsServer({
    natsServerBin: process.env.IMMUTABLE_NATS_SERVER_BIN || undefined,
  });
  const folder = mkdtempSync(join(tmpdir(), 'immutable-nats-'));
  const [port, monitorPort] = [await freePort(), await freePort()];
  const spec = natsServerSpec({
    bin: path,
    storeDir: join(folder, 'nats'),
    port,
    monitorPort,
    password: PASSWORD,
    logFile: join(folder, 'nats.log'),
    storeLimitBytes: options.storeLimitBytes ?? 1024 ** 3,
  });

  async function start(): Promise<ChildProcess> {
    const started = spawn(spec.command, spec.args, { stdio: 'ignore' });
    const deadline = performance.now() + spec.readyTimeoutMs;
    while (!(await spec.ready())) {
      if (started.exitCode !== null) throw new Error(`nats-server ended with ${started.exitCode}`);
      if (performance.now() > deadline) throw new Error('nats-server did not become ready');
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

  let child = await start();
  // A test run that is cut short leaves no server behind.
  const onExit = () => child.kill('SIGKILL');
  process.once('exit', onExit);
  return {
    url: natsUrl(port, PASSWORD),
    monitorUrl: natsMonitorUrl(monitorPort),
    storeDir: join(folder, 'nats'),
    get pid() {
      return child.pid ?? 0;
    },
    stop: async () => {
      process.off('exit', onExit);
      await end('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    },
    kill9: () => end('SIGKILL'),
    restart: async () => {
      await end('SIGTERM');
      child = await start();
    },
  };
}

/** A loopback port nobody listens on at this moment. */
export async function freePort(): Promise<number> {
  return await new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}
