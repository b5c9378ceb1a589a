import { describe, expect, it } from 'vitest';
import type { AnchorBatch } from '../control/anchors.ts';
import type { Attempt, Inclusion, Observation } from './ledger.ts';
import { type StepSettings, step, withAnotherTry, withAttempt, withRefusal, withSent } from './step.ts';
import { pendingBatch } from './testing/memory-records.ts';

const GWEI = 1_000_000_000n;
const SETTINGS: StepSettings = { maxFeePerGasWei: 5n * GWEI, replaceAfterMs: 180_000, nonceSettleMs: 60_000 };
const NOW = Date.UTC(2026, 10, 24, 0, 5);
const ATTEMPT: Attempt = {
  txHash: `0x${'a'.repeat(64)}`,
  raw: '0x01',
  nonce: 7,
  fees: { maxFeePerGas: GWEI, maxPriorityFeePerGas: 1_000n },
  signedAtMs: NOW,
};
const INCLUSION: Inclusion = {
  txHash: ATTEMPT.txHash,
  blockNumber: 100,
  blockHash: `0x${'b'.repeat(64)}`,
  blockTimeMs: NOW,
  confirmations: 1,
  isConfirmed: false,
};

function seen(more: Partial<Observation> = {}): Observation {
  return {
    inclusion: null,
    reverted: null,
    nextNonce: 7,
    isPending: false,
    fees: { maxFeePerGas: GWEI, maxPriorityFeePerGas: 1_000n },
    gas: 50_000n,
    balanceWei: 10n ** 18n,
    ...more,
  };
}

const pending = pendingBatch(24);
const submitted = withAttempt(pending, ATTEMPT);
const at = (batch: AnchorBatch, observed: Partial<Observation>, nowMs = NOW) =>
  step(batch, seen(observed), nowMs, SETTINGS);

describe('a root that is on the chain', () => {
  it('is confirmed once its block is safe, and not before', () => {
    const waiting = at(submitted, { inclusion: INCLUSION });
    expect(waiting).toMatchObject({
      batch: { status: 'submitted', inclusion: { block_number: 100 } },
      action: { kind: 'wait' },
    });
    const done = at(waiting.batch, { inclusion: { ...INCLUSION, isConfirmed: true } });
    expect(done).toMatchObject({ batch: { status: 'confirmed', reason: null }, action: { kind: 'done' } });
  });

  it('costs nothing when somebody else brought it there', () => {
    const inclusion = { ...INCLUSION, txHash: `0x${'c'.repeat(64)}`, isConfirmed: true };
    for (const batch of [pending, submitted, { ...submitted, status: 'failed' as const }]) {
      expect(at(batch, { inclusion })).toMatchObject({
        batch: { status: 'confirmed', inclusion: { tx_hash: inclusion.txHash } },
        action: { kind: 'done' },
      });
    }
  });

  it('is sent again, byte for byte, when it is there no more, however confirmed it was', () => {
    const confirmed = at(submitted, { inclusion: { ...INCLUSION, isConfirmed: true } }).batch;
    expect(at(confirmed, {})).toEqual({
      batch: { ...confirmed, status: 'submitted', inclusion: null },
      action: { kind: 'send', attempt: ATTEMPT },
    });
  });
});

describe('a root that nothing was sent for', () => {
  it('is signed with the next nonce and what the market asks for', () => {
    expect(at(pending, { nextNonce: 3 })).toEqual({
      batch: pending,
      action: { kind: 'sign', nonce: 3, fees: seen().fees },
    });
  });

  it('waits while the market asks for more than is allowed, and says so', () => {
    const { batch, action } = at(pending, { fees: { maxFeePerGas: 6n * GWEI, maxPriorityFeePerGas: 1n } });
    expect(action).toEqual({ kind: 'wait' });
    expect(batch).toMatchObject({ status: 'pending', reason: expect.stringContaining('asks for 6 gwei') });
    expect(batch.reason).toContain('IMMUTABLE_ANCHOR_MAX_FEE_GWEI allows 5');
  });

  it('waits while the account cannot pay', () => {
    expect(at(pending, { balanceWei: 50_000n * GWEI - 1n })).toMatchObject({
      batch: { reason: expect.stringContaining('too little') },
      action: { kind: 'wait' },
    });
    expect(at(pending, { balanceWei: 50_000n * GWEI }).action.kind).toBe('sign');
  });

  it('has failed for as long as the ledger would refuse it, and no longer', () => {
    const refused = withRefusal(pending, 'not allowed');
    expect(refused).toMatchObject({ status: 'failed', reason: 'not allowed' });
    expect(at(refused, {}).action.kind).toBe('sign');
    expect(withAttempt(refused, ATTEMPT)).toMatchObject({ status: 'submitted', reason: null });
  });
});

