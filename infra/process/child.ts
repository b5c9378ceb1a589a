import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { ImmutableError } from '../../core/errors.ts';
import { keepShort, lastLines, openLogFile } from './log-file.ts';
import { type ChildSpec, environmentOf, isNodeProgram } from './spec.ts';

const READY_POLL_MS = 25;
const DEFAULT_STOP_TIMEOUT_MS = 5_000;
const SHOWN_LINES = 5;

/** One life of a child. */
export interface Child {
  readonly name: string;
  readonly pid: number;
  /** Resolves when it has ended, with how. Never rejects. */
  readonly exited: Promise<Exit>;
  /** Resolves once it serves; throws `misconfigured`, with its last words, if it ends or stays silent instead. */
  untilReady(): Promise<void>;
  /** Asks it to end; kills it and whatever it started after `timeoutMs` (its spec's own unless told). */
  stop(timeoutMs?: number): Promise<Exit>;
}

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/**
 * Starts a program in a process group of its own, so that a terminal's Ctrl-C reaches the supervisor
 * alone and the group ends in the supervisor's order. Its output goes to `logFile`. A program of ours
 * gets an IPC channel, whose loss tells it that the supervisor is gone.
 */
export async function startChild(spec: ChildSpec, { logFile }: { logFile: string }): Promise<Child> {
  const log = openLogFile(logFile);
  const stopKeepingShort = keepShort(logFile);
  const running = spawn(spec.command, spec.args, {
    detached: true,
    env: environmentOf(spec, process.env),
    stdio: ['ignore', log, log, ...(isNodeProgram(spec) ? (['ipc'] as const) : [])],
  });
  closeSync(log);
  const exited = exitOf(running);
  void exited.then(stopKeepingShort);
  const pid = await pidOf(running, spec);
  return {
    name: spec.name,
    pid,
    exited,
    untilReady: () => untilReady(spec, exited, logFile),
    stop: (timeoutMs = spec.stopTimeoutMs ?? DEFAULT_STOP_TIMEOUT_MS) =>
      stop(pid, exited, spec.stopSignal ?? 'SIGTERM', timeoutMs),
  };
}

/** How an end reads in a sentence. */
export function describeExit({ code, signal }: Exit): string {
  return signal === null ? `ended with code ${code}` : `was ended by ${signal}`;
}

/** What a child wrote last, indented, to stand below a sentence about its end. */
export function lastWords(logFile: string): string {
  const lines = lastLines(logFile, SHOWN_LINES).map((line) => `\n    ${line}`);
  return lines.length === 0 ? '' : ` Its last words (${logFile}):${lines.join('')}`;
}

function exitOf(running: ChildProcess): Promise<Exit> {
  return new Promise((resolve) => {
    running.once('exit', (code, signal) => resolve({ code, signal }));
    running.once('error', () => {
      if (running.pid === undefined) resolve({ code: null, signal: null });
    });
  });
}

function pidOf(running: ChildProcess, spec: ChildSpec): Promise<number> {
  return new Promise((resolve, reject) => {
    if (running.pid !== undefined) {
      running.on('error', () => {}); // A signal that found no process; `exited` tells the rest.
      resolve(running.pid);
      return;
    }
    running.once('error', (cause) =>
      reject(
        new ImmutableError('misconfigured', `${spec.name} cannot be started: ${cause.message}`, { cause }),
      ),
    );
  });
}

async function untilReady(spec: ChildSpec, exited: Promise<Exit>, logFile: string): Promise<void> {
  let exit: Exit | undefined;
  void exited.then((how) => {
    exit = how;
  });
  const deadline = performance.now() + spec.readyTimeoutMs;
  while (!(await spec.ready().catch(() => false))) {
    if (exit !== undefined) {
      throw new ImmutableError('misconfigured', `${spec.name} ${describeExit(exit)}.${lastWords(logFile)}`);
    }
    if (performance.now() > deadline) {
      const seconds = Math.round(spec.readyTimeoutMs / 1000);
      throw new ImmutableError(
        'misconfigured',
        `${spec.name} was not ready within ${seconds} s.${lastWords(logFile)}`,
      );
    }
    await sleep(READY_POLL_MS);
  }
}

async function stop(
  pid: number,
  exited: Promise<Exit>,
  softly: NodeJS.Signals,
  timeoutMs: number,
): Promise<Exit> {
  signal(pid, softly);
  const waiting = new AbortController();
  const exit = await Promise.race([
    exited,
    sleep(timeoutMs, undefined, { signal: waiting.signal }).catch(() => undefined),
  ]);
  waiting.abort();
  signal(-pid, 'SIGKILL'); // Whatever is left of its group, itself included.
  return exit ?? (await exited);
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It is gone already.
  }
}
