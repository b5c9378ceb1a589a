/** How much the fault suite does. */
export interface Form {
  rounds: number;
  /** Repeats the choices of a run, as far as timing lets it. */
  seed: number;
  /** Whether there is time for what takes longer than a lease. */
  isLong: boolean;
}

const SHORT_ROUNDS = 6;
const LONG_ROUNDS = 200;

/**
 * Short as part of `npm test`, long by `npm run test:fault`; `FAULT_ROUNDS` and `FAULT_SEED` say otherwise.
 * (Not `IMMUTABLE_…`: these are no settings of the product, which refuses names it does not know.)
 */
export function faultForm(env: NodeJS.ProcessEnv = process.env): Form {
  const rounds = Number(
    env.FAULT_ROUNDS || (env.npm_lifecycle_event === 'test:fault' ? LONG_ROUNDS : SHORT_ROUNDS),
  );
  const seed = Number(env.FAULT_SEED || Date.now() % 2 ** 32);
  return { rounds, seed, isLong: rounds > SHORT_ROUNDS };
}
