import { keccak256 } from 'viem';
import { ImmutableError } from '../core/errors.ts';
import { evmEndpoints } from '../infra/evm/endpoints.ts';
import type { JsonRpc } from '../infra/evm/json-rpc.ts';
import {
  type BlockTag,
  type EvmBlock,
  isKnownAt,
  readBalance,
  readBlock,
  readCall,
  readLogs,
  readNonce,
  readReceipt,
  readTip,
} from '../infra/evm/reads.ts';
import { estimateGas, sendRaw } from '../infra/evm/transactions.ts';
import type { Logger } from '../infra/log.ts';
import { anchorCall, anchoredTopics, blockOfAnswer, blockOfCall, contractError, isAnchored } from './abi.ts';
import { accountOf, asHex, feesAfter } from './account.ts';
import type { Attempt, Inclusion, Ledger, LedgerPlace, Observation, Sent } from './ledger.ts';

export interface BaseLedger extends Ledger {
  /** Who pays: 0x and 40 hexadecimal digits, lower case. */
  readonly sender: string;
}

export interface BaseLedgerOptions {
  place: LedgerPlace;
  /** Asked in this order. */
  rpcUrls: readonly string[];
  /** 0x and 64 hexadecimal digits. Kept in the closure that signs; in no error and no log. */
  privateKey: string;
  /** What the chain must call a block before it counts as confirmed. */
  confirm: BlockTag;
  log: Logger;
  now?: () => number;
  /** For one call to one endpoint. */
  timeoutMs?: number;
}

/** More than anchoring takes (docs/anchor-contract.md); what is not used is not paid for. */
const ANCHOR_GAS = 60_000n;
/** No honest estimate comes near it, and no transaction may use more. */
const MOST_ANCHOR_GAS = 300_000n;

/**
 * Anchors on Base, or any chain that speaks as Ethereum does. Endpoints are not trusted blindly: one that is another
 * chain, lags behind, or contradicts itself is passed over for the next, and the log names its host.
 *
 * On Base a transaction also pays for its bytes on Ethereum (the L1 data fee), which no field of it bounds and no
 * estimate of gas contains; nodes take it from the balance.
 */
