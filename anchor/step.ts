import type { AnchorAttempt, AnchorBatch } from '../control/anchors.ts';
import { timestamp } from '../control/record.ts';
import { attemptOf, keptAttempt, keptInclusion } from './attempts.ts';
import type { Attempt, Fees, Inclusion, Observation, Sent } from './ledger.ts';
import { timestampMs } from './period.ts';

/**
 * What to do next about the root of a batch. `sign` and `replace` make a transaction, which is kept before it is sent;
 * `replace` offers more under the nonce of one that is stuck. `send` sends a kept one, byte for byte.
 */
export type Action =
  | { kind: 'sign'; nonce: number; fees: Fees }
  | { kind: 'replace'; nonce: number; fees: Fees }
  | { kind: 'send'; attempt: Attempt }
  /** The record says for what. */
  | { kind: 'wait' }
  | { kind: 'done' };

export interface Step {
  /** To be kept before the action is done. */
  batch: AnchorBatch;
  action: Action;
}

export interface StepSettings {
  /** No transaction offers more for a unit of gas. */
  maxFeePerGasWei: bigint;
  /** A transaction that is in no block after this long is stuck, if the market asks for more than it offers. */
  replaceAfterMs: number;
  /** How long to look for the root after its nonce was used, since endpoints do not all know the newest block. */
  nonceSettleMs: number;
}

export const STEP_TIMING = { replaceAfterMs: 3 * 60_000, nonceSettleMs: 60_000 };

/**
 * The next step from what is kept and what is seen; the same from the same. Whether the root stands on the chain counts
 * before everything else, by whichever transaction: then nothing is paid for. One that is no longer there, however long
 * ago it was confirmed, is sent again.
 */
export function step(batch: AnchorBatch, seen: Observation, nowMs: number, settings: StepSettings): Step {
  if (seen.inclusion !== null) return standing(batch, seen.inclusion);
  if (batch.status === 'failed' && batch.attempts.length > 0) return { batch, action: { kind: 'done' } };
  if (seen.reverted !== null) return failed(batch, seen.reverted);
  const absent: AnchorBatch = {
    ...batch,
    status: statusOf(batch),
    inclusion: null,
  };
  const live = liveAttempt(batch.attempts, seen.nextNonce);
  if (batch.attempts.length === 0) return offer(absent, 'sign', seen.nextNonce, seen.fees, seen, settings);
  if (live === undefined) return afterLostNonce(absent, seen, nowMs, settings);
  return afterSending({ ...absent, nonce_lost_at: null }, live, seen, nowMs, settings);
}

/** One that was refused before anything was sent has failed for as long as it is refused. */
function statusOf({ status, attempts }: AnchorBatch): AnchorBatch['status'] {
  if (attempts.length > 0) return 'submitted';
  return status === 'failed' ? 'failed' : 'pending';
}

function standing(batch: AnchorBatch, inclusion: Inclusion): Step {
  const status = inclusion.isConfirmed ? 'confirmed' : 'submitted';
  return {
    batch: { ...batch, status, reason: null, nonce_lost_at: null, inclusion: keptInclusion(inclusion) },
    action: { kind: inclusion.isConfirmed ? 'done' : 'wait' },
  };
}

function failed(batch: AnchorBatch, { txHash, blockNumber }: { txHash: string; blockNumber: number }): Step {
  const reason = `The contract refused the root: transaction ${txHash} failed in block ${blockNumber}.`;
  return { batch: { ...batch, status: 'failed', reason, inclusion: null }, action: { kind: 'done' } };
}

/** The one that can be in the next block: of those that were not overtaken the first, in its newest form. */
function liveAttempt(attempts: readonly AnchorAttempt[], nextNonce: number): AnchorAttempt | undefined {
  const open = attempts.filter(({ nonce }) => nonce >= nextNonce);
  const first = Math.min(...open.map(({ nonce }) => nonce));
  return open.findLast(({ nonce }) => nonce === first);
}

/** Another transaction of the account took the nonce, or this one is in a block that the endpoint has not seen yet. */
function afterLostNonce(batch: AnchorBatch, seen: Observation, nowMs: number, settings: StepSettings): Step {
  const lostAt = batch.nonce_lost_at ?? timestamp(nowMs);
  if (nowMs - timestampMs(lostAt) >= settings.nonceSettleMs) {
    return offer({ ...batch, nonce_lost_at: lostAt }, 'sign', seen.nextNonce, seen.fees, seen, settings);
  }
  const reason = 'The nonce was used by another transaction of the account; the root is being looked for.';
  return waitingFor({ ...batch, nonce_lost_at: lostAt }, reason);
}

