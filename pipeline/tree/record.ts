import type { CheckpointRecord } from '../../control/checkpoints.ts';
import type { Growth, TreeHead } from './growing-tree.ts';

export function headOf(record: CheckpointRecord): TreeHead {
  return { seq: record.size, createdAt: record.last_created_at, eventHash: record.last_event_hash };
}

export function recordOf({ size, root, head }: Growth, note: string, signedAt: string): CheckpointRecord {
  return {
    size,
    root: Buffer.from(root).toString('hex'),
    note,
    signed_at: signedAt,
    last_created_at: head.createdAt,
    last_event_hash: head.eventHash,
  };
}
