import { describe, expect, it } from 'vitest';
import { planBatches } from './plan.ts';
import { chainOf, readSample, SAMPLE_EPOCH, sampleEvent } from './testing/sample.ts';

const A = 'ws_aaaaaaaaaaaaaaaa';
const SOURCE = { partition: 0, epoch: SAMPLE_EPOCH };
const MIDNIGHT = Date.UTC(2026, 3, 1) * 1000;

function rowsAt(...times: number[]) {
  return times.flatMap((time, index) => {
    const workspace = `${A}${index}`;
    return chainOf(SOURCE, [readSample(index + 1, workspace, [sampleEvent(workspace)], time)]);
  });
}

function sequences(batches: ReturnType<typeof planBatches>) {
  return batches.map((batch) => batch.map((row) => row.position.sequence));
}

describe('planBatches', () => {
  it('keeps a run in one insert', () => {
    expect(sequences(planBatches(rowsAt(MIDNIGHT, MIDNIGHT + 1, MIDNIGHT + 2)))).toEqual([[1, 2, 3]]);
    expect(planBatches([])).toEqual([]);
  });

  it('ends a run wherever the month of neighbours differs', () => {
    const rows = rowsAt(MIDNIGHT - 2, MIDNIGHT - 1, MIDNIGHT, MIDNIGHT - 1, MIDNIGHT + 5);
    expect(sequences(planBatches(rows))).toEqual([[1, 2], [3], [4], [5]]);
  });

  it('tells the same month of different years apart', () => {
    expect(sequences(planBatches(rowsAt(Date.UTC(2025, 5) * 1000, Date.UTC(2026, 5) * 1000)))).toEqual([
      [1],
      [2],
    ]);
  });

  it('ends a run in the middle of a message when the month changes there', () => {
    const rows = chainOf(SOURCE, [readSample(1, A, [sampleEvent(A), sampleEvent(A)], MIDNIGHT - 1)]);
    expect(planBatches(rows).map((batch) => batch.map((row) => row.position.index))).toEqual([[0], [1]]);
  });

  it('cuts at the largest number of rows and of bytes', () => {
    const rows = rowsAt(1, 2, 3, 4, 5);
    expect(sequences(planBatches(rows, { rows: 2, bytes: 1e9 }))).toEqual([[1, 2], [3, 4], [5]]);
    expect(sequences(planBatches(rows, { rows: 9, bytes: 1 }))).toEqual([[1], [2], [3], [4], [5]]);
  });
});