function afterSending(
  batch: AnchorBatch,
  live: AnchorAttempt,
  seen: Observation,
  nowMs: number,
  settings: StepSettings,
): Step {
  const attempt = attemptOf(live);
  const isOverdue = nowMs - attempt.signedAtMs >= settings.replaceAfterMs;
  // Whatever came before it in the account's order is gone, and it would wait for ever.
  if (isOverdue && live.nonce > seen.nextNonce) {
    return offer(batch, 'sign', seen.nextNonce, seen.fees, seen, settings);
  }
  const isStuck = isOverdue && offersLess(attempt.fees, seen.fees);
  if (isStuck || live.is_underpriced === true) {
    const higher = offer(batch, 'replace', live.nonce, higherFees(attempt.fees, seen.fees), seen, settings);
    if (higher.action.kind === 'replace' || live.is_underpriced === true) return higher;
    return seen.isPending ? higher : { batch: higher.batch, action: { kind: 'send', attempt } };
  }
  if (!seen.isPending) return { batch, action: { kind: 'send', attempt } };
  return { batch: { ...batch, reason: null }, action: { kind: 'wait' } };
}

function offersLess(offered: Fees, asked: Fees): boolean {
  return (
    offered.maxFeePerGas < asked.maxFeePerGas || offered.maxPriorityFeePerGas < asked.maxPriorityFeePerGas
  );
}

/** Nodes take a replacement from 10 % on; an eighth is what clients offer. */
function higherFees(offered: Fees, asked: Fees): Fees {
  const higher = (from: bigint, to: bigint) => (raised(from) > to ? raised(from) : to);
  return {
    maxFeePerGas: higher(offered.maxFeePerGas, asked.maxFeePerGas),
    maxPriorityFeePerGas: higher(offered.maxPriorityFeePerGas, asked.maxPriorityFeePerGas),
  };
}

/** By an eighth, and never by nothing. */
function raised(wei: bigint): bigint {
  return wei + wei / 8n + 1n;
}

/** Makes a transaction if that is within the limit and the means. */
function offer(
  batch: AnchorBatch,
  kind: 'sign' | 'replace',
  nonce: number,
  fees: Fees,
  { gas, balanceWei }: Observation,
  { maxFeePerGasWei }: StepSettings,
): Step {
  if (fees.maxFeePerGas > maxFeePerGasWei) {
    return waitingFor(
      batch,
      `The market asks for ${gwei(fees.maxFeePerGas)} gwei for a unit of gas; IMMUTABLE_ANCHOR_MAX_FEE_GWEI allows ${gwei(maxFeePerGasWei)}.`,
    );
  }
  if (balanceWei < gas * fees.maxFeePerGas) {
    return waitingFor(batch, TOO_POOR);
  }
  return { batch, action: { kind, nonce, fees } };
}

const TOO_POOR = 'The account that pays has too little left for the transaction.';

function waitingFor(batch: AnchorBatch, reason: string): Step {
  return { batch: { ...batch, reason }, action: { kind: 'wait' } };
}

function gwei(wei: bigint): string {
  return String(Number(wei) / 1e9);
}

/** With a transaction that was signed and is about to be sent: kept first, so that it is never signed twice. */
export function withAttempt(batch: AnchorBatch, attempt: Attempt): AnchorBatch {
  return {
    ...batch,
    status: 'submitted',
    reason: null,
    nonce_lost_at: null,
    attempts: [...batch.attempts, keptAttempt(attempt)],
  };
}

/** The ledger would refuse the root at this moment. Nothing was sent, and so nothing paid; it is asked again. */
export function withRefusal(batch: AnchorBatch, why: string): AnchorBatch {
  return { ...batch, status: batch.attempts.length === 0 ? 'failed' : batch.status, reason: why };
}

/** What became of sending. Whether it is in a block is for the next observation to tell. */
export function withSent(batch: AnchorBatch, txHash: string, sent: Sent): AnchorBatch {
  switch (sent.kind) {
    case 'accepted':
      return { ...batch, reason: null };
    case 'nonce_used':
      return batch;
    case 'too_poor':
      return { ...batch, reason: TOO_POOR };
    case 'underpriced':
      return {
        ...batch,
        attempts: batch.attempts.map((attempt) =>
          attempt.tx_hash === txHash ? { ...attempt, is_underpriced: true } : attempt,
        ),
      };
    case 'refused':
      return { ...batch, reason: sent.reason };
  }
}

/** One that failed is begun anew, once a person has mended what made it fail. */
export function withAnotherTry(batch: AnchorBatch): AnchorBatch {
  return { ...batch, status: 'pending', reason: null, attempts: [], nonce_lost_at: null, inclusion: null };
}
