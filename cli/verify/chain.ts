import { ImmutableError } from '../../core/errors.ts';
import { isJsonObject, type JsonObject } from '../../core/json.ts';
import {
  type AnchoredRoot,
  type ChainPlace,
  type OnChainAnswers,
  onChainQuestions,
  type QuestionName,
  type RpcQuestion,
} from '../../core/on-chain.ts';
import { readBounded } from './remote-log.ts';

/** What the caller named on the command line: the only place that trust comes from. */
export interface ChainOptions {
  rpc?: string | undefined;
  chainId?: number | undefined;
  contract?: string | undefined;
}

/** A node that is asked. Its address may hold a key, and stands in no message. */
export interface Node {
  url: string;
  /** What messages call it. */
  host: string;
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

/** Throws `misconfigured`; what is wrong with the address is said without it. */
export function readNode(rpc: string): Node {
  const url = URL.canParse(rpc) ? new URL(rpc) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw wrong('--rpc takes the address of a node: https://…');
  }
  if (url.username !== '' || url.password !== '') {
    throw wrong('The address of a node holds no user or password.');
  }
  return { url: url.href, host: url.host };
}

/**
 * Asks a node all that `checkOnChain` wants to know. A question that the node refuses has no answer; throws `unavailable`
 * where it does not answer at all, or no JSON-RPC.
 */
export async function askChain(node: Node, anchor: AnchoredRoot, place: ChainPlace): Promise<OnChainAnswers> {
  const questions = onChainQuestions(anchor, place);
  const [chainId, receipt, block, blockOf, newest, safe, finalized] = await Promise.all(
    NAMES.map((name, index) => askOne(node, questions[name], index + 1)),
  );
  return { chainId, receipt, block, blockOf, newest, safe, finalized };
}

const NAMES: readonly QuestionName[] = [
  'chainId',
  'receipt',
  'block',
  'blockOf',
  'newest',
  'safe',
  'finalized',
];

/** A receipt has every log of its transaction. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;
const TIMEOUT_MS = 20_000;

async function askOne(node: Node, { method, params }: RpcQuestion, id: number): Promise<unknown> {
  const answer = parseAnswer(await post(node, JSON.stringify({ jsonrpc: '2.0', id, method, params })));
  if (answer === undefined || answer.id !== id) {
    throw new ImmutableError('unavailable', `${node.host} does not answer in JSON-RPC.`);
  }
  return answer.error === undefined ? answer.result : undefined;
}

async function post(node: Node, body: string): Promise<Uint8Array> {
  let response: Response;
  try {
    response = await fetch(node.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
      redirect: 'error', // a key goes nowhere but where the caller sent it
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch {
    // Without its cause, which names the address.
    throw new ImmutableError('unavailable', `${node.host} does not answer.`);
  }
  const answer = await readBounded(response, { maxBytes: MAX_ANSWER_BYTES, what: node.host });
  if (response.status === 401 || response.status === 403 || response.status === 429) {
    throw new ImmutableError('unavailable', `${node.host} answered with ${response.status}.`);
  }
  return answer;
}

/** Undefined for what is no answer of JSON-RPC 2.0. */
function parseAnswer(bytes: Uint8Array): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'));
    if (!isJsonObject(value) || value.jsonrpc !== '2.0') return undefined;
    return 'result' in value !== 'error' in value ? value : undefined;
  } catch {
    return undefined;
  }
}

function wrong(message: string, nextStep?: string): ImmutableError {
  return new ImmutableError('misconfigured', message, nextStep === undefined ? {} : { nextStep });
}
