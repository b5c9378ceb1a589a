import { ERROR_CODES, type ErrorCode } from '../../core/errors.ts';
import { type ClientField, EVENT_FIELDS, LIMITS } from '../../core/event.ts';
import { EXPORT_MANIFEST_VERSION } from '../../core/export.ts';
import { FILTERS } from '../conditions.ts';
import { FORMATS } from '../export/format.ts';
import { STATUSES } from '../export/record.ts';
import { BREAK_TYPES, MAX_BREAKS } from '../verify.ts';
import {
  COUNT,
  HASH,
  JSON_OBJECT,
  object,
  orNull,
  ref,
  type Schema,
  SEQ,
  STRING,
  STRING_OR_NULL,
  TIME,
  UUID,
  WARNINGS,
} from './words.ts';

export const EXPORT_ID: Schema = { type: 'string', pattern: '^exp_[0-9a-f]{16}$' };

const EXPORT_FILTERS: Schema = {
  type: 'object',
  additionalProperties: STRING,
  description: 'As they were asked for.',
};

const DAMAGED: Schema = {
  const: true,
  description: 'There only if a stored text cannot be read; what it held is then empty, even the id.',
};

/** What the operations refer to by name. What an event may hold comes from the same table as its validation. */
export const SCHEMAS: Schema = {
  NewEvent: newEventSchema(),
  NewTarget: object(
    {
      type: { type: 'string', minLength: 1, maxLength: LIMITS.stringLength },
      id: { type: ['string', 'null'], maxLength: LIMITS.stringLength },
      name: { type: ['string', 'null'], maxLength: LIMITS.stringLength },
      metadata: orNull({ ...JSON_OBJECT, description: `At most ${LIMITS.targetMetadataBytes} bytes.` }),
    },
    ['type'],
  ),
  Accepted: object({ id: UUID, status: { enum: ['queued', 'duplicate'] }, warnings: WARNINGS }, [
    'id',
    'status',
  ]),
  Rejected: object({
    status: { const: 'rejected' },
    error: { const: 'validation_failed' },
    message: STRING,
    violations: { type: 'array', items: ref('Violation') },
  }),
  Event: eventSchema(),
  Target: object({
    type: STRING,
    id: STRING_OR_NULL,
    name: STRING_OR_NULL,
    metadata: orNull(JSON_OBJECT),
  }),
  Verification: verificationSchema(),
  NewExport: newExportSchema(),
  Export: exportSchema(),
  ExportManifest: manifestSchema(),
  Violation: object({ path: STRING, message: STRING }),
  Error: object(
    {
      error: { enum: publicCodes() },
      message: STRING,
      violations: { type: 'array', items: ref('Violation') },
      request_id: STRING,
    },
    ['error', 'message', 'request_id'],
  ),
};

function newEventSchema(): Schema {
  const fields = EVENT_FIELDS.filter((field) => field.setBy === 'client');
  return {
    ...object(
      Object.fromEntries(fields.map((field) => [field.name, fieldSchema(field)])),
      fields.filter((field) => field.required).map((field) => field.name),
    ),
    description:
      'Null and empty optional members count as absent. Unknown members are not stored; the answer names them.',
  };
}

function fieldSchema(field: ClientField): Schema {
  switch (field.kind) {
    case 'string':
      return field.required
        ? { type: 'string', minLength: 1, maxLength: field.maxLength }
        : { type: ['string', 'null'], maxLength: field.maxLength };
    case 'ip':
      return { ...STRING_OR_NULL, description: "IPv4 or IPv6; the caller's own address if absent." };
    case 'time':
      return orNull({
        ...TIME,
        description: 'At most 5 minutes in the future; the time of receipt if absent.',
      });
    case 'integer':
      return { type: ['integer', 'null'], minimum: 0, maximum: LIMITS.versionMax };
    case 'metadata':
      return orNull({
        ...JSON_OBJECT,
        maxProperties: LIMITS.metadataMembers,
        description: `At most ${LIMITS.metadataBytes} bytes, ${LIMITS.metadataDepth} levels deep.`,
      });
    case 'targets':
      return orNull({ type: 'array', maxItems: LIMITS.targets, items: ref('NewTarget') });
  }
}

