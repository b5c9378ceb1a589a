/** One moment in the life of a process: before or after the effect of its n-th call of an operation. */
export interface Death {
  /** What `view` named it. */
  of: string;
  operation: string;
  moment: 'before' | 'after';
  /** 1 for the first call. */
  call: number;
}

export interface MortalProcess {
  /** The process's view of a store or bucket. */
  view<T extends object>(name: string, real: T): T;
  died: Promise<void>;
  isDead(): boolean;
}

/**
 * A process's view of the world, until the process is killed: from then on no call has an effect or an answer, as for
 * a process that is gone.
 */
export function mortalProcess(death: Death): MortalProcess {
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

  async function call(isTheOne: () => boolean, effect: () => unknown): Promise<unknown> {
    if (dead) return await never;
    const dies = isTheOne() && ++calls === death.call;
    if (dies && death.moment === 'before') return await die();
    const result = await effect();
    if (dies) return await die();
    return dead ? await never : result;
  }

  return {
    view: (name, real) =>
      new Proxy(real, {
        get: (target, operation) => {
          const member: unknown = Reflect.get(target, operation);
          if (typeof member !== 'function') return member;
          const isTheOne = () => name === death.of && operation === death.operation;
          return (...given: unknown[]) => call(isTheOne, () => Reflect.apply(member, target, given));
        },
      }),
    died,
    isDead: () => dead,
  };
}
