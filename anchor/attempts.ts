import type { AnchorAttempt, AnchorBatch } from '../control/anchors.ts';
import { timestamp } from '../control/record.ts';
import type { Attempt, Inclusion } from './ledger.ts';
import { timestampMs } from './period.ts';

/** Between what the ledger speaks of and what is kept of it, where numbers beyond 2^53 are texts. */

export function keptAttempt({ txHash, raw, nonce, fees, signedAtMs }: Attempt): AnchorAttempt {
  return {
    tx_hash: txHash,
    raw,
    nonce,
    max_fee_per_gas: String(fees.maxFeePerGas),
    max_priority_fee_per_gas: String(fees.maxPriorityFeePerGas),
    signed_at: timestamp(signedAtMs),
  };
}

export function attemptOf(kept: AnchorAttempt): Attempt {
  return {
    txHash: kept.tx_hash,
    raw: kept.raw,
    nonce: kept.nonce,
    fees: {
      maxFeePerGas: BigInt(kept.max_fee_per_gas),
      maxPriorityFeePerGas: BigInt(kept.max_priority_fee_per_gas),
    },
    signedAtMs: timestampMs(kept.signed_at),
  };
}

export function keptInclusion({
  txHash,
  blockNumber,
  blockHash,
  blockTimeMs,
}: Inclusion): AnchorBatch['inclusion'] {
  return {
    tx_hash: txHash,
    block_number: blockNumber,
    block_hash: blockHash,
    block_time: timestamp(blockTimeMs),
  };
}
