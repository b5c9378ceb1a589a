import { z } from 'zod';
import { ImmutableError } from '../../core/errors.ts';
import type { JsonRpc, RpcAnswer } from './json-rpc.ts';

/** What an endpoint says, as values (https://ethereum.github.io/execution-apis). Garbage throws `unavailable`. */

export type Hex = `0x${string}`;
export type BlockTag = 'latest' | 'safe' | 'finalized';

export interface EvmBlock {
  number: number;
  hash: Hex;
  timeMs: number;
  baseFeeWei: bigint;
}

export interface EvmLog {
  address: Hex;
  topics: Hex[];
  data: Hex;
  transactionHash: Hex;
  blockHash: Hex;
  blockNumber: number;
}

export interface EvmReceipt {
  transactionHash: Hex;
  blockHash: Hex;
  blockNumber: number;
  hasSucceeded: boolean;
  /** Null where a contract was made. */
  to: Hex | null;
  contractAddress: Hex | null;
  logs: EvmLog[];
  gasUsed: bigint;
  gasPriceWei: bigint;
}

const hexOf = (pattern: RegExp) =>
  z
    .string()
    .regex(pattern)
    .transform((text) => text.toLowerCase() as Hex);
const bytesSchema = hexOf(/^0x([0-9a-f]{2})*$/i);
const hashSchema = hexOf(/^0x[0-9a-f]{64}$/i);
const addressSchema = hexOf(/^0x[0-9a-f]{40}$/i);
const quantitySchema = z
  .string()
  .regex(/^0x[0-9a-f]{1,64}$/i)
  .transform(BigInt);
const countSchema = quantitySchema.transform(Number).pipe(z.int().min(0));

/** Seconds, up to the end of the year 9999: what is later is no time that anything here could tell. */
const timeSchema = countSchema.pipe(z.int().max(253_402_300_799));

const blockSchema = z
  .looseObject({
    number: countSchema,
    hash: hashSchema,
    timestamp: timeSchema,
    baseFeePerGas: quantitySchema,
  })
  .transform(
    ({ number, hash, timestamp, baseFeePerGas }): EvmBlock => ({
      number,
      hash,
      timeMs: timestamp * 1000,
      baseFeeWei: baseFeePerGas,
    }),
  );

const logSchema = z.looseObject({
  address: addressSchema,
  topics: z.array(hashSchema),
  data: bytesSchema,
  transactionHash: hashSchema,
  blockHash: hashSchema,
  blockNumber: countSchema,
});

const receiptSchema = z
  .looseObject({
    transactionHash: hashSchema,
    blockHash: hashSchema,
    blockNumber: countSchema,
    status: z.enum(['0x0', '0x1']),
    to: addressSchema.nullable(),
    contractAddress: addressSchema.nullish(),
    logs: z.array(logSchema),
    gasUsed: quantitySchema,
    effectiveGasPrice: quantitySchema,
  })
  .transform(
    ({ status, contractAddress, effectiveGasPrice, ...receipt }): EvmReceipt => ({
      ...receipt,
      hasSucceeded: status === '0x1',
      contractAddress: contractAddress ?? null,
      gasPriceWei: effectiveGasPrice,
    }),
  );

const transactionSchema = z.looseObject({ hash: hashSchema });

export function resultOf(answer: RpcAnswer, method: string): unknown {
  if (answer.kind === 'result') return answer.value;
  throw new ImmutableError(
    'unavailable',
    `it answers ${method} with error ${answer.code}: ${answer.message}`,
  );
}

export function quantity(value: unknown): bigint {
  return parse(quantitySchema, value, 'a number');
}

/** Null where the chain has none: it knows no such tag, or there is no such block yet. */
export async function readBlock(rpc: JsonRpc, which: BlockTag | number): Promise<EvmBlock | null> {
  const at = typeof which === 'number' ? hexNumber(which) : which;
  const answer = await rpc.call('eth_getBlockByNumber', [at, false]);
  if (answer.kind === 'error' && typeof which === 'string' && isUnknownBlock(answer)) return null;
  return parse(blockSchema.nullable(), resultOf(answer, 'eth_getBlockByNumber'), 'a block');
}

/** Of the transaction that was asked for, or null while it is in no block. */
export async function readReceipt(rpc: JsonRpc, txHash: string): Promise<EvmReceipt | null> {
  const value = await ask(rpc, 'eth_getTransactionReceipt', [txHash]);
  const receipt = parse(receiptSchema.nullable(), value, 'a receipt');
  if (receipt !== null && receipt.transactionHash !== txHash) {
    throw new ImmutableError('unavailable', 'it answers with the receipt of another transaction');
  }
  return receipt;
}

/** Whether it is there, in a block or on its way. */
export async function isKnownAt(rpc: JsonRpc, txHash: string): Promise<boolean> {
  const value = await ask(rpc, 'eth_getTransactionByHash', [txHash]);
  return parse(transactionSchema.nullable(), value, 'a transaction')?.hash === txHash;
}

export async function readLogs(
  rpc: JsonRpc,
  filter: { address: string; topics: readonly string[]; blockNumber: number },
): Promise<EvmLog[]> {
  const { address, topics } = filter;
  const at = hexNumber(filter.blockNumber);
  const value = await ask(rpc, 'eth_getLogs', [{ address, topics, fromBlock: at, toBlock: at }]);
  return parse(z.array(logSchema), value, 'logs');
}

/** Of its transactions that are in blocks: what waits can still be dropped or replaced. */
export async function readNonce(rpc: JsonRpc, address: string): Promise<number> {
  return parse(countSchema, await ask(rpc, 'eth_getTransactionCount', [address, 'latest']), 'a nonce');
}

export async function readBalance(rpc: JsonRpc, address: string): Promise<bigint> {
  return quantity(await ask(rpc, 'eth_getBalance', [address, 'latest']));
}

export async function readCode(rpc: JsonRpc, address: string): Promise<Hex> {
  return parse(bytesSchema, await ask(rpc, 'eth_getCode', [address, 'latest']), 'code');
}

export async function readCall(rpc: JsonRpc, call: { to: string; data: Hex }): Promise<Hex> {
  return parse(bytesSchema, await ask(rpc, 'eth_call', [call, 'latest']), 'bytes');
}

/** Where an endpoint does not say: what Base asks of a transaction that is in no hurry. */
const USUAL_TIP_WEI = 1_000_000n;

export async function readTip(rpc: JsonRpc): Promise<bigint> {
  const answer = await rpc.call('eth_maxPriorityFeePerGas', []);
  return answer.kind === 'error' ? USUAL_TIP_WEI : quantity(answer.value);
}

async function ask(rpc: JsonRpc, method: string, params: readonly unknown[]): Promise<unknown> {
  return resultOf(await rpc.call(method, params), method);
}

/** -39001 is the code for it; older nodes have none and say it in words, or call the tag a wrong parameter. */
function isUnknownBlock({ code, message }: { code: number; message: string }): boolean {
  if (code === -39001 || code === -32602) return true;
  return code === -32000 && /\b(unknown block|block not found|header not found)\b/i.test(message);
}

function hexNumber(value: number): Hex {
  return `0x${value.toString(16)}`;
}

function parse<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new ImmutableError('unavailable', `what it answers is not ${what}`);
}