function eventSchema(): Schema {
  const integrity = {
    seq: SEQ,
    event_hash: HASH,
    previous_event_hash: orNull(HASH),
    damaged: DAMAGED,
  };
  return object({
    id: UUID,
    actor: object({ id: STRING, name: STRING_OR_NULL, type: STRING_OR_NULL }),
    action: STRING,
    action_category: STRING_OR_NULL,
    resource: object({ type: STRING_OR_NULL, id: STRING_OR_NULL, name: STRING_OR_NULL }),
    targets: { type: 'array', items: ref('Target') },
    metadata: orNull(JSON_OBJECT),
    tenant_id: STRING_OR_NULL,
    session_id: STRING_OR_NULL,
    ip_address: STRING_OR_NULL,
    ip_country: STRING_OR_NULL,
    ip_city: STRING_OR_NULL,
    user_agent: STRING_OR_NULL,
    idempotency_key: STRING_OR_NULL,
    version: { type: ['integer', 'null'] },
    integrity: object(integrity, ['seq', 'event_hash', 'previous_event_hash']),
    occurred_at: TIME,
    created_at: TIME,
    actor_id: STRING,
    actor_name: STRING_OR_NULL,
    actor_type: STRING_OR_NULL,
    resource_id: STRING_OR_NULL,
    resource_name: STRING_OR_NULL,
  });
}

function verificationSchema(): Schema {
  const found = object({
    event_id: STRING_OR_NULL,
    seq: SEQ,
    type: { enum: [...BREAK_TYPES] },
    column: {
      ...STRING_OR_NULL,
      description: 'For `column_mismatch`: the column that does not fit its text.',
    },
    part: {
      ...STRING_OR_NULL,
      description: 'For `tree_mismatch`: the leaf, tile, checkpoint or anchor that does not fit.',
    },
    expected_hash: STRING_OR_NULL,
    actual_hash: STRING_OR_NULL,
  });
  return object({
    valid: { type: 'boolean' },
    events_checked: COUNT,
    breaks: { type: 'array', maxItems: MAX_BREAKS, items: found, description: 'Oldest first.' },
    breaks_truncated: { type: 'boolean', description: 'There are more breaks than are listed.' },
    complete: { type: 'boolean', description: 'False if `limit` or the time allowed ended it before `to`.' },
    from_seq: orNull(SEQ),
    to_seq: orNull(SEQ),
    signed_size: { ...orNull(SEQ), description: 'How many events the newest signed checkpoint has.' },
    checkpoints_checked: COUNT,
    anchors_checked: COUNT,
  });
}

function newExportSchema(): Schema {
  return {
    ...object(
      {
        ...Object.fromEntries(FILTERS.map((name) => [name, { ...STRING_OR_NULL, maxLength: 1024 }])),
        from: orNull({ ...TIME, description: 'Earliest `created_at`, inclusive.' }),
        to: orNull({ ...TIME, description: 'Latest `created_at`, inclusive.' }),
        format: { enum: [...FORMATS, null], default: 'csv' },
        bom: { type: ['boolean', 'null'], description: 'Begin a CSV file with a byte order mark.' },
      },
      [],
    ),
    description: 'The filters of `GET /events`. None: everything.',
  };
}

function exportSchema(): Schema {
  const link = (what: string): Schema => ({
    ...STRING_OR_NULL,
    description: `Fetches ${what} without a key; null until it is completed, and once it has expired.`,
  });
  return object({
    id: EXPORT_ID,
    status: { enum: [...STATUSES] },
    filters: EXPORT_FILTERS,
    total_rows: orNull(COUNT),
    file_size: { ...orNull(COUNT), description: 'In bytes.' },
    progress: { type: 'integer', minimum: 0, maximum: 100, description: 'In percent.' },
    download_url: link('the file'),
    manifest_url: link('the manifest'),
    error_message: STRING_OR_NULL,
    created_at: TIME,
    expires_at: { ...TIME, description: 'When the file is removed.' },
  });
}

function manifestSchema(): Schema {
  const end = orNull(object({ seq: SEQ, event_hash: HASH, previous_event_hash: orNull(HASH) }));
  return object({
    version: { const: EXPORT_MANIFEST_VERSION },
    export_id: EXPORT_ID,
    workspace_id: STRING,
    created_at: TIME,
    file_name: STRING,
    format: { enum: [...FORMATS] },
    columns: { type: 'array', items: STRING },
    filters: EXPORT_FILTERS,
    complete: {
      type: 'boolean',
      description: 'Nothing was filtered but the time, and no `seq` from the first to the last is missing.',
    },
    rows: COUNT,
    file_size: COUNT,
    sha256: { ...HASH, description: 'Of the whole file.' },
    first: end,
    last: end,
    checkpoint: {
      ...STRING_OR_NULL,
      description:
        'C2SP signed-note: the first checkpoint that has the last row; null if none was signed yet.',
    },
    inclusion: { ...orNull(ref('Inclusion')), description: 'Of the last row, in that checkpoint.' },
  });
}

function publicCodes(): ErrorCode[] {
  const isErrorCode = (code: string): code is ErrorCode => code in ERROR_CODES;
  return Object.keys(ERROR_CODES)
    .filter(isErrorCode)
    .filter((code) => code === 'internal' || ERROR_CODES[code].disposition !== 'stop');
}
