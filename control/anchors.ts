import { z } from 'zod';
import { recordReader } from './record.ts';

const hash = z.string().regex(/^[0-9a-f]{64}$/);
const wei = z.string().regex(/^\d+$/);

const attempt = z.looseObject({
  tx_hash: z.string().regex(/^0x[0-9a-f]{64}$/),
  /** The signed transaction, as it is sent. */
  raw: z.string().regex(/^0x[0-9a-f]+$/),
  nonce: z.int().min(0),
  max_fee_per_gas: wei,
  max_priority_fee_per_gas: wei,
  signed_at: z.string(),
  /** Nodes took it for too little. */
  is_underpriced: z.boolean().optional(),
});

const inclusion = z.looseObject({
  tx_hash: z.string(),
  block_number: z.int().min(0),
  block_hash: z.string(),
  /** As the block says. */
  block_time: z.string(),
});

export const ANCHOR_STATUSES = ['pending', 'submitted', 'confirmed', 'failed'] as const;
export type AnchorStatus = (typeof ANCHOR_STATUSES)[number];

const schema = z.looseObject({
  /** 1, 2, 3, …: of two jobs that make the next one, one can. */
  number: z.int().min(1),
  /** 32 hexadecimal digits, random: what the ids of its anchors are made of. */
  id: z.string().regex(/^[0-9a-f]{32}$/),
  /** What it commits to was received before; `YYYY-MM-DDT00:00:00.000000Z` for a day. */
  period_end: z.string(),
  created_at: z.string(),
  anchor_root: hash,
  /** How many workspaces: the leaves of its tree. At least 1. */
  leaves: z.int().min(1),
  status: z.enum(ANCHOR_STATUSES),
  /** For people: why it is still pending, or failed. */
  reason: z.string().nullable(),
  chain_id: z.int().nullable(),
  contract: z.string().nullable(),
  attempts: z.array(attempt),
  /** Since when the nonce of the newest attempt is used while the root is nowhere to be seen. */
  nonce_lost_at: z.string().nullable(),
  inclusion: inclusion.nullable(),
  /** Every workspace in it has its `AnchorHead`. */
  has_heads: z.boolean(),
  updated_at: z.string(),
});

/**
 * One anchor tree, and its transaction, in the bucket `anchors` under `batchKey`: what the job goes by. The rows of
 * its workspaces, and a copy of how it stands, are in ClickHouse.
 */
export type AnchorBatch = z.infer<typeof schema>;

/** A transaction as it is kept. */
export type AnchorAttempt = z.infer<typeof attempt>;

export const readAnchorBatch = recordReader('anchor batch', schema);

const BATCH_PREFIX = 'batch.';

export function batchKey(number: number): string {
  return `${BATCH_PREFIX}${number}`;
}

/** Every batch, for `Bucket.watch`. */
export const BATCH_KEYS = `${BATCH_PREFIX}*`;

/** Rows that are being written for a batch that is not decided on yet, so that after a crash they are used. */
const draftSchema = z.object({
  number: z.int().min(1),
  id: z.string(),
  period_end: z.string(),
  /** What the rows must make: whatever is found under the id beside that was not written by the job. */
  anchor_root: hash,
  leaves: z.int().min(1),
});

export type AnchorDraft = z.infer<typeof draftSchema>;

export const readAnchorDraft = recordReader('anchor draft', draftSchema);

export const DRAFT_KEY = 'draft';

const nextHeadSchema = z.looseObject({
  anchor_id: z.string(),
  period_end: z.string(),
  size: z.int().min(1),
  /** SHA-256 of the text of its checkpoint: the next anchor's `previous_anchor_hash`. */
  checkpoint_hash: hash,
});

/** What its row says of an anchor that becomes the head; which number it is follows from the head before. */
export type NextAnchorHead = z.infer<typeof nextHeadSchema>;

const headSchema = nextHeadSchema.extend({
  /** How many anchors the workspace has, this one included. */
  number: z.int().min(1),
});

/** The newest anchor of a workspace, in the same bucket under `headKey`: what was anchored is known without ClickHouse. */
export type AnchorHead = z.infer<typeof headSchema>;

export function numbered(next: NextAnchorHead, before: AnchorHead | undefined): AnchorHead {
  return { ...next, number: (before?.number ?? 0) + 1 };
}

export const readAnchorHead = recordReader('anchor head', headSchema);

const HEAD_PREFIX = 'head.';

export const HEAD_KEYS = `${HEAD_PREFIX}*`;

export function headKey(workspaceId: string): string {
  return `${HEAD_PREFIX}${workspaceId}`;
}

export function workspaceOfHeadKey(key: string): string {
  return key.slice(HEAD_PREFIX.length);
}
