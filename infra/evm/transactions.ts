import { ImmutableError } from '../../core/errors.ts';
import type { JsonRpc, RpcAnswer } from './json-rpc.ts';
import { type Hex, quantity, resultOf } from './reads.ts';

/** What a node does with a signed transaction. */
export type SendVerdict =
  | { kind: 'accepted' }
  | { kind: 'nonce_used' }
  | { kind: 'too_poor' }
  | { kind: 'underpriced' };

/** What the chain would do with a call: how much gas it takes, or that it reverts, with the contract's data. */
export type Estimate = { kind: 'gas'; gas: bigint } | { kind: 'reverts'; message: string; data: unknown };

export async function estimateGas(
  rpc: JsonRpc,
  call: { from: string; to?: string; data: Hex },
): Promise<Estimate> {
  // Without the tag a node may look beyond the transactions that wait, of which one may be that to be replaced.
  const answer = await rpc.call('eth_estimateGas', [call, 'latest']);
  if (answer.kind === 'error' && isRevert(answer)) {
    return { kind: 'reverts', message: answer.message, data: answer.data };
  }
  return { kind: 'gas', gas: quantity(resultOf(answer, 'eth_estimateGas')) };
}

/**
 * Sends a signed transaction. Throws `validation_failed` where the node refuses it for another reason than a verdict
 * names, and `unavailable` where it cannot take any at this moment.
 */
export async function sendRaw(
  rpc: JsonRpc,
  transaction: { raw: string; txHash: string },
): Promise<SendVerdict> {
  const answer = await rpc.call('eth_sendRawTransaction', [transaction.raw]);
  if (answer.kind === 'error') return verdictOf(answer);
  if (answer.value === transaction.txHash) return { kind: 'accepted' };
  throw new ImmutableError('unavailable', 'it took a transaction and answers with the hash of another one');
}

type RpcError = Extract<RpcAnswer, { kind: 'error' }>;

/**
 * JSON-RPC has no codes for these: go-ethereum says -32000 to all of them, others -32003. So they are told by the
 * words of go-ethereum (core/txpool/errors.go, core/error.go), which reth, Nethermind, Erigon, Besu and anvil use
 * with small changes. A word that is not known is a refusal, and the job says it to the operator: never a success.
 */
const VERDICTS: readonly [RegExp, SendVerdict['kind']][] = [
  [/\b(already (known|imported)|alreadyknown|known transaction)\b/i, 'accepted'],
  [/nonce.{0,4}too.?low|old.?nonce/i, 'nonce_used'],
  [/insufficient.?(funds|balance)|upfront cost exceeds/i, 'too_poor'],
  [/underpriced|less than block base fee|fee.?too.?low|gas price.{0,20}(below|too low)/i, 'underpriced'],
];

function verdictOf(error: RpcError): SendVerdict {
  for (const [words, kind] of VERDICTS) if (words.test(error.message)) return { kind };
  if (isFaultOfNode(error)) {
    throw new ImmutableError('unavailable', `it takes no transaction now: ${error.message} (${error.code})`);
  }
  throw new ImmutableError('validation_failed', `${error.message} (${error.code})`);
}

/**
 * Internal error, no such method, limit exceeded (EIP-1474), too many requests, a full pool: another node, or the
 * same one later, may take it.
 */
function isFaultOfNode({ code, message }: RpcError): boolean {
  return (
    [-32603, -32601, -32005, -32002, 429].includes(code) || /pool is full|rate.?limit|too many/i.test(message)
  );
}

/** 3 is the code for it; nodes that have none say it in words. */
function isRevert({ code, message }: RpcError): boolean {
  return code === 3 || /^(VM Exception.*|execution )revert/i.test(message);
}
