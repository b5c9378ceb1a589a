import { ClickHouseException } from './exception.ts';

/** Places for queries of one user: a few run, some more wait in order, the rest is refused. */
export interface Slots {
  /** Takes a place in the house at once, or throws TOO_MANY_SIMULTANEOUS_QUERIES. */
  enter(): Visit;
  /** Visits that have not left. */
  readonly present: number;
}

export interface Visit {
  /** Resolves when this one may run. Rejects if `signal` aborts first. */
  turn(signal: AbortSignal): Promise<void>;
  /** Gives the place to the next. Safe to call twice. */
  leave(): void;
}

export function createSlots({ running, waiting }: { running: number; waiting: number }): Slots {
  let present = 0;
  let busy = 0;
  const line: (() => void)[] = [];

  function enter(): Visit {
    if (present >= running + waiting) {
      throw new ClickHouseException(
        'TOO_MANY_SIMULTANEOUS_QUERIES',
        `Too many simultaneous queries for this user. Maximum: ${running}, and ${waiting} more waiting`,
      );
    }
    present += 1;
    let runs = false;
    let left = false;
    return {
      turn: async (signal) => {
        if (busy >= running) await inLine(signal);
        else busy += 1;
        runs = true;
      },
      leave: () => {
        if (left) return;
        left = true;
        present -= 1;
        if (runs) passOn();
      },
    };
  }

  /** Whoever leaves hands its running place to the first in line, so `busy` stays as it is. */
  function passOn(): void {
    const next = line.shift();
    if (next === undefined) busy -= 1;
    else next();
  }

  function inLine(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onTurn = () => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      const onAbort = () => {
        const at = line.indexOf(onTurn);
        if (at >= 0) line.splice(at, 1);
        reject(new ClickHouseException('ABORTED', 'the client went away'));
      };
      if (signal.aborted) return onAbort();
      signal.addEventListener('abort', onAbort, { once: true });
      line.push(onTurn);
    });
  }

  return {
    enter,
    get present() {
      return present;
    },
  };
}
