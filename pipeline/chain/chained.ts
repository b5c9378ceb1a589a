import { comparePositions, type Position } from '../../control/position.ts';
import { type Crc32, encodeChained } from '../../core/message.ts';
import { MAX_BATCH_MESSAGES } from '../../infra/nats/batch.ts';
import type { ChainRow } from './row.ts';

/** Rows of one workspace that travel in one message of CHAINED: consecutive in its chain. */
export interface ChainedGroup {
  workspaceId: string;
  rows: [ChainRow, ...ChainRow[]];
}

/** Messages that are published together or not at all. */
export interface ChainedBatch {
  /** By the position of their last row: the batch's last message ends with the batch's last row. */
  groups: ChainedGroup[];
  /** Every row up to here is published once this batch is. */
  through: Position;
}

export interface ChainedLimits {
  messageBytes: number;
  batchBytes: number;
  batchMessages: number;
}

const LIMITS: ChainedLimits = {
  messageBytes: 512 * 1024,
  batchBytes: 8 * 1024 * 1024,
  batchMessages: MAX_BATCH_MESSAGES,
};

/**
 * Packs rows, in the order of the stream, into atomic batches. Each batch takes all rows from where the
 * one before ended, of whatever workspace, so that the newest message of a partition tells how far all of
 * it was published.
 */
export function planChained(rows: readonly ChainRow[], limits: ChainedLimits = LIMITS): ChainedBatch[] {
  const batches: ChainedBatch[] = [];
  let open = newBatch();
  for (const row of rows) {
    if (!open.hasRoomFor(row, limits)) {
      batches.push(open.close());
      open = newBatch();
    }
    open.add(row, limits);
  }
  if (!open.isEmpty()) batches.push(open.close());
  return batches;
}

function newBatch() {
  const full: ChainedGroup[] = [];
  const filling = new Map<string, ChainedGroup & { bytes: number }>();
  let bytes = 0;
  let through: Position | undefined;

  function room(row: ChainRow, limits: ChainedLimits) {
    const group = filling.get(row.workspaceId);
    return group !== undefined && group.bytes + row.bytes <= limits.messageBytes ? group : undefined;
  }

  return {
    isEmpty: () => through === undefined,
    hasRoomFor: (row: ChainRow, limits: ChainedLimits) => {
      if (through === undefined) return true;
      if (bytes + row.bytes > limits.batchBytes) return false;
      return room(row, limits) !== undefined || full.length + filling.size < limits.batchMessages;
    },
    add: (row: ChainRow, limits: ChainedLimits) => {
      const size = row.bytes;
      const group = room(row, limits);
      if (group === undefined) {
        const before = filling.get(row.workspaceId);
        if (before !== undefined) full.push(before);
        filling.set(row.workspaceId, { workspaceId: row.workspaceId, rows: [row], bytes: size });
      } else {
        group.rows.push(row);
        group.bytes += size;
      }
      bytes += size;
      through = row.position;
    },
    close: (): ChainedBatch => {
      if (through === undefined) throw new RangeError('a batch has at least one row');
      const groups = [...full, ...filling.values()].map(({ workspaceId, rows }) => ({ workspaceId, rows }));
      groups.sort((a, b) => comparePositions(lastRow(a).position, lastRow(b).position));
      return { groups, through };
    },
  };
}

export function lastRow(group: ChainedGroup): ChainRow {
  return group.rows[group.rows.length - 1] ?? group.rows[0];
}

/** The same for the same rows; what CHAINED refuses to hold twice within its deduplication window. */
export function chainedMessageId(group: ChainedGroup): string {
  return `${group.workspaceId}:${group.rows[0].seq}-${lastRow(group).seq}`;
}

export function chainedPayload(group: ChainedGroup, crc32: Crc32): Uint8Array {
  return encodeChained({ workspaceId: group.workspaceId, events: group.rows }, crc32);
}
