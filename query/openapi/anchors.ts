import { ANCHOR_STATUSES } from '../../control/anchors.ts';
import { ANCHOR_CHECKS } from '../anchors/check.ts';
import { errors, pagination } from './shared.ts';
import {
  COUNT,
  HASH,
  json,
  object,
  orNull,
  parameter,
  ref,
  type Schema,
  SEQ,
  STRING,
  STRING_OR_NULL,
  TIME,
} from './words.ts';

export function anchorPaths(): Schema {
  return {
    '/anchors': { get: LIST },
    '/anchors/{id}': { get: GET },
    '/anchors/{id}/verify': { get: VERIFY },
    '/public/anchors/lookup': { get: LOOK_UP },
    '/public/anchors/{id}/verify': { get: PUBLIC_VERIFY },
  };
}

const ANCHOR_ID: Schema = { type: 'string', pattern: '^anc_[0-9a-f]{32}$' };
const CONTRACT: Schema = { type: 'string', pattern: '^0x[0-9a-f]{40}$' };
const TRANSACTION: Schema = { type: 'string', pattern: '^0x[0-9a-f]{64}$' };
const STATUS: Schema = {
  enum: [...ANCHOR_STATUSES],
  description: '`confirmed`: in a block that the chain calls safe, or what the operator chose to wait for.',
};

/** What all workspaces share whose checkpoints went into one transaction. */
const TREE: Record<string, Schema> = {
  anchor_root: { ...HASH, description: 'What the contract was given.' },
  period_end: TIME,
  chain: {
    ...STRING_OR_NULL,
    description: '`base`, `base-sepolia`, `local`, else `eip155:<chain id>`; null while no chain is set.',
  },
  chain_id: orNull(SEQ),
  contract: orNull(CONTRACT),
  status: STATUS,
  reason: { ...STRING_OR_NULL, description: 'Why it is still pending, or has failed.' },
  tx_hash: orNull(TRANSACTION),
  block_number: orNull(COUNT),
  block_hash: orNull(TRANSACTION),
  block_time: orNull(TIME),
  explorer_url: STRING_OR_NULL,
};

const ANCHOR: Record<string, Schema> = {
  id: ANCHOR_ID,
  merkle_root: { ...HASH, description: "The root of the workspace's own tree." },
  previous_anchor_hash: {
    ...orNull(HASH),
    description: "SHA-256 of the text of the previous anchor's checkpoint; null for the first.",
  },
  size: { ...SEQ, description: 'How many events the tree has.' },
  events_count: { ...SEQ, description: 'How many of them came since the anchor before.' },
  period_start: TIME,
  ...TREE,
  created_at: TIME,
};

export const ANCHOR_SCHEMAS: Record<string, Schema> = {
  Anchor: object(ANCHOR),
  AnchorInFull: object({
    ...ANCHOR,
    first_event_hash: {
      ...orNull(HASH),
      description: 'Of the period; null where retention had removed it before.',
    },
    last_event_hash: HASH,
    checkpoint: { ...STRING, description: 'C2SP signed-note; its text is the leaf.' },
    inclusion: { ...ref('Inclusion'), description: 'Of the checkpoint under `anchor_root`.' },
  }),
  AnchorVerification: object({
    anchor_id: ANCHOR_ID,
    merkle_root: HASH,
    valid: { type: 'boolean', description: 'No check has failed.' },
    chain_valid: { type: 'boolean', description: 'It follows the anchor before it.' },
    expected: {
      ...orNull(HASH),
      description: 'The root, recomputed now from the tiles; null if some are missing.',
    },
    actual: { ...HASH, description: 'The root that is stored.' },
    events_count: SEQ,
    status: STATUS,
    tx_hash: orNull(TRANSACTION),
    explorer_url: STRING_OR_NULL,
    checks: {
      type: 'array',
      items: object({
        name: { enum: [...ANCHOR_CHECKS] },
        outcome: { enum: ['passed', 'failed', 'skipped'] },
        detail: { ...STRING_OR_NULL, description: 'What is wrong, or why it was skipped.' },
      }),
    },
  }),
};

const ID: Schema = { name: 'id', in: 'path', required: true, schema: STRING };

const LIST: Schema = {
  operationId: 'listAnchors',
  summary: 'What was, or is to be, written into a public chain, newest first.',
  parameters: [
    parameter('limit', { type: 'integer', minimum: 1, maximum: 100, default: 25 }),
    parameter('cursor', STRING, '`next_cursor` of the page before.'),
  ],
  responses: {
    200: {
      description: 'One page.',
      content: json(object({ data: { type: 'array', items: ref('Anchor') }, pagination: pagination() })),
    },
    ...errors('bad_request', 'unauthenticated', 'forbidden', 'validation_failed', 'unavailable'),
  },
};

const GET: Schema = {
  operationId: 'getAnchor',
  summary: 'One anchor, with the checkpoint and the path from it to the root in the contract.',
  parameters: [ID],
  responses: {
    200: { description: 'The anchor.', content: json(object({ data: ref('AnchorInFull') })) },
    ...errors('unauthenticated', 'forbidden', 'not_found', 'unavailable'),
  },
};

const VERIFY: Schema = {
  operationId: 'verifyAnchor',
  summary:
    'Recompute an anchor from the tiles of the tree, which outlast the events. The chain itself is not asked.',
  parameters: [ID],
  responses: {
    200: {
      description: 'What was checked, and what was found.',
      content: json(object({ data: ref('AnchorVerification') })),
    },
    ...errors('unauthenticated', 'forbidden', 'not_found', 'rate_limited', 'unavailable'),
  },
};

const PUBLIC_VERIFY: Schema = {
  ...VERIFY,
  operationId: 'verifyPublicAnchor',
  security: [],
  responses: {
    200: { description: 'As with a key.', content: json(object({ data: ref('AnchorVerification') })) },
    ...errors('not_found', 'rate_limited', 'unavailable'),
  },
};

const LOOK_UP: Schema = {
  operationId: 'lookUpAnchor',
  summary: 'What a transaction anchored.',
  security: [],
  parameters: [
    parameter('tx_hash', TRANSACTION, 'Required.'),
    parameter('merkle_root', HASH, "Of a workspace's own tree: tells its anchor among those of others."),
  ],
  responses: {
    200: {
      description: 'What all its workspaces share.',
      content: json(
        object({
          data: object({
            ...TREE,
            anchor: {
              ...orNull(ref('Anchor')),
              description: 'With `merkle_root`, or where there is but one.',
            },
          }),
        }),
      ),
    },
    ...errors('not_found', 'validation_failed', 'rate_limited', 'unavailable'),
  },
};
