import { setTimeout as sleep } from 'node:timers/promises';
import { concat, encodeAbiParameters, getContractAddress, keccak256 } from 'viem';
import { ImmutableError } from '../core/errors.ts';
import type { EvmEndpoints } from '../infra/evm/endpoints.ts';
import {
  type EvmReceipt,
  type Hex,
  readBlock,
  readCode,
  readNonce,
  readReceipt,
  readTip,
} from '../infra/evm/reads.ts';
import { estimateGas, sendRaw } from '../infra/evm/transactions.ts';
import { readArtifact } from './abi.ts';
import { accountOf, asHex, feesAfter } from './account.ts';

export interface DeployOptions {
  endpoints: EvmEndpoints;
  chainId: number;
  /** Of the account that pays, which gets no rights by that. */
  privateKey: string;
  /** 0x and 40 hexadecimal digits; the account that pays unless told. */
  owner: string | undefined;
  /** May anchor beside the owner, from the first block on. */
  submitter: string | undefined;
  /** No unit of gas may cost more. */
  maxFeeWei: bigint;
  /** Told before anything is sent: whoever is cut off from here on can look it up. */
  onSigned?(sent: { contract: string; txHash: string }): void;
  pollMs?: number;
  timeoutMs?: number;
}

export interface Deployment {
  /** 0x and 40 hexadecimal digits, lower case. */
  contract: string;
  txHash: string;
  blockNumber: number;
  gasUsed: bigint;
  /** Without what an L2 charges for bytes on Ethereum. */
  costWei: bigint;
}

const POLL_MS = 1_000;
const TIMEOUT_MS = 180_000;
/** No honest estimate comes near it (docs/anchor-contract.md). */
const MOST_DEPLOY_GAS = 2_000_000n;
const NOBODY = `0x${'0'.repeat(40)}` as const;

/**
 * Deploys the contract in one transaction, and returns once it is in a block and what is there is what was compiled.
 * Throws `validation_failed` where fees are above the limit or a node refuses it, `unavailable` where it is in no
 * block in time: it may be in one later, at the address that `onSigned` was told.
 */
export async function deployContract(options: DeployOptions): Promise<Deployment> {
  const account = accountOf(options.privateKey);
  const { endpoints, chainId, owner = account.address, submitter = NOBODY } = options;
  const artifact = readArtifact();
  const data = concat([
    artifact.bytecode,
    encodeAbiParameters([{ type: 'address' }, { type: 'address' }], [asHex(owner), asHex(submitter)]),
  ]);
  const { nonce, fees, gas } = await endpoints.ask(async (rpc) => {
    const [nextNonce, tip, head] = await Promise.all([
      readNonce(rpc, account.address),
      readTip(rpc),
      readBlock(rpc, 'latest'),
    ]);
    const estimate = await estimateGas(rpc, { from: account.address, data });
    if (estimate.kind === 'reverts') {
      throw new ImmutableError('validation_failed', `The contract cannot be deployed: ${estimate.message}`);
    }
    if (head === null || estimate.gas > MOST_DEPLOY_GAS) {
      throw new ImmutableError('unavailable', `it wants ${estimate.gas} gas for the contract`);
    }
    return { nonce: nextNonce, fees: feesAfter(head, tip), gas: (estimate.gas * 6n) / 5n };
  });
  refuseExpensive(fees.maxFeePerGas, options.maxFeeWei);

  const raw = await account.signTransaction({ type: 'eip1559', chainId, data, nonce, gas, ...fees });
  const txHash = keccak256(raw);
  const contract = contractAddressOf(account.address, nonce);
  options.onSigned?.({ contract, txHash });
  const { kind } = await endpoints.ask((rpc) => sendRaw(rpc, { raw, txHash }));
  if (kind !== 'accepted') throw notTaken(kind);

  const receipt = await untilInBlock(options, txHash);
  const code = await endpoints.ask((rpc) => readCode(rpc, contract));
  if (!receipt.hasSucceeded || receipt.contractAddress !== contract || code !== artifact.deployedBytecode) {
    throw new ImmutableError(
      'internal',
      `What is at ${contract} is not the contract that was sent (${txHash}).`,
    );
  }
  const { blockNumber, gasUsed, gasPriceWei } = receipt;
  return { contract, txHash, blockNumber, gasUsed, costWei: gasUsed * gasPriceWei };
}

/** Where the contract will be that an account makes with the transaction of that nonce. */
export function contractAddressOf(sender: string, nonce: number): string {
  return getContractAddress({ from: asHex(sender), nonce: BigInt(nonce) }).toLowerCase();
}

async function untilInBlock(options: DeployOptions, txHash: Hex): Promise<EvmReceipt> {
  const { endpoints, pollMs = POLL_MS, timeoutMs = TIMEOUT_MS } = options;
  const deadline = performance.now() + timeoutMs;
  while (performance.now() < deadline) {
    const receipt = await endpoints.ask((rpc) => readReceipt(rpc, txHash));
    if (receipt !== null) return receipt;
    await sleep(pollMs);
  }
  throw new ImmutableError('unavailable', `The transaction ${txHash} is in no block yet.`, {
    nextStep: 'Look it up before you deploy again: it may still be included, and pays then.',
  });
}

const GWEI = 1e9;

function refuseExpensive(offeredWei: bigint, maxFeeWei: bigint): void {
  if (offeredWei <= maxFeeWei) return;
  const [offered, most] = [offeredWei, maxFeeWei].map((wei) => Number(wei) / GWEI);
  throw new ImmutableError(
    'validation_failed',
    `A unit of gas would be offered ${offered} gwei, and the limit is ${most} gwei.`,
    { nextStep: 'Wait, or raise IMMUTABLE_ANCHOR_MAX_FEE_GWEI.' },
  );
}

function notTaken(kind: 'nonce_used' | 'too_poor' | 'underpriced'): ImmutableError {
  const why = {
    nonce_used: 'The account has just sent another transaction.',
    too_poor: 'The account cannot pay for it.',
    underpriced: 'Another transaction of the account waits, or the fees have risen.',
  }[kind];
  return new ImmutableError('validation_failed', `The contract is not deployed. ${why}`, {
    nextStep: kind === 'too_poor' ? 'Send it some ether, and try again.' : 'Try again.',
  });
}
