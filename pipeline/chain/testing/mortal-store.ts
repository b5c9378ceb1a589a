import type { ChainStore } from '../store.ts';
import type { Operation } from './memory-store.ts';

/** One moment in the life of a process: before or after the effect of its n-th call of an operation. */
export interface Death {
  operation: Operation;
  moment: 'before' | 'after';
  /** 1 for the first call. */
  call: number;
}

/**
 * A process's view of a store, until the process is killed: from then on no call has an effect or an
 * answer, as for a process that is gone.
 */
export function mortalStore(
  store: ChainStore,
  death: Death,
): { view: ChainStore; died: Promise<void>; isDead(): boolean } {
  let calls = 0;
  let dead = false;
  let tell = () => {};
  const died = new Promise<void>((resolve) => {
    tell = resolve;
  });
  const never = new Promise<never>(() => {});

  function die(): Promise<never> {
    dead = true;
    tell();
    return never;
  }

  async function call<T>(operation: Operation, effect: () => Promise<T>): Promise<T> {
    if (dead) return await never;
    const isTheOne = operation === death.operation && ++calls === death.call;
    if (isTheOne && death.moment === 'before') return await die();
    const result = await effect();
    if (isTheOne) return await die();
    return dead ? await never : result;
  }

  const view: ChainStore = {
    highestPosition: (...given) => call('highestPosition', () => store.highestPosition(...given)),
    epochs: () => call('epochs', () => store.epochs()),
    rowAt: (...given) => call('rowAt', () => store.rowAt(...given)),
    heads: (...given) => call('heads', () => store.heads(...given)),
    knownIds: (...given) => call('knownIds', () => store.knownIds(...given)),
    insert: (...given) => call('insert', () => store.insert(...given)),
    quarantine: (...given) => call('quarantine', () => store.quarantine(...given)),
    positionOf: (...given) => call('positionOf', () => store.positionOf(...given)),
    firstPositionSince: (...given) => call('firstPositionSince', () => store.firstPositionSince(...given)),
    rowsAfter: (...given) => call('rowsAfter', () => store.rowsAfter(...given)),
  };
  return { view, died, isDead: () => dead };
}
