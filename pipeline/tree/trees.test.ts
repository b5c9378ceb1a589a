import { describe, expect, it } from 'vitest';
import { nativeHasher } from '../../infra/hash.ts';
import type { ChainRow } from '../chain/row.ts';
import { memoryStore } from '../chain/testing/memory-store.ts';
import { chainOf, readSample, SAMPLE_EPOCH, sampleEvent } from '../chain/testing/sample.ts';
import type { TreeMismatch } from './load.ts';
import { memoryTreeStore } from './testing/memory-store.ts';
import { createTrees } from './trees.ts';

const SOURCE = { partition: 0, epoch: SAMPLE_EPOCH };

function opened() {
  const events = memoryStore();
  const store = memoryTreeStore(() => events.rows);
  const mismatches: TreeMismatch[] = [];
  const trees = createTrees({
    store,
    lastSigned: async () => undefined,
    hasher: nativeHasher,
    onMismatch: async (mismatch) => {
      mismatches.push(mismatch);
    },
    onRepaired: () => {},
    onPage: async () => {},
  });
  function chain(workspaceId: string, count: number): ChainRow[] {
    const sample = Array.from({ length: count }, () => sampleEvent(workspaceId));
    const rows = chainOf(SOURCE, [readSample(1, workspaceId, sample)]);
    events.put(SOURCE, rows);
    return rows;
  }
  return { trees, store, mismatches, chain };
}

const harvestedSize = (
  harvests: ReturnType<ReturnType<typeof createTrees>['harvest']>,
  workspaceId: string,
) => harvests.get(workspaceId)?.growths.at(-1)?.size;

describe('the trees of a partition', () => {
  it('keep one that grows, though it was idle while what comes before was read', async () => {
    const { trees, store, chain } = opened();
    const rows = chain('ws_first', 4);
    await trees.append('ws_first', rows.slice(0, 1));
    const [template] = chain('ws_other', 1);
    for (let number = 0; number < 4_096; number += 1) {
      await trees.append(`ws_${number}`, template === undefined ? [] : [template]);
    }
    store.fault = (operation) => {
      if (operation === 'eventsAfter') trees.harvest();
    };
    await trees.append('ws_first', rows.slice(3));
    expect(trees.unharvested()).toBe(3);
    expect(harvestedSize(trees.harvest(), 'ws_first')).toBe(4);
  });

  it('count what was not harvested, without the workspaces that are given up', async () => {
    const { trees, mismatches, chain } = opened();
    const [right, wrong] = [chain('ws_right', 2), chain('ws_wrong', 3)];
    await trees.append('ws_right', right);
    await trees.append('ws_wrong', wrong.slice(0, 2));
    expect(trees.unharvested()).toBe(4);
    await trees.append('ws_wrong', [{ ...wrong[2]!, previousEventHash: '0'.repeat(64) }]);
    expect(mismatches.map(({ workspaceId }) => workspaceId)).toEqual(['ws_wrong']);
    expect(trees.unharvested()).toBe(2);
    expect(await trees.isRight('ws_wrong')).toBe(false);
    expect(await trees.isRight('ws_right')).toBe(true);
    await trees.append('ws_wrong', wrong);
    expect([...trees.harvest().keys()]).toEqual(['ws_right']);
    expect(mismatches).toHaveLength(1);
  });
});
