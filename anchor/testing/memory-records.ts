import { type AnchorBatch, type AnchorDraft, type AnchorHead, numbered } from '../../control/anchors.ts';
import { ImmutableError } from '../../core/errors.ts';
import type { AnchorRecords, KeptBatch } from '../records.ts';

/** The records in memory, with the same compare-and-set, for tests that try many orders of things. */
export function memoryRecords(): AnchorRecords {
  const batches = new Map<number, KeptBatch>();
  const heads = new Map<string, AnchorHead>();
  let draft: AnchorDraft | undefined;
  let revision = 0;

  function write(batch: AnchorBatch): KeptBatch {
    revision += 1;
    const kept = { batch: structuredClone(batch), revision };
    batches.set(batch.number, kept);
    return structuredClone(kept);
  }

  return {
    batches: async () => [...batches.values()].map((kept) => structuredClone(kept)),
    async batch(number) {
      const kept = batches.get(number);
      if (kept === undefined) throw new ImmutableError('internal', `there is no anchor batch ${number}`);
      return structuredClone(kept);
    },
    async create(batch) {
      if (batches.has(batch.number)) throw new ImmutableError('conflict', 'taken');
      return write(batch);
    },
    async change(kept, next) {
      if (batches.get(next.number)?.revision !== kept.revision)
        throw new ImmutableError('conflict', 'changed');
      return write(next);
    },
    heads: async () => new Map(heads),
    async writeHeads(more) {
      for (const [workspaceId, head] of more) {
        const before = heads.get(workspaceId);
        if ((before?.size ?? 0) < head.size) heads.set(workspaceId, numbered(head, before));
      }
    },
    draft: async () => draft,
    async writeDraft(next) {
      draft = next;
    },
  };
}

/** A batch that waits for its transaction. */
export function pendingBatch(number: number, more: Partial<AnchorBatch> = {}): AnchorBatch {
  const day = String(number).padStart(2, '0');
  return {
    number,
    id: String(number).padStart(32, '0'),
    period_end: `2026-11-${day}T00:00:00.000000Z`,
    created_at: `2026-11-${day}T00:05:00.000000Z`,
    anchor_root: String(number).padStart(64, '0'),
    leaves: 1,
    status: 'pending',
    reason: null,
    chain_id: null,
    contract: null,
    attempts: [],
    nonce_lost_at: null,
    inclusion: null,
    has_heads: true,
    updated_at: `2026-11-${day}T00:05:00.000000Z`,
    ...more,
  };
}
