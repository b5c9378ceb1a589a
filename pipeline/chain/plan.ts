import type { ChainRow } from './row.ts';

/** What one insert may hold; ClickHouse makes a single part of it, so it is stored whole or not at all. */
export interface BatchLimits {
  rows: number;
  bytes: number;
}

export const INSERT_LIMITS: BatchLimits = { rows: 50_000, bytes: 64 * 1024 * 1024 };

/**
 * Cuts a contiguous run of rows into the inserts that store it, in order. A batch ends at the limits and
 * where the month of neighbours differs: the table has a partition a month, and an insert into two of
 * them is not atomic.
 */
export function planBatches(rows: readonly ChainRow[], limits: BatchLimits = INSERT_LIMITS): ChainRow[][] {
  const batches: ChainRow[][] = [];
  let batch: ChainRow[] = [];
  let bytes = 0;
  let month = '';
  for (const row of rows) {
    const size = row.bytes;
    const isFull = batch.length >= limits.rows || bytes + size > limits.bytes;
    if (batch.length > 0 && (isFull || !row.createdAt.startsWith(month))) {
      batches.push(batch);
      batch = [];
      bytes = 0;
    }
    if (batch.length === 0) month = row.createdAt.slice(0, 7);
    batch.push(row);
    bytes += size;
  }
  if (batch.length > 0) batches.push(batch);
  return batches;
}
