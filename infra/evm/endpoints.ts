import { ImmutableError } from '../../core/errors.ts';
import type { Logger } from '../log.ts';
import { type JsonRpc, jsonRpc } from './json-rpc.ts';
import { quantity, resultOf } from './reads.ts';

/** Several endpoints of one chain, of which each may be down, behind, or another chain altogether. */
export interface EvmEndpoints {
  /**
   * What the first of them says. All that `work` asks, it asks of one endpoint, so that the answers belong together.
   * One that fails with `unavailable` is left for the next; so is one with `validation_failed`, which is thrown in
   * the end if no other takes it. Throws `unavailable` when all of them fail.
   */
  ask<T>(work: (rpc: JsonRpc) => Promise<T>): Promise<T>;
  /**
   * The same asked of all of them at once: what the first says of whose answer `isGood`, or else the first that does
   * not fail. Throws as `ask` does when all of them fail.
   */
  tell<T>(work: (rpc: JsonRpc) => Promise<T>, isGood: (result: T) => boolean): Promise<T>;
  /** Whether any of them says so; one that fails does not. */
  some(work: (rpc: JsonRpc) => Promise<boolean>): Promise<boolean>;
}

const DEFAULT_TIMEOUT_MS = 10_000;

export function evmEndpoints(options: {
  urls: readonly string[];
  chainId: number;
  log: Logger;
  timeoutMs?: number | undefined;
}): EvmEndpoints {
  const { urls, chainId, log, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  const endpoints = urls.map((url) => ({ rpc: jsonRpc(url, { timeoutMs }), problem: '' }));
  type Endpoint = (typeof endpoints)[number];

  /** Checked each time: what stands behind a URL can change. */
  async function use<T>({ rpc }: Endpoint, work: (rpc: JsonRpc) => Promise<T>): Promise<T> {
    const actual = quantity(resultOf(await rpc.call('eth_chainId', []), 'eth_chainId'));
    if (actual !== BigInt(chainId)) {
      throw new ImmutableError('unavailable', `it is chain ${actual}, not ${chainId}, and is not used`);
    }
    return await work(rpc);
  }

  /** Told when it changes, not at each call. */
  function note(endpoint: Endpoint, problem: string): void {
    if (endpoint.problem === problem) return;
    endpoint.problem = problem;
    const endpointHost = endpoint.rpc.host;
    if (problem === '') log.info({ endpoint: endpointHost }, 'an endpoint of the chain is of use again');
    else log.error({ endpoint: endpointHost, problem }, 'an endpoint of the chain is of no use');
  }

  async function attempt<T>(endpoint: Endpoint, work: (rpc: JsonRpc) => Promise<T>): Promise<Outcome<T>> {
    try {
      const result = await use(endpoint, work);
      note(endpoint, '');
      return { result };
    } catch (error) {
      if (!(error instanceof ImmutableError)) throw error;
      if (error.code === 'unavailable') note(endpoint, error.message);
      else if (error.code !== 'validation_failed') throw error;
      return { host: endpoint.rpc.host, error };
    }
  }

  return {
    async ask(work) {
      const failures: Failure[] = [];
      for (const endpoint of endpoints) {
        const outcome = await attempt(endpoint, work);
        if ('result' in outcome) return outcome.result;
        failures.push(outcome);
      }
      throw nobody(chainId, failures);
    },

    async tell(work, isGood) {
      const outcomes = await Promise.all(endpoints.map((endpoint) => attempt(endpoint, work)));
      const answers = outcomes.filter((outcome) => 'result' in outcome);
      const best = answers.find(({ result }) => isGood(result)) ?? answers[0];
      if (best !== undefined) return best.result;
      throw nobody(
        chainId,
        outcomes.filter((outcome) => 'error' in outcome),
      );
    },

    async some(work) {
      for (const endpoint of endpoints) {
        if (await use(endpoint, work).catch(noUnlessUnexpected)) return true;
      }
      return false;
    },
  };
}

function noUnlessUnexpected(error: unknown): false {
  if (error instanceof ImmutableError) return false;
  throw error;
}

interface Failure {
  host: string;
  error: ImmutableError;
}

type Outcome<T> = { result: T } | Failure;

function nobody(chainId: number, failures: readonly Failure[]): ImmutableError {
  const refusal = failures.find(({ error }) => error.code === 'validation_failed');
  if (refusal !== undefined) return refusal.error;
  const said = failures.map(({ host, error }) => `${host}: ${error.message}`);
  return new ImmutableError('unavailable', `No endpoint of chain ${chainId} is of use: ${said.join('; ')}.`, {
    nextStep:
      'Look at IMMUTABLE_ANCHOR_RPC_URL and IMMUTABLE_ANCHOR_CHAIN_ID, or wait until they answer again.',
  });
}
