import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { SettingEnvironment } from '../infra/config.ts';
import type { Lifecycle } from '../infra/lifecycle.ts';
import type { Logger } from '../infra/log.ts';
import { isSameProcess } from '../infra/process/identity.ts';
import { type ChildSpec, isNodeProgram } from '../infra/process/spec.ts';
import { type Supervised, supervise } from '../infra/process/supervisor.ts';
import { startWatchdog } from '../infra/process/watchdog.ts';
import type { Orphan, RunFile } from './run-file.ts';

/** The command line's own program, which is every role too. */
export const PROGRAM = fileURLToPath(new URL('./main.js', import.meta.url));

/** How long each may take to end: together below the 10 s that Ctrl-C may take. */
const STOP_MS: Readonly<Record<string, number>> = {
  serve: 3_500,
  chain: 2_500,
  tree: 1_500,
  anchor: 500,
  clickhouse: 1_500,
  nats: 1_500,
};
const DEFAULT_STOP_MS = 1_500;

export interface Children {
  /** Starts one and waits until it serves; throws with its last words if it does not. */
  start(spec: ChildSpec): Promise<Supervised>;
}

/** Starts children that are written down in the run file, and end in reverse order with `lifecycle`. */
export function createChildren(options: {
  run: RunFile;
  lifecycle: Lifecycle;
  log: Logger;
  logsFolder: string;
  tell(sentence: string): void;
  /** Gives up a start that is under way. */
  signal: AbortSignal;
}): Children {
  const { run, lifecycle, log, logsFolder, tell, signal } = options;
  const watchdog = startWatchdog();
  lifecycle.onStop('watchdog', () => watchdog.dismiss());

  return {
    async start(spec) {
      signal.throwIfAborted();
      const child = await supervise(spec, {
        log,
        logFile: join(logsFolder, `${spec.name}.log`),
        tell,
        signal,
        onLife: (pid) => {
          run.recordChild(spec.name, pid);
          if (!isNodeProgram(spec)) watchdog.guard(pid === undefined ? [] : [pid]);
        },
      });
      lifecycle.onStop(spec.name, () => child.stop(STOP_MS[spec.name] ?? DEFAULT_STOP_MS));
      return child;
    },
  };
}

/** A role of this program as a child: ready when its own `/readyz` says so. */
export function roleSpec(role: string, healthPort: number, env: SettingEnvironment): ChildSpec {
  return {
    name: role,
    command: process.execPath,
    args: [PROGRAM, role],
    env: { ...env, IMMUTABLE_HEALTH_PORT: String(healthPort) },
    ready: () => answersReady(`http://127.0.0.1:${healthPort}/readyz`),
    readyTimeoutMs: 30_000,
  };
}

async function answersReady(url: string): Promise<boolean> {
  const response = await fetch(url, { signal: AbortSignal.timeout(1_000) });
  await response.body?.cancel();
  return response.ok;
}

/** What others need to end in order comes last. */
const ENDS_LAST = ['clickhouse', 'nats'];
const ORPHAN_STOP_MS = 10_000;

/** Ends what a killed supervisor left running, so that nothing else has the data open. */
export async function endOrphans(orphans: readonly Orphan[]): Promise<void> {
  const last = ENDS_LAST.flatMap((name) => orphans.filter((orphan) => orphan.name === name));
  const first = orphans.filter((orphan) => !last.includes(orphan));
  await Promise.all(first.map(endOrphan));
  for (const orphan of last) await endOrphan(orphan);
}

async function endOrphan({ pid, identity }: Orphan): Promise<void> {
  const deadline = performance.now() + ORPHAN_STOP_MS;
  let signal: NodeJS.Signals = 'SIGTERM';
  let asked = false;
  while (isSameProcess(pid, identity)) {
    if (!asked) sendSignal(pid, signal);
    asked = true;
    if (signal === 'SIGTERM' && performance.now() > deadline) {
      signal = 'SIGKILL';
      asked = false;
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended in this moment.
  }
}
