import { ANCHOR_STATUSES, type AnchorBatch } from '../control/anchors.ts';
import { Gauge, type Registry } from '../infra/metrics.ts';
import type { Observation } from './ledger.ts';
import { timestampMs } from './period.ts';
import { feeOf } from './watch.ts';

export interface AnchorMetrics {
  standing(batches: readonly AnchorBatch[], seen: Observation | undefined, nowMs: number): void;
  leftOut(workspaces: number): void;
}

const WEI_PER_ETHER = 1e18;

export function createAnchorMetrics(registry: Registry): AnchorMetrics {
  const registers = [registry];
  const batches = new Gauge({
    name: 'immutable_anchor_batches',
    help: 'Anchor trees, by how they stand',
    labelNames: ['status'],
    registers,
  });
  const oldest = new Gauge({
    name: 'immutable_anchor_oldest_unconfirmed_seconds',
    help: 'Since the end of the oldest period whose anchor is not confirmed; 0 if all are',
    registers,
  });
  const balance = new Gauge({
    name: 'immutable_anchor_balance_ether',
    help: 'What the account that pays has left',
    registers,
  });
  const fee = new Gauge({
    name: 'immutable_anchor_fee_ether',
    help: 'What an anchor costs at most at the present fee',
    registers,
  });
  const leftOut = new Gauge({
    name: 'immutable_anchor_left_out_workspaces',
    help: 'Workspaces that grew and are missing in the newest anchor',
    registers,
  });
  return {
    standing(all, seen, nowMs) {
      for (const status of ANCHOR_STATUSES) {
        batches.set({ status }, all.filter((batch) => batch.status === status).length);
      }
      const unconfirmed = all.find(({ status }) => status !== 'confirmed');
      oldest.set(unconfirmed === undefined ? 0 : (nowMs - timestampMs(unconfirmed.period_end)) / 1000);
      if (seen === undefined) return;
      balance.set(Number(seen.balanceWei) / WEI_PER_ETHER);
      fee.set(Number(feeOf(seen)) / WEI_PER_ETHER);
    },
    leftOut: (workspaces) => leftOut.set(workspaces),
  };
}
