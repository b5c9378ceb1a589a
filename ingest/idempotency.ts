/** What an edge remembers of keyed events. Ids are made of workspace and key, so one memory serves all. */
export interface IdempotencyMemory {
  /** `stored`: acknowledged before. A promise: under way, and this settles with its outcome. */
  find(id: string): 'stored' | Promise<void> | undefined;
  /**
   * Notes that this id is on its way. It is remembered only once `outcome` resolves; when it rejects the
   * id is free again.
   */
  begin(id: string, outcome: Promise<void>): void;
}

/** Holds the `capacity` ids that were asked for last; what falls out is still one record, just not called a duplicate. */
export function createIdempotencyMemory(capacity: number): IdempotencyMemory {
  const stored = new Set<string>(); // in the order of use, oldest first
  const underWay = new Map<string, Promise<void>>();

  function remember(id: string): void {
    stored.delete(id);
    stored.add(id);
    if (stored.size <= capacity) return;
    const [oldest] = stored;
    if (oldest !== undefined) stored.delete(oldest);
  }

  return {
    find(id) {
      if (!stored.has(id)) return underWay.get(id);
      remember(id);
      return 'stored';
    },
    begin(id, outcome) {
      underWay.set(id, outcome);
      const settle = () => {
        if (underWay.get(id) === outcome) underWay.delete(id);
      };
      outcome.then(() => {
        settle();
        remember(id);
      }, settle);
    },
  };
}
