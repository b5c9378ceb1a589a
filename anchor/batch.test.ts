import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { numbered } from '../control/anchors.ts';
import { anchorIdOf, verifyAnchorPath } from '../core/anchor.ts';
import { checkpointText, signNote } from '../core/checkpoint.ts';
import { nativeHasher } from '../infra/hash.ts';
import { type AnchorRow, anchorRows, areRowsOf, headOf, type WorkspaceEnd } from './batch.ts';

const PERIOD = {
  batchId: 'ab'.repeat(16),
  periodEnd: '2026-11-24T00:00:00.000000Z',
  createdAt: '2026-11-24T00:05:00.000000Z',
};
const SEED = new Uint8Array(32).fill(7);

function note(workspaceId: string, size: number): string {
  const name = `log.test/${workspaceId}`;
  const root = createHash('sha256').update(`${workspaceId} ${size}`).digest();
  return signNote(checkpointText(name, size, root), { name, seed: SEED });
}

function end(workspaceId: string, size: number, more: Partial<WorkspaceEnd> = {}): WorkspaceEnd {
  return {
    workspaceId,
    note: note(workspaceId, size),
    firstEventHash: '1'.repeat(64),
    lastEventHash: '2'.repeat(64),
    firstEventAt: '2026-11-23T14:00:00.000000Z',
    previous: undefined,
    ...more,
  };
}

const rowsOf = (...ends: WorkspaceEnd[]) => anchorRows(PERIOD, ends, nativeHasher);

describe('anchorRows', () => {
  it('makes a leaf of each workspace, in the order of their ids, with a path to the one root', () => {
    const rows = rowsOf(end('ws_c', 3), end('ws_a', 1), end('ws_b', 2));
    expect(rows.map(({ workspaceId, leafIndex, treeSize }) => [workspaceId, leafIndex, treeSize])).toEqual([
      ['ws_a', 0, 3],
      ['ws_b', 1, 3],
      ['ws_c', 2, 3],
    ]);
    for (const row of rows) expect(isUnderRoot(row)).toBe(true);
    expect(new Set(rows.map(({ anchorRoot }) => anchorRoot)).size).toBe(1);
  });

  it('begins a first anchor with the day of the first event', () => {
    const [row] = rowsOf(end('ws_a', 5));
    expect(row).toMatchObject({
      periodStart: '2026-11-23T00:00:00.000000Z',
      periodEnd: PERIOD.periodEnd,
      size: 5,
      eventsCount: 5,
      previousAnchorHash: '',
    });
  });

  it('goes on where the anchor before ended', () => {
    const [first] = rowsOf(end('ws_a', 5));
    const later = { ...PERIOD, batchId: 'cd'.repeat(16), periodEnd: '2026-11-26T00:00:00.000000Z' };
    const previous = numbered(headOf(first as AnchorRow, nativeHasher), undefined);
    const [row] = anchorRows(later, [end('ws_a', 12, { previous })], nativeHasher);
    const text = note('ws_a', 5).split('\n\n')[0];
    expect(row).toMatchObject({
      periodStart: PERIOD.periodEnd,
      eventsCount: 7,
      previousAnchorHash: createHash('sha256').update(`${text}\n`).digest('hex'),
    });
  });

  it('refuses a workspace that did not grow, or is said to be another', () => {
    const previous = numbered(headOf(rowsOf(end('ws_a', 5))[0] as AnchorRow, nativeHasher), undefined);
    expect(() => rowsOf(end('ws_a', 5, { previous }))).toThrow('did not grow');
    expect(() => rowsOf({ ...end('ws_a', 5), note: note('ws_b', 5) })).toThrow('another log');
  });

  it('gives ids that follow from the batch and the workspace, and differ between either', () => {
    const [row] = rowsOf(end('ws_a', 1));
    expect(row?.id).toMatch(/^anc_[0-9a-f]{32}$/);
    expect(rowsOf(end('ws_a', 1))[0]).toEqual(row);
    expect(anchorIdOf(PERIOD.batchId, 'ws_b', nativeHasher)).not.toBe(row?.id);
    expect(anchorIdOf('cd'.repeat(16), 'ws_a', nativeHasher)).not.toBe(row?.id);
  });
});

describe('areRowsOf', () => {
  const rows = rowsOf(end('ws_a', 1), end('ws_b', 2));
  const root = rows[0]?.anchorRoot ?? '';

  it('knows the leaves of a tree by its root', () => {
    expect(areRowsOf(rows, root, 2, nativeHasher)).toBe(true);
  });

  it('refuses what lacks one, or has another in its place', () => {
    expect(areRowsOf(rows.slice(1), root, 2, nativeHasher)).toBe(false);
    expect(areRowsOf(rows.slice(1), root, 1, nativeHasher)).toBe(false);
    expect(areRowsOf(rowsOf(end('ws_a', 1), end('ws_b', 3)), root, 2, nativeHasher)).toBe(false);
    expect(
      areRowsOf([...rows.slice(1), { ...rows[0], checkpoint: 'x' } as AnchorRow], root, 2, nativeHasher),
    ).toBe(false);
  });
});

function isUnderRoot({ checkpoint, leafIndex, treeSize, path, anchorRoot }: AnchorRow): boolean {
  const bytes = (hex: string) => new Uint8Array(Buffer.from(hex, 'hex'));
  const text = `${checkpoint.split('\n\n')[0]}\n`;
  return verifyAnchorPath(text, { leafIndex, treeSize, path: path.map(bytes) }, bytes(anchorRoot));
}
