import { z } from 'zod';
import type { Bucket } from '../infra/nats/kv.ts';
import { recordReader } from './record.ts';

const schema = z.looseObject({
  size: z.int().min(1),
  /** Hex. */
  root: z.string().regex(/^[0-9a-f]{64}$/),
  /** C2SP signed-note. */
  note: z.string(),
  signed_at: z.string(),
  /** Of the newest leaf, which has the number `size`. */
  last_created_at: z.string(),
  last_event_hash: z.string().regex(/^[0-9a-f]{64}$/),
});

/** The newest checkpoint that was signed of a workspace, in the bucket `checkpoints`; its key is the workspace. */
export type CheckpointRecord = z.infer<typeof schema>;

export const readCheckpointRecord = recordReader('checkpoint', schema);

/** A record, and what another change of it must name. */
export interface LastSigned {
  record: CheckpointRecord;
  revision: number;
}

/** Undefined before the first checkpoint of a workspace. */
export async function getLastSigned(bucket: Bucket, workspaceId: string): Promise<LastSigned | undefined> {
  const entry = await bucket.get(workspaceId);
  return entry === undefined
    ? undefined
    : { record: readCheckpointRecord(entry.value), revision: entry.revision };
}

/** The newest records of the workspaces that are wanted. */
export async function readLastSigned(
  bucket: Bucket,
  isWanted: (workspaceId: string) => boolean,
): Promise<Map<string, LastSigned>> {
  const found = new Map<string, LastSigned>();
  const stop = await bucket.watch((workspaceId, entry) => {
    if (entry === undefined || !isWanted(workspaceId)) return;
    found.set(workspaceId, { record: readCheckpointRecord(entry.value), revision: entry.revision });
  });
  await stop();
  return found;
}
