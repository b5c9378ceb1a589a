import { describe, expect, it } from 'vitest';
import type { Observation } from './ledger.ts';
import { pendingBatch } from './testing/memory-records.ts';
import { incompleteness, type Standing, standingAlarms } from './watch.ts';

const HOUR_MS = 3_600_000;
const MIDNIGHT = '2026-11-24T00:00:00.000000Z';
const MIDNIGHT_MS = Date.parse(MIDNIGHT);

function seen(balanceWei: bigint): Observation {
  return {
    inclusion: null,
    reverted: null,
    nextNonce: 0,
    isPending: false,
    fees: { maxFeePerGas: 1_000_000_000n, maxPriorityFeePerGas: 1n },
    gas: 50_000n,
    balanceWei,
  };
}

function alarms(more: Partial<Standing>): string[] {
  const standing: Standing = {
    batches: [],
    seen: undefined,
    hasChain: true,
    madeUntil: MIDNIGHT,
    nowMs: MIDNIGHT_MS + HOUR_MS,
    ...more,
  };
  return [...standingAlarms(standing)].flatMap(([key, alarm]) => (alarm === undefined ? [] : [key]));
}

describe('standingAlarms', () => {
  it('are none while all is well', () => {
    expect(alarms({ batches: [pendingBatch(24, { status: 'confirmed' })], seen: seen(10n ** 18n) })).toEqual(
      [],
    );
    expect(alarms({ batches: [pendingBatch(24, { status: 'submitted' })] })).toEqual([]);
  });

  it('tell of an anchor that failed', () => {
    expect(alarms({ batches: [pendingBatch(24, { status: 'failed', reason: 'NotAllowed' })] })).toEqual([
      'anchor.failed',
    ]);
  });

  it('tell of one that is not confirmed after six hours, where there is a chain', () => {
    const batches = [pendingBatch(24, { status: 'submitted' })];
    expect(alarms({ batches, nowMs: MIDNIGHT_MS + 6 * HOUR_MS })).toEqual([]);
    expect(alarms({ batches, nowMs: MIDNIGHT_MS + 6 * HOUR_MS + 1 })).toEqual(['anchor.late']);
    expect(alarms({ batches, nowMs: MIDNIGHT_MS + 7 * HOUR_MS, hasChain: false })).toEqual([]);
  });

  it('tell of one that is not even made, where there is none too', () => {
    const late = { nowMs: MIDNIGHT_MS + 7 * HOUR_MS, hasChain: false };
    expect(alarms({ ...late, madeUntil: '' })).toEqual(['anchor.late']);
    expect(alarms({ ...late, madeUntil: '', nowMs: MIDNIGHT_MS + 5 * HOUR_MS })).toEqual([]);
    // Another process has made it.
    expect(alarms({ ...late, madeUntil: '', batches: [pendingBatch(24)] })).toEqual([]);
  });

  it('tell of an account that cannot pay for thirty more', () => {
    const cost = 50_000n * 1_000_000_000n;
    expect(alarms({ seen: seen(30n * cost) })).toEqual([]);
    expect(alarms({ seen: seen(30n * cost - 1n) })).toEqual(['anchor.balance']);
  });
});

describe('incompleteness', () => {
  const gathered = { periodEnd: MIDNIGHT, ends: [], leftOut: [], unsettled: [] };

  it('is none of an anchor that has everybody', () => {
    expect(incompleteness(gathered)).toBeUndefined();
  });

  it('names who is missing, and why, but not a hundred thousand of them', () => {
    const leftOut = Array.from({ length: 100_000 }, (_, index) => ({
      workspaceId: `ws_${index}`,
      why: 'stopped',
      mayCome: false,
    }));
    const alarm = incompleteness({ ...gathered, leftOut, unsettled: [2] });
    expect(alarm?.message).toBe(
      'The anchor of 2026-11-23 is without 100000 workspaces. What partitions 2 had received was not signed in time.',
    );
    expect(alarm?.details.workspaces).toHaveLength(20);
  });
});
