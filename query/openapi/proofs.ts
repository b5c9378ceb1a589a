import { errors } from './shared.ts';
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
  TIME,
} from './words.ts';

export function proofPaths(): Schema {
  return {
    '/events/{id}/proof': { get: GET_PROOF },
    '/checkpoint': { get: CHECKPOINT },
    '/tile/{tile}': { get: TILE },
    '/consistency': { get: CONSISTENCY },
    '/log/events': { get: LOG_EVENTS },
    '/public/keys': { get: KEYS },
    '/public/logs/{workspace}/checkpoint': { get: PUBLIC_CHECKPOINT },
    '/public/logs/{workspace}/tile/{tile}': { get: PUBLIC_TILE },
  };
}

export const PROOF_SCHEMAS: Record<string, Schema> = {
  Inclusion: object({
    leaf_index: COUNT,
    tree_size: SEQ,
    path: { type: 'array', items: HASH, description: 'The audit path of RFC 6962, nearest sibling first.' },
  }),
  Evidence: object({
    format: { const: 'imk-evidence/v1' },
    event: object(
      {
        seq: SEQ,
        created_at: TIME,
        previous_event_hash: orNull(HASH),
        event_hash: HASH,
        body: { ...STRING, description: 'The canonical text that was hashed.' },
        private: {
          ...STRING,
          description: 'Canonical text of personal data; left out where withheld or erased.',
        },
        salt: { type: 'string', pattern: '^[0-9a-f]{32}$' },
      },
      ['seq', 'created_at', 'previous_event_hash', 'event_hash', 'body'],
    ),
    inclusion: ref('Inclusion'),
    checkpoint: { ...STRING, description: 'C2SP signed-note.' },
    anchor: {
      ...orNull(ref('EvidenceAnchor')),
      description: 'The oldest confirmed anchor that has the event; null where there is none yet.',
    },
  }),
  EvidenceAnchor: object({
    anchor_root: HASH,
    leaf_index: COUNT,
    tree_size: SEQ,
    path: { type: 'array', items: HASH },
    chain_id: SEQ,
    contract: STRING,
    tx_hash: STRING,
    block_number: COUNT,
  }),
  VerifierKey: object(
    {
      algorithm: { const: 'Ed25519' },
      public_key: { ...STRING, description: 'Base64 of 32 bytes.' },
      created_at: TIME,
      signs_until: { ...orNull(TIME), description: 'Null for the newest key.' },
      verifier_key: {
        ...STRING,
        description: 'C2SP signed-note; of the log of `workspace_id`, if that is given.',
      },
    },
    ['algorithm', 'public_key', 'created_at', 'signs_until'],
  ),
};

const ID: Schema = { name: 'id', in: 'path', required: true, schema: STRING };
const WORKSPACE: Schema = { name: 'workspace', in: 'path', required: true, schema: STRING };
const TILE_NAME: Schema = {
  name: 'tile',
  in: 'path',
  required: true,
  schema: STRING,
  description:
    '`<level>/<index>` or `entries/<index>`, with `.p/<width>` where it is not full (C2SP tlog-tiles).',
};

const GET_PROOF: Schema = {
  operationId: 'getProof',
  summary:
    'An evidence file: the event, its place in the Merkle tree, and the signed checkpoint of that tree.',
  parameters: [
    ID,
    parameter(
      'private',
      { type: 'boolean', default: true },
      '`false` withholds personal data; everything still verifies.',
    ),
    parameter(
      'checkpoint',
      { enum: ['anchored', 'newest'], default: 'anchored' },
      '`anchored`: that of the oldest confirmed anchor that has the event, else the newest. `newest`: the newest, without an anchor.',
    ),
  ],
  responses: {
    200: { description: 'The evidence.', content: json(ref('Evidence')) },
    ...errors('unauthenticated', 'forbidden', 'not_found', 'validation_failed', 'unavailable'),
  },
};

const NOTE: Schema = { 'text/plain': { schema: STRING } };
const BYTES: Schema = { 'application/octet-stream': { schema: { type: 'string', format: 'binary' } } };

const CHECKPOINT: Schema = {
  operationId: 'getCheckpoint',
  summary: 'The newest signed checkpoint: how many events the workspace has, and the root of their tree.',
  responses: {
    200: { description: 'A C2SP signed-note.', content: NOTE },
    ...errors('unauthenticated', 'forbidden', 'not_found', 'unavailable'),
  },
};

const TILE: Schema = {
  operationId: 'getTile',
  summary: 'A tile of the Merkle tree, or the hashes its leaves are made of.',
  parameters: [TILE_NAME],
  responses: {
    200: { description: 'Hashes of 32 bytes; of entries each with its length before it.', content: BYTES },
    ...errors('unauthenticated', 'forbidden', 'not_found', 'gone', 'unavailable'),
  },
};

const PUBLIC_CHECKPOINT: Schema = {
  ...CHECKPOINT,
  operationId: 'getPublicCheckpoint',
  security: [],
  parameters: [WORKSPACE],
  responses: {
    200: { description: 'A C2SP signed-note.', content: NOTE },
    ...errors('not_found', 'rate_limited', 'unavailable'),
  },
};

const PUBLIC_TILE: Schema = {
  ...TILE,
  operationId: 'getPublicTile',
  security: [],
  parameters: [WORKSPACE, TILE_NAME],
  responses: {
    200: { description: 'As with a key.', content: BYTES },
    ...errors('not_found', 'gone', 'rate_limited', 'unavailable'),
  },
};

const CONSISTENCY: Schema = {
  operationId: 'getConsistency',
  summary: 'The proof of RFC 6962 that the log of one size is the beginning of that of another.',
  parameters: [
    parameter('first', SEQ, 'The smaller size; required.'),
    parameter('second', SEQ, 'The size of the newest checkpoint, unless given.'),
  ],
  responses: {
    200: {
      description: 'The proof.',
      content: json(
        object({ data: object({ first: SEQ, second: SEQ, path: { type: 'array', items: HASH } }) }),
      ),
    },
    ...errors('unauthenticated', 'forbidden', 'not_found', 'validation_failed', 'unavailable'),
  },
};

const LOG_EVENTS: Schema = {
  operationId: 'getLogEvents',
  summary:
    'Events in the order of the chain, with the texts they were hashed from, as far as they are signed.',
  parameters: [
    parameter('first', { ...SEQ, default: 1 }, 'The number of the first event.'),
    parameter('limit', { type: 'integer', minimum: 1, maximum: 100_000, default: 10_000 }),
  ],
  responses: {
    200: { description: 'One JSON object a line.', content: { 'application/x-ndjson': { schema: STRING } } },
    ...errors('unauthenticated', 'forbidden', 'not_found', 'validation_failed', 'unavailable'),
  },
};

const KEYS: Schema = {
  operationId: 'getKeys',
  summary: 'The keys that checkpoints are and were signed with.',
  security: [],
  parameters: [parameter('workspace_id', STRING, 'For the verifier keys of its log.')],
  responses: {
    200: {
      description: 'Newest first.',
      content: json(
        object({ data: object({ log_origin: STRING, keys: { type: 'array', items: ref('VerifierKey') } }) }),
      ),
    },
    ...errors('validation_failed', 'rate_limited'),
  },
};
