import { ImmutableError } from '../core/errors.ts';

/**
 * Runs work when the turn of its caller comes. Throws `rate_limited` when too much of that caller's waits
 * already, or has waited for too long.
 */
export type Turns = <Result>(caller: string, work: () => Promise<Result>) => Promise<Result>;

export interface TurnsOptions {
  /** Of all callers together. */
  atOnce: number;
  atOnceEach: number;
  mostWaitingEach: number;
  longestWaitMs: number;
  retryAfterSeconds: number;
}

interface Caller {
  running: number;
  /** Each begins its work when called. */
  waiting: (() => void)[];
}

/**
 * Callers take turns with each other: who asks for much waits for its own work, and not others for it.
 * Within one caller, first come, first served.
 */
export function createTurns(options: TurnsOptions): Turns {
  /** Who has something running or waiting; whoever was served last stands last. */
  const callers = new Map<string, Caller>();
  let running = 0;

  async function turn(name: string): Promise<void> {
    const caller = callers.get(name) ?? { running: 0, waiting: [] };
    callers.set(name, caller);
    if (running < options.atOnce && mayBegin(caller)) return begin(name, caller);
    if (caller.waiting.length >= options.mostWaitingEach) throw tooMuch(options);
    await inLine(caller);
  }

  function inLine(caller: Caller): Promise<void> {
    return new Promise((resolve, reject) => {
      const onTurn = () => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        caller.waiting.splice(caller.waiting.indexOf(onTurn), 1);
        reject(tooMuch(options));
      }, options.longestWaitMs);
      caller.waiting.push(onTurn);
    });
  }

  function begin(name: string, caller: Caller): void {
    running += 1;
    caller.running += 1;
    callers.delete(name);
    callers.set(name, caller);
  }

  function end(name: string): void {
    running -= 1;
    const caller = callers.get(name);
    if (caller === undefined) return;
    caller.running -= 1;
    if (caller.running === 0 && caller.waiting.length === 0) callers.delete(name);
  }

  function mayBegin({ running }: Caller): boolean {
    return running < options.atOnceEach;
  }

  /** Counted as running before it is told, so that nobody slips in between. */
  function next(): void {
    while (running < options.atOnce) {
      const chosen = leastServed();
      const onTurn = chosen?.caller.waiting.shift();
      if (chosen === undefined || onTurn === undefined) return;
      begin(chosen.name, chosen.caller);
      onTurn();
    }
  }

  /** Of those that wait and may begin, the one with the fewest running; of those, who was served longest ago. */
  function leastServed(): { name: string; caller: Caller } | undefined {
    let least: { name: string; caller: Caller } | undefined;
    for (const [name, caller] of callers) {
      if (caller.waiting.length === 0 || !mayBegin(caller)) continue;
      if (least === undefined || caller.running < least.caller.running) least = { name, caller };
    }
    return least;
  }

  return async (name, work) => {
    await turn(name);
    try {
      return await work();
    } finally {
      end(name);
      next();
    }
  };
}

function tooMuch({ retryAfterSeconds }: TurnsOptions): ImmutableError {
  return new ImmutableError('rate_limited', 'Too much of this is going on already; try again later.', {
    retryAfterSeconds,
  });
}