describe('a transaction that was sent', () => {
  it('is waited for', () => {
    expect(at(submitted, { isPending: true }).action).toEqual({ kind: 'wait' });
    const later = NOW + SETTINGS.replaceAfterMs;
    expect(at(submitted, { isPending: true }, later).action).toEqual({ kind: 'wait' });
  });

  it('is sent again when nobody knows it any more', () => {
    expect(at(submitted, {}).action).toEqual({ kind: 'send', attempt: ATTEMPT });
  });

  it('is replaced under its nonce once it is stuck below the market, by an eighth more at least', () => {
    const little = { maxFeePerGas: GWEI + 1n, maxPriorityFeePerGas: 1_000n };
    expect(
      at(submitted, { isPending: true, fees: little }, NOW + SETTINGS.replaceAfterMs - 1).action.kind,
    ).toBe('wait');
    const { action } = at(submitted, { isPending: true, fees: little }, NOW + SETTINGS.replaceAfterMs);
    expect(action).toEqual({
      kind: 'replace',
      nonce: 7,
      fees: { maxFeePerGas: 1_125_000_001n, maxPriorityFeePerGas: 1_126n },
    });
    const much = { maxFeePerGas: 3n * GWEI, maxPriorityFeePerGas: 9_000n };
    expect(at(submitted, { isPending: true, fees: much }, NOW + SETTINGS.replaceAfterMs).action).toEqual({
      kind: 'replace',
      nonce: 7,
      fees: much,
    });
  });

  it('is not replaced beyond the limit: it waits, or is sent again, and says why', () => {
    const observed = { fees: { maxFeePerGas: 6n * GWEI, maxPriorityFeePerGas: 1_000n } };
    const later = NOW + SETTINGS.replaceAfterMs;
    const waiting = at(submitted, { ...observed, isPending: true }, later);
    expect(waiting).toMatchObject({
      batch: { reason: expect.stringContaining('6 gwei') },
      action: { kind: 'wait' },
    });
    expect(at(submitted, observed, later).action).toEqual({ kind: 'send', attempt: ATTEMPT });
  });

  it('is replaced at once when nodes take it for too little', () => {
    const { action } = at(withSent(submitted, ATTEMPT.txHash, { kind: 'underpriced' }), { isPending: true });
    expect(action).toMatchObject({ kind: 'replace', nonce: 7 });
  });

  it('gets another nonce when its own was used, but only after the root was looked for', () => {
    const first = at(submitted, { nextNonce: 8 });
    expect(first).toMatchObject({
      batch: { reason: expect.stringContaining('nonce') },
      action: { kind: 'wait' },
    });
    expect(at(first.batch, { nextNonce: 8 }, NOW + SETTINGS.nonceSettleMs - 1).action.kind).toBe('wait');
    expect(at(first.batch, { nextNonce: 8 }, NOW + SETTINGS.nonceSettleMs).action).toMatchObject({
      kind: 'sign',
      nonce: 8,
    });
    // Having looked, it need not look again when it had to wait for the market.
    const later = NOW + SETTINGS.nonceSettleMs;
    const dear = { maxFeePerGas: 6n * GWEI, maxPriorityFeePerGas: 1n };
    const waiting = at(first.batch, { nextNonce: 8, fees: dear }, later);
    expect(waiting.action.kind).toBe('wait');
    expect(at(waiting.batch, { nextNonce: 8 }, later).action.kind).toBe('sign');
    // The block was reorganised away: the nonce is its own again.
    const again = at(first.batch, { nextNonce: 7 });
    expect(again).toMatchObject({ batch: { nonce_lost_at: null }, action: { kind: 'send' } });
  });

  it('is, of several, the newest under the nonce that is next', () => {
    const replaced = withAttempt(submitted, { ...ATTEMPT, txHash: `0x${'d'.repeat(64)}` });
    const further = withAttempt(replaced, { ...ATTEMPT, txHash: `0x${'e'.repeat(64)}`, nonce: 9 });
    expect(at(further, {}).action).toMatchObject({
      kind: 'send',
      attempt: { txHash: `0x${'d'.repeat(64)}` },
    });
    expect(at(further, { nextNonce: 8 }).action).toMatchObject({ kind: 'send', attempt: { nonce: 9 } });
    // Nothing else of the account will ever fill the gap.
    const later = NOW + SETTINGS.replaceAfterMs;
    expect(at(further, { nextNonce: 8 }, later).action).toMatchObject({ kind: 'sign', nonce: 8 });
  });

  it('has failed for good when it was reverted, until somebody asks for another try', () => {
    const reverted = { txHash: ATTEMPT.txHash, blockNumber: 100 };
    const { batch, action } = at(submitted, { reverted, nextNonce: 8 });
    expect(batch).toMatchObject({ status: 'failed', reason: expect.stringContaining('block 100') });
    expect(action).toEqual({ kind: 'done' });
    expect(at(batch, { nextNonce: 8 })).toEqual({ batch, action: { kind: 'done' } });
    expect(at(withAnotherTry(batch), { nextNonce: 8 }).action).toMatchObject({ kind: 'sign', nonce: 8 });
  });
});

describe('what became of sending', () => {
  it('is kept where a person or the next step needs it', () => {
    expect(withSent(submitted, ATTEMPT.txHash, { kind: 'nonce_used' })).toEqual(submitted);
    expect(withSent(submitted, ATTEMPT.txHash, { kind: 'too_poor' }).reason).toContain('too little');
    const refused = withSent(submitted, ATTEMPT.txHash, { kind: 'refused', reason: 'no' });
    expect(refused.reason).toBe('no');
    expect(withSent(refused, ATTEMPT.txHash, { kind: 'accepted' })).toEqual(submitted);
  });
});
