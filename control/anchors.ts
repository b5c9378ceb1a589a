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
  inclusion: inclusion.nullable(),
  updated_at: z.string(),
});

/**
 * One anchor tree, and its transaction, in the bucket `anchors` under `batchKey`: what the job goes by. The rows of
 * its workspaces, and a copy of how it stands, are in ClickHouse.
 */
export type AnchorBatch = z.infer<typeof schema>;

export const readAnchorBatch = recordReader('anchor batch', schema);

const BATCH_PREFIX = 'batch.';

/** Keys sort as the times do. */
export function batchKey(periodEnd: string): string {
  return `${BATCH_PREFIX}${periodEnd.replace(/[-:.]/g, '')}`;
}

export function isBatchKey(key: string): boolean {
  return key.startsWith(BATCH_PREFIX);
}

const headSchema = z.looseObject({
  anchor_id: z.string(),
  period_end: z.string(),
  size: z.int().min(1),
});

/** The newest anchor of a workspace, in the same bucket under `headKey`: what was anchored is known without ClickHouse. */
export type AnchorHead = z.infer<typeof headSchema>;

export const readAnchorHead = recordReader('anchor head', headSchema);

export function headKey(workspaceId: string): string {
  return `head.${workspaceId}`;
}
