import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { LastSigned } from '../../control/checkpoints.ts';
import { ImmutableError } from '../../core/errors.ts';
import { createLogger } from '../../infra/log.ts';
import { commit } from './commit.ts';
import type { Growth, Harvest } from './growing-tree.ts';
import { recordOf } from './record.ts';
import type { Signer } from './signer.ts';
import type { SignedCheckpoint } from './store.ts';

function growth(size: number): Growth {
  const head = { seq: size, createdAt: '2026-03-15T12:00:00.000000Z', eventHash: 'ab'.repeat(32) };
  return { size, root: new Uint8Array(32).fill(size), head };
}

function harvestsOf(workspaces: number, sizes: number[]): Map<string, Harvest> {
  const harvest = { tiles: [], growths: sizes.map(growth) };
  return new Map(Array.from({ length: workspaces }, (_, number) => [`ws_${number}`, harvest]));
}

function world(sign: (workspaceId: string, size: number) => Promise<void>) {
  const steps: string[] = [];
  const kept: SignedCheckpoint[] = [];
  const signer: Signer = {
    async sign(workspaceId, _last, wanted) {
      await sign(workspaceId, wanted.size);
      steps.push(`sign ${workspaceId} ${wanted.size}`);
      return { record: recordOf(wanted, 'note', ''), revision: 1 };
    },
  };
  const store = {
    writeTiles: async () => {},
    writeCheckpoints: async (checkpoints: readonly SignedCheckpoint[]) => {
      kept.push(...checkpoints);
      steps.push(`keep ${checkpoints.map(({ workspaceId, size }) => `${workspaceId} ${size}`).join()}`);
    },
  };
  const context = {
    store,
    signer,
    lastSigned: new Map<string, LastSigned>(),
    log: createLogger('test', 'silent'),
    timing: { firstRetryMs: 1, longestRetryMs: 2 },
  };
  return { context, steps, kept };
}

const SIGNAL = new AbortController().signal;

describe('a commit', () => {
  it('keeps each checkpoint in the table before another of its workspace is signed', async () => {
    const { context, steps } = world(async () => {});
    const signed = await commit(context, harvestsOf(1, [3, 5]), SIGNAL);
    expect(steps).toEqual(['sign ws_0 3', 'keep ws_0 3', 'sign ws_0 5', 'keep ws_0 5']);
    expect(signed.map(({ size }) => size)).toEqual([3, 5]);
  });

  it('signs every workspace, many at a time, and tries again what failed', async () => {
    let [atOnce, most, failures] = [0, 0, 0];
    const { context, kept } = world(async () => {
      atOnce += 1;
      most = Math.max(most, atOnce);
      await delay(1);
      atOnce -= 1;
      failures += 1;
      if (failures % 7 === 0) throw new Error('timeout');
    });
    await commit(context, harvestsOf(100, [2]), SIGNAL);
    expect(new Set(kept.map(({ workspaceId }) => workspaceId)).size).toBe(100);
    expect(kept).toHaveLength(100);
    expect(most).toBe(32);
  });

  it('has ended whatever it began when it gives up', async () => {
    const { context, steps } = world(async (workspaceId) => {
      await delay(workspaceId === 'ws_3' ? 1 : 10);
      if (workspaceId === 'ws_3') throw new ImmutableError('fenced', 'Another process signs.');
    });
    await expect(commit(context, harvestsOf(100, [2]), SIGNAL)).rejects.toMatchObject({ code: 'fenced' });
    const signedByThen = steps.length;
    await delay(50);
    expect(steps).toHaveLength(signedByThen);
    expect(signedByThen).toBeLessThan(32);
  });
});
