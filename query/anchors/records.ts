import {
  type AnchorBatch,
  type AnchorHead,
  headKey,
  readAnchorBatch,
  readAnchorHead,
} from '../../control/anchors.ts';
import type { Bucket } from '../../infra/nats/kv.ts';

/** What the anchor job goes by, elsewhere than in ClickHouse. */
export interface AnchorRecords {
  /** The newest anchor of a workspace; undefined before the first. */
  head(workspaceId: string): Promise<AnchorHead | undefined>;
  /** The tree with this id, and the revision of its record. */
  batch(id: string): BatchRecord | undefined;
  /** How long the copy in ClickHouse may be behind. */
  copyLagMs: number;
}

export interface BatchRecord {
  record: AnchorBatch;
  revision: number;
}

/** The job changes its record first, and its copy a moment later. */
const COPY_LAG_MS = 10_000;
const BATCH_KEY = /^batch\./;

/** Follows the job's records of trees: there is one for each day. */
export async function watchAnchorRecords(bucket: Bucket): Promise<AnchorRecords & { stop(): Promise<void> }> {
  const batches = new Map<string, BatchRecord>();
  const stop = await bucket.watch((key, entry) => {
    if (!BATCH_KEY.test(key) || entry === undefined) return;
    const record = readAnchorBatch(entry.value);
    batches.set(record.id, { record, revision: entry.revision });
  });
  return {
    async head(workspaceId) {
      const entry = await bucket.get(headKey(workspaceId));
      return entry === undefined ? undefined : readAnchorHead(entry.value);
    },
    batch: (id) => batches.get(id),
    copyLagMs: COPY_LAG_MS,
    stop,
  };
}
