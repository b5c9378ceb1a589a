import { readFileSync } from 'node:fs';
import {
  decodeErrorResult,
  decodeFunctionResult,
  encodeAbiParameters,
  encodeEventTopics,
  encodeFunctionData,
  parseAbi,
} from 'viem';
import { z } from 'zod';
import type { EvmLog, Hex } from '../infra/evm/reads.ts';

/** ImmutableAnchor.sol as bytes: what is sent to it, and what it says. */

const abi = parseAbi([
  'function anchor(bytes32 root)',
  'function blockOf(bytes32 merkleRoot) view returns (uint256 blockNumber)',
  'event Anchored(bytes32 indexed merkleRoot, uint256 timestamp)',
  'error NotAllowed(address account)',
  'error ZeroRoot()',
  'error AlreadyAnchored(bytes32 merkleRoot, uint256 blockNumber)',
]);

export function anchorCall(root: string): Hex {
  return encodeFunctionData({ abi, functionName: 'anchor', args: [`0x${root}`] });
}

export function blockOfCall(root: string): Hex {
  return encodeFunctionData({ abi, functionName: 'blockOf', args: [`0x${root}`] });
}

/** Undefined for what no such contract says. */
export function blockOfAnswer(data: Hex): number | undefined {
  if (data.length !== 2 + 64) return undefined;
  const block = Number(decodeFunctionResult({ abi, functionName: 'blockOf', data }));
  return Number.isSafeInteger(block) ? block : undefined;
}

export function anchoredTopics(root: string): Hex[] {
  return encodeEventTopics({ abi, eventName: 'Anchored', args: { merkleRoot: `0x${root}` } }).flatMap(
    (topic) => topic ?? [],
  );
}

/** Whether a log is the contract's word that the root was anchored in a block of that time. */
export function isAnchored(log: EvmLog, contract: string, root: string, blockTimeMs: number): boolean {
  const data = encodeAbiParameters([{ type: 'uint256' }], [BigInt(blockTimeMs / 1000)]);
  return log.address === contract && log.topics.join() === anchoredTopics(root).join() && log.data === data;
}

/** The name of the error that the contract reverted with, and undefined for what is none of its errors. */
export function contractError(data: unknown): string | undefined {
  const hex = z.templateLiteral(['0x', z.string()]).safeParse(data).data;
  if (hex === undefined) return undefined;
  try {
    return decodeErrorResult({ abi, data: hex }).errorName;
  } catch {
    return undefined;
  }
}

const bytecodeSchema = z.templateLiteral(['0x', z.string().regex(/^([0-9a-f]{2})+$/)]);
const artifactSchema = z.object({ bytecode: bytecodeSchema, deployedBytecode: bytecodeSchema });

/** What deploying sends, without the arguments of the constructor, and what is then on the chain. */
export function readArtifact(): z.infer<typeof artifactSchema> {
  return artifactSchema.parse(
    JSON.parse(readFileSync(new URL('./contract/ImmutableAnchor.json', import.meta.url), 'utf8')),
  );
}
