/**
 * Does `work` for every item, `atOnce` at a time, and gives the results in the order of the items. It goes on
 * while the caller deals with a result, until `atOnce` more are begun or wait. Where the caller leaves, or
 * something fails, nothing more is begun, and what was is waited for.
 */
export async function* inOrder<Item, Result>(
  items: AsyncIterable<Item>,
  atOnce: number,
  work: (item: Item) => Promise<Result>,
): AsyncGenerator<Result> {
  const begun: Promise<Result>[] = [];
  const changes = createBell();
  let ended = false;

  async function begin(): Promise<void> {
    try {
      for await (const item of items) {
        if (ended) return;
        begun.push(observed(work(item)));
        changes.ring();
        while (begun.length >= atOnce && !ended) await changes.rung();
        if (ended) return;
      }
    } catch (error) {
      begun.push(observed(Promise.reject(error)));
    } finally {
      ended = true;
      changes.ring();
    }
  }

  const beginning = begin();
  try {
    for (;;) {
      while (begun.length === 0 && !ended) await changes.rung();
      const [first] = begun;
      if (first === undefined) return;
      const result = await first;
      begun.shift();
      changes.ring();
      yield result;
    }
  } finally {
    ended = true;
    changes.ring();
    await beginning;
    await Promise.allSettled(begun);
  }
}

/** It may fail long before anybody waits for it. */
function observed<Result>(promise: Promise<Result>): Promise<Result> {
  promise.catch(() => {});
  return promise;
}

/** Wakes everybody who waits for it. */
function createBell(): { ring(): void; rung(): Promise<void> } {
  let waiting: (() => void)[] = [];
  return {
    ring() {
      const woken = waiting;
      waiting = [];
      for (const wake of woken) wake();
    },
    rung: () => new Promise((resolve) => waiting.push(resolve)),
  };
}
