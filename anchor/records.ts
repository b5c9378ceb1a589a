import {
  type AnchorBatch,
  type AnchorDraft,
  type AnchorHead,
  BATCH_KEYS,
  batchKey,
  DRAFT_KEY,
  HEAD_KEYS,
  headKey,
  type NextAnchorHead,
  numbered,
  readAnchorBatch,
  readAnchorDraft,
  readAnchorHead,
  workspaceOfHeadKey,
} from '../control/anchors.ts';
import { isConflict } from '../control/workspaces.ts';
import { ImmutableError } from '../core/errors.ts';
import type { Bucket, Entry } from '../infra/nats/kv.ts';

/** A batch, and what another change of it must name. */
export interface KeptBatch {
  batch: AnchorBatch;
  revision: number;
}

/** What the job goes by, in the bucket `anchors`. */
export interface AnchorRecords {
  /** In the order in which they were made. */
  batches(): Promise<KeptBatch[]>;
  batch(number: number): Promise<KeptBatch>;
  /** Throws `conflict` when there is one of this number. */
  create(batch: AnchorBatch): Promise<KeptBatch>;
  /** Throws `conflict` when somebody else changed it in the meantime. */
  change(kept: KeptBatch, next: AnchorBatch): Promise<KeptBatch>;
  heads(): Promise<Map<string, AnchorHead>>;
  /** Leaves alone what is further already. */
  writeHeads(heads: ReadonlyMap<string, NextAnchorHead>): Promise<void>;
  draft(): Promise<AnchorDraft | undefined>;
  writeDraft(draft: AnchorDraft | undefined): Promise<void>;
}

const HEADS_AT_A_TIME = 32;

export function anchorRecords(bucket: Bucket): AnchorRecords {
  return {
    async batches() {
      const found: KeptBatch[] = [];
      for (const entry of await present(bucket, BATCH_KEYS)) found.push(keptBatch(entry));
      return found.sort((a, b) => a.batch.number - b.batch.number);
    },
    async batch(number) {
      const entry = await bucket.get(batchKey(number));
      if (entry === undefined) throw new ImmutableError('internal', `there is no anchor batch ${number}`);
      return keptBatch(entry);
    },
    create: async (batch) => ({ batch, revision: await bucket.create(batchKey(batch.number), batch) }),
    change: async ({ revision }, next) => ({
      batch: next,
      revision: await bucket.update(batchKey(next.number), next, revision),
    }),
    async heads() {
      const entries = await present(bucket, HEAD_KEYS);
      return new Map(entries.map(({ key, value }) => [workspaceOfHeadKey(key), readAnchorHead(value)]));
    },
    async writeHeads(heads) {
      const known = new Map((await present(bucket, HEAD_KEYS)).map((entry) => [entry.key, entry]));
      const waiting = [...heads];
      const writeNext = async () => {
        for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
          const key = headKey(next[0]);
          await advanceHead(bucket, key, next[1], known.get(key));
        }
      };
      await Promise.all(Array.from({ length: HEADS_AT_A_TIME }, writeNext));
    },
    async draft() {
      const entry = await bucket.get(DRAFT_KEY);
      return entry === undefined ? undefined : readAnchorDraft(entry.value);
    },
    async writeDraft(draft) {
      if (draft === undefined) await bucket.delete(DRAFT_KEY);
      else await bucket.put(DRAFT_KEY, draft);
    },
  };
}

/** Never back: a job that was paused among its heads may wake up when another one has made the next anchor. */
async function advanceHead(
  bucket: Bucket,
  key: string,
  next: NextAnchorHead,
  known: Entry | undefined,
): Promise<void> {
  for (let found = known; ; found = await bucket.get(key)) {
    const before = found === undefined ? undefined : readAnchorHead(found.value);
    if (before !== undefined && before.size >= next.size) return;
    const head = numbered(next, before);
    try {
      if (found === undefined) await bucket.create(key, head);
      else await bucket.update(key, head, found.revision);
      return;
    } catch (error) {
      if (!isConflict(error)) throw error;
    }
  }
}

function keptBatch({ value, revision }: Entry): KeptBatch {
  return { batch: readAnchorBatch(value), revision };
}

async function present(bucket: Bucket, keys: string): Promise<Entry[]> {
  const found = new Map<string, Entry>();
  const stop = await bucket.watch((key, entry) => {
    if (entry === undefined) found.delete(key);
    else found.set(key, entry);
  }, keys);
  await stop();
  return [...found.values()];
}

const CHANGE_ATTEMPTS = 5;

/** Whatever somebody else changes of it at the same time stays. */
export async function changeBatch(
  records: Pick<AnchorRecords, 'batch' | 'change'>,
  number: number,
  next: (batch: AnchorBatch) => AnchorBatch,
): Promise<KeptBatch> {
  for (let attempt = 1; ; attempt += 1) {
    const kept = await records.batch(number);
    try {
      return await records.change(kept, next(kept.batch));
    } catch (error) {
      if (!isConflict(error) || attempt === CHANGE_ATTEMPTS) throw error;
    }
  }
}
