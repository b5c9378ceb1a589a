import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../log.ts';
import { type Child, describeExit, type Exit, lastWords, startChild } from './child.ts';
import type { ChildSpec } from './spec.ts';

const FIRST_RESTART_MS = 100;
const LONGEST_RESTART_MS = 10_000;
/** A life as long as this ends a row of early deaths. */
const HEALTHY_AFTER_MS = 30_000;
/** A child that never served has nothing to drain. */
const GIVE_UP_MS = 500;
/** This many early deaths in a row are worth telling the operator about. */
const KEEPS_DYING = 3;

/** A child that is started again whenever it ends, until it is stopped. */
export interface Supervised {
  readonly name: string;
  /** Of its present life; undefined between two. */
  readonly pid: number | undefined;
  readonly restarts: number;
  stop(timeoutMs?: number): Promise<void>;
}

export interface SuperviseOptions {
  log: Logger;
  logFile: string;
  /** Told of each life as it begins (process id) and ends (undefined), to be written down. */
  onLife?(pid: number | undefined): void;
  /** Sentences for whoever looks at the terminal. */
  tell?(sentence: string): void;
  /** Gives up the wait for the first life to become ready. */
  signal?: AbortSignal;
}

/**
 * Starts a child, waits until it serves, and from then on keeps it alive: one that ends is started again
 * after 0.1 s, twice as long after each further early death, up to 10 s. Throws, with nothing left
 * running, if its first life does not become ready.
 */
export async function supervise(spec: ChildSpec, options: SuperviseOptions): Promise<Supervised> {
  const { log, logFile, onLife = () => {}, tell = () => {} } = options;
  const stopping = new AbortController();
  let child: Child | undefined;
  let restarts = 0;

  async function begin(): Promise<Child> {
    const begun = await startChild(spec, { logFile });
    child = begun;
    onLife(begun.pid);
    void begun.exited.then(() => {
      child = undefined;
      onLife(undefined);
    });
    return begun;
  }

  /** Ends when the supervisor stops. */
  async function keepAlive(first: Child): Promise<void> {
    let life: Child | undefined = first;
    let earlyDeaths = 0;
    while (!stopping.signal.aborted) {
      const began = performance.now();
      const exit: Exit | undefined = await life?.exited;
      const ended = performance.now();
      if (stopping.signal.aborted) return;
      earlyDeaths = ended - began >= HEALTHY_AFTER_MS ? 1 : earlyDeaths + 1;
      const delayMs = restartDelayMs(earlyDeaths);
      const how = exit === undefined ? 'cannot be started' : describeExit(exit);
      log.warn({ child: spec.name, ...exit, earlyDeaths, delayMs }, 'child ended; starting it again');
      tell(restartSentence(spec.name, how, earlyDeaths, delayMs, logFile));
      await sleep(delayMs, undefined, { signal: stopping.signal }).catch(() => {});
      if (stopping.signal.aborted) return;
      restarts += 1;
      life = await restart(ended);
    }
  }

  async function restart(ended: number): Promise<Child | undefined> {
    try {
      const begun = await begin();
      void begun.untilReady().then(
        () => tell(`${spec.name} serves again, after ${seconds(performance.now() - ended)}.`),
        (err) => {
          if (!stopping.signal.aborted) log.warn({ err, child: spec.name }, 'child is not ready');
        },
      );
      return begun;
    } catch (err) {
      log.error({ err, child: spec.name }, 'child cannot be started');
      return undefined;
    }
  }

  const first = await begin();
  const giveUp = () => void first.stop(GIVE_UP_MS);
  options.signal?.addEventListener('abort', giveUp, { once: true });
  try {
    await first.untilReady();
  } catch (error) {
    stopping.abort();
    await first.stop(GIVE_UP_MS);
    throw error;
  } finally {
    options.signal?.removeEventListener('abort', giveUp);
  }
  const kept = keepAlive(first);

  return {
    name: spec.name,
    get pid() {
      return child?.pid;
    },
    get restarts() {
      return restarts;
    },
    async stop(timeoutMs) {
      stopping.abort();
      await child?.stop(timeoutMs);
      await kept;
      // One that was just being started when the stop was asked for.
      await child?.stop(timeoutMs);
    },
  };
}

/** 0.1 s after the first early death in a row, then twice as long each time, never over 10 s. */
export function restartDelayMs(earlyDeaths: number): number {
  return Math.min(FIRST_RESTART_MS * 2 ** Math.max(0, earlyDeaths - 1), LONGEST_RESTART_MS);
}

function restartSentence(
  name: string,
  how: string,
  earlyDeaths: number,
  delayMs: number,
  logFile: string,
): string {
  if (earlyDeaths < KEEPS_DYING) return `${name} ${how}; starting it again.`;
  return `${name} ${how}, ${earlyDeaths} times in a row; next attempt in ${seconds(delayMs)}.${lastWords(logFile)}`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
