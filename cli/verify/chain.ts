import { ImmutableError } from '../../core/errors.ts';
import {
  type AnchoredRoot,
  type ChainPlace,
  type OnChainAnswers,
  onChainQuestions,
} from '../../core/on-chain.ts';
import { type JsonRpc, jsonRpc } from '../../infra/evm/json-rpc.ts';

/** What the caller named on the command line: the only place that trust comes from. */
export interface ChainOptions {
  /** The address of a node. It may hold a key, and stands in no message. */
  rpc?: string | undefined;
  chainId?: number | undefined;
  contract?: string | undefined;
}

const ADDRESS = /^0x[\da-f]{40}$/i;

/** Where roots are anchored; undefined where the caller does not say. Throws `misconfigured` for half of it. */
export function readPlace({ rpc, chainId, contract }: ChainOptions): ChainPlace | undefined {
  if (chainId === undefined && contract === undefined) {
    if (rpc === undefined) return undefined;
    throw wrong('--rpc asks a chain, and needs --chain-id and --contract to know where to look.', NO_DEFAULT);
  }
  if (chainId === undefined || contract === undefined) {
    throw wrong('--chain-id and --contract go together: the chain, and the contract on it.', NO_DEFAULT);
  }
  if (!Number.isSafeInteger(chainId) || chainId < 1) throw wrong(`${chainId} is no chain id.`);
  if (!ADDRESS.test(contract)) {
    throw wrong(`"${contract}" is no address of a contract: such a one is 0x and 40 hexadecimal digits.`);
  }
  return { chainId, contract: contract.toLowerCase() };
}

const NO_DEFAULT =
  'Take both from the operator in a way that you trust, never from the file: for Base the chain id is 8453.';

const TIMEOUT_MS = 20_000;

/** Throws `misconfigured`; what is wrong with the address is said without it. */
export function readNode(rpc: string): JsonRpc {
  const url = URL.canParse(rpc) ? new URL(rpc) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw wrong('--rpc takes the address of a node: https://…');
  }
  return jsonRpc(url.href, { timeoutMs: TIMEOUT_MS });
}

/** Asks a node all that `checkOnChain` wants to know. Throws `unavailable` where it does not answer, or no JSON-RPC. */
export async function askChain(
  node: JsonRpc,
  anchor: AnchoredRoot,
  place: ChainPlace,
): Promise<OnChainAnswers> {
  const questions = Object.entries(onChainQuestions(anchor, place));
  try {
    const answers = await Promise.all(
      questions.map(async ([name, { method, params }]) => [name, await node.call(method, params)] as const),
    );
    // A question that the node refuses has no answer.
    return Object.fromEntries(
      answers.map(([name, answer]) => [name, answer.kind === 'result' ? answer.value : undefined]),
    );
  } catch (cause) {
    if (!(cause instanceof ImmutableError)) throw cause;
    throw new ImmutableError(cause.code, `The node ${node.host} could not be asked: ${cause.message}.`);
  }
}

function wrong(message: string, nextStep?: string): ImmutableError {
  return new ImmutableError('misconfigured', message, nextStep === undefined ? {} : { nextStep });
}
