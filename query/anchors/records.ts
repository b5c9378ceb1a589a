import {
  type AnchorBatch,
  type AnchorHead,
  BATCH_KEYS,
  headKey,
  readAnchorBatch,
  readAnchorHead,
} from '../../control/anchors.ts';
import type { Logger } from '../../infra/log.ts';
import type { Bucket } from '../../infra/nats/kv.ts';

/** What the anchor job goes by, elsewhere than in ClickHouse. */
export interface AnchorRecords {
  /** The newest anchor of a workspace; undefined before the first. */
  head(workspaceId: string): Promise<AnchorHead | undefined>;
  /** The tree with this id, and the revision of its record. */
  batch(id: string): BatchRecord | undefined;
}

export interface BatchRecord {
  record: AnchorBatch;
  revision: number;
}

/**
 * Follows the job's records of trees: there is one for each day. One that cannot be read is as none: then its anchors do not verify,
 * and nothing else suffers.
 */
export async function watchAnchorRecords(
  bucket: Bucket,
  log: Logger,
): Promise<AnchorRecords & { stop(): Promise<void> }> {
  const batches = new Map<string, BatchRecord>();
  const stop = await bucket.watch((key, entry) => {
    if (entry === undefined) return;
    try {
      const record = readAnchorBatch(entry.value);
      batches.set(record.id, { record, revision: entry.revision });
    } catch (error) {
      log.error({ err: error, key }, 'an anchor record cannot be read');
    }
  }, BATCH_KEYS);
  return {
    async head(workspaceId) {
      const entry = await bucket.get(headKey(workspaceId));
      return entry === undefined ? undefined : readAnchorHead(entry.value);
    },
    batch: (id) => batches.get(id),
    stop,
  };
}
