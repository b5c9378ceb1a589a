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

  return {
    async ask(work) {
      const failures: string[] = [];
      let refusal: ImmutableError | undefined;
      for (const endpoint of endpoints) {
        try {
          const result = await use(endpoint, work);
          note(endpoint, '');
          return result;
        } catch (error) {
          if (!(error instanceof ImmutableError)) throw error;
          if (error.code === 'validation_failed') refusal ??= error;
          else if (error.code === 'unavailable') note(endpoint, error.message);
          else throw error;
          failures.push(`${endpoint.rpc.host}: ${error.message}`);
        }
      }
      throw refusal ?? nobody(chainId, failures);
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

function nobody(chainId: number, failures: readonly string[]): ImmutableError {
  return new ImmutableError(
    'unavailable',
    `No endpoint of chain ${chainId} is of use: ${failures.join('; ')}.`,
    {
      nextStep:
        'Look at IMMUTABLE_ANCHOR_RPC_URL and IMMUTABLE_ANCHOR_CHAIN_ID, or wait until they answer again.',
    },
  );
}