export function baseLedger(options: BaseLedgerOptions): BaseLedger {
  const { place, confirm, log, rpcUrls, timeoutMs, now = Date.now } = options;
  const account = accountOf(options.privateKey);
  const sender = account.address.toLowerCase();
  const endpoints = evmEndpoints({ urls: rpcUrls, chainId: place.chainId, log, timeoutMs });
  let isTagMissed = false;

  return {
    place,
    sender,

    async observe(root, attempts) {
      const seen = await endpoints.ask((rpc) => observeBy(rpc, root, attempts));
      const newest = attempts.at(-1);
      // In no block, by its nonce; what Base only promises to include (flashblocks) counts as on its way.
      const mayWait = newest !== undefined && newest.nonce >= seen.nextNonce;
      const isPending = mayWait && (await endpoints.some((rpc) => isKnownAt(rpc, newest.txHash)));
      return { ...seen, isPending };
    },

    async sign(root, { nonce, fees }) {
      const data = anchorCall(root);
      const gas = await endpoints.ask((rpc) => gasToAnchor(rpc, data));
      const { chainId, contract } = place;
      const raw = await account.signTransaction({
        type: 'eip1559',
        chainId,
        to: asHex(contract),
        data,
        nonce,
        gas,
        ...fees,
      });
      return { txHash: keccak256(raw), raw, nonce, fees, signedAtMs: now() };
    },

    async send(attempt): Promise<Sent> {
      try {
        // To each of them: one may take it, and keep it from the others.
        return await endpoints.tell(
          (rpc) => sendRaw(rpc, attempt),
          ({ kind }) => kind === 'accepted',
        );
      } catch (error) {
        if (!(error instanceof ImmutableError) || error.code !== 'validation_failed') throw error;
        return { kind: 'refused', reason: error.message };
      }
    },
  };

  async function observeBy(
    rpc: JsonRpc,
    root: string,
    attempts: readonly Attempt[],
  ): Promise<Omit<Observation, 'isPending'>> {
    // The nonce before the root: an attempt that the nonce counts has left its root, or has failed.
    const [nextNonce, balanceWei, tip, head] = await Promise.all([
      readNonce(rpc, sender),
      readBalance(rpc, sender),
      readTip(rpc),
      readHead(rpc, place.chainId, now()),
    ]);
    const inclusion = await inclusionOf(rpc, root, head);
    const reverted = inclusion === null ? await revertedOf(rpc, attempts, nextNonce) : null;
    return { inclusion, reverted, nextNonce, fees: feesAfter(head, tip), gas: ANCHOR_GAS, balanceWei };
  }

  /** By whichever transaction: the contract says in which block, that block has the log, its receipt the rest. */
  async function inclusionOf(rpc: JsonRpc, root: string, head: EvmBlock): Promise<Inclusion | null> {
    const blockNumber = blockOfAnswer(await readCall(rpc, { to: place.contract, data: blockOfCall(root) }));
    if (blockNumber === undefined) {
      throw contradiction(`there is no anchor contract at ${place.contract}`);
    }
    if (blockNumber === 0) return null;
    const topics = anchoredTopics(root);
    const [block, [entry]] = await Promise.all([
      readBlock(rpc, blockNumber),
      readLogs(rpc, { address: place.contract, topics, blockNumber }),
    ]);
    if (block === null || entry === undefined) {
      throw contradiction(
        `the contract says that the root is in block ${blockNumber}, which does not have it`,
      );
    }
    const receipt = await readReceipt(rpc, entry.transactionHash);
    const holds =
      receipt?.hasSucceeded === true &&
      receipt.blockHash === block.hash &&
      receipt.logs.some((one) => isAnchored(one, place.contract, root, block.timeMs));
    if (!holds || block.number !== blockNumber) {
      throw contradiction(
        `the receipt of ${entry.transactionHash} is not that of a root in block ${blockNumber}`,
      );
    }
    return {
      txHash: receipt.transactionHash,
      blockNumber,
      blockHash: block.hash,
      blockTimeMs: block.timeMs,
      confirmations: Math.max(1, head.number - blockNumber + 1),
      isConfirmed: blockNumber <= (await lastConfirmedBlock(rpc, head)),
    };
  }

  /** Where the chain knows no such tag, an hour of Base's blocks: far more than either tag ever took. */
  async function lastConfirmedBlock(rpc: JsonRpc, head: EvmBlock): Promise<number> {
    if (confirm === 'latest') return Number.POSITIVE_INFINITY;
    const block = await readBlock(rpc, confirm);
    if (block !== null) return block.number;
    if (!isTagMissed) {
      const instead = `${BLOCKS_INSTEAD_OF_TAG} blocks`;
      log.warn({ endpoint: rpc.host, tag: confirm, instead }, 'the chain does not know the tag to wait for');
    }
    isTagMissed = true;
    return head.number - BLOCKS_INSTEAD_OF_TAG;
  }

  /** Asked when the root is nowhere: an attempt that took effect after all means that this endpoint is of two minds. */
  async function revertedOf(
    rpc: JsonRpc,
    attempts: readonly Attempt[],
    nextNonce: number,
  ): Promise<Observation['reverted']> {
    for (const { txHash, nonce } of attempts.toReversed()) {
      const receipt = nonce < nextNonce ? await readReceipt(rpc, txHash) : null;
      if (receipt === null) continue;
      // One that was sent to a contract of former settings says nothing about this one.
      if (receipt.to !== place.contract) continue;
      if (receipt.hasSucceeded) throw contradiction(`the contract does not know what ${txHash} anchored`);
      return { txHash, blockNumber: receipt.blockNumber };
    }
    return null;
  }

  async function gasToAnchor(rpc: JsonRpc, data: `0x${string}`): Promise<bigint> {
    const estimate = await estimateGas(rpc, { from: sender, to: place.contract, data });
    if (estimate.kind === 'reverts') {
      const why = contractError(estimate.data) ?? estimate.message;
      throw new ImmutableError('validation_failed', `The contract would refuse the root: ${why}.`, {
        nextStep: nextStepAfter(why, sender),
      });
    }
    if (estimate.gas > MOST_ANCHOR_GAS) throw contradiction(`it wants ${estimate.gas} gas for an anchor`);
    const withMargin = (estimate.gas * 6n) / 5n;
    return withMargin > ANCHOR_GAS ? withMargin : ANCHOR_GAS;
  }
}

const BLOCKS_INSTEAD_OF_TAG = 1_800;

/** Chains that make a block every two seconds: an endpoint whose newest is old is behind, and its nonces too. */
const STEADY_CHAINS = [8_453, 84_532];
const LONGEST_LAG_MS = 5 * 60_000;

async function readHead(rpc: JsonRpc, chainId: number, nowMs: number): Promise<EvmBlock> {
  const head = await readBlock(rpc, 'latest');
  if (head === null) throw contradiction('it has no newest block');
  if (STEADY_CHAINS.includes(chainId) && nowMs - head.timeMs > LONGEST_LAG_MS) {
    throw contradiction(`it is behind: its newest block is of ${new Date(head.timeMs).toISOString()}`);
  }
  return head;
}

/** What an endpoint says cannot be; another one may know better. */
function contradiction(what: string): ImmutableError {
  return new ImmutableError('unavailable', what);
}

function nextStepAfter(why: string, sender: string): string {
  return why === 'NotAllowed'
    ? `Let the owner of the contract call setSubmitter(${sender}, true).`
    : 'Look at IMMUTABLE_ANCHOR_CONTRACT and IMMUTABLE_ANCHOR_CHAIN_ID.';
}
