import { ImmutableError } from '../core/errors.ts';

/** Runs work when its turn comes. Throws `rate_limited` when too much waits already. */
export type Turns = <Result>(work: () => Promise<Result>) => Promise<Result>;

/** At most `atOnce` run at a time, at most `mostWaiting` more wait, first come, first served. */
export function createTurns(atOnce: number, mostWaiting: number): Turns {
  let running = 0;
  const waiting: (() => void)[] = [];

  async function turn(): Promise<void> {
    if (running < atOnce) {
      running += 1;
      return;
    }
    if (waiting.length >= mostWaiting) {
      throw new ImmutableError('rate_limited', 'Too much of this is going on already; try again later.', {
        retryAfterSeconds: 10,
      });
    }
    // Whoever ends passes its turn on, so that nobody slips in between.
    await new Promise<void>((resolve) => waiting.push(resolve));
  }

  function done(): void {
    const next = waiting.shift();
    if (next === undefined) running -= 1;
    else next();
  }

  return async (work) => {
    await turn();
    try {
      return await work();
    } finally {
      done();
    }
  };
}
