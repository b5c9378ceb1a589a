import { expect, it } from 'vitest';
import { partitionOf } from './partition.ts';
import { newWorkspaceId } from './workspaces.ts';

it('is fixed for ever: these values were computed by sha256sum', () => {
  // printf ws_0000000000000001 | sha256sum | cut -c1-8 → af32c202
  expect(partitionOf('ws_0000000000000001', 4)).toBe(0xaf32c202 % 4);
  expect(partitionOf('ws_0000000000000001', 1)).toBe(0);
});

it('spreads workspaces evenly', () => {
  const counts = new Array<number>(16).fill(0);
  for (let i = 0; i < 16_000; i++) {
    const partition = partitionOf(newWorkspaceId(), 16);
    counts[partition] = (counts[partition] ?? 0) + 1;
  }
  expect(Math.min(...counts)).toBeGreaterThan(800);
  expect(Math.max(...counts)).toBeLessThan(1_200);
});
