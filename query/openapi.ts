import { ERROR_CODES, type ErrorCode } from '../core/errors.ts';
import { type ClientField, EVENT_FIELDS, LIMITS } from '../core/event.ts';
import { FILTERS, type FilterName } from './conditions.ts';
import { FORMATS } from './export/format.ts';
import { MANIFEST_VERSION } from './export/manifest.ts';
import { STATUSES } from './export/record.ts';
import { DEFAULT_PAGE_SIZE, EXACT_TOTAL, MAX_PAGE_SIZE, ORDERS } from './search.ts';
import { BREAK_TYPES, MAX_BREAKS } from './verify.ts';

/** A JSON value of the description. */
type Json = string | number | boolean | null | Json[] | { [member: string]: Json };
type Schema = { [keyword: string]: Json };

/**
 * The OpenAPI 3.1 description of the routes that exist. What an event may hold comes from the same table
 * as its validation, and a test checks the handlers' answers against the schemas.
 */
export function openApiDocument(): { [member: string]: Json } {
  return {
    openapi: '3.1.0',
    info: {
      title: 'Immutable',
      version: '1',
      summary: 'An audit log that can prove it was not changed.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/api/v1' }],
    security: [{ apiKey: [] }],
    paths: {
      '/events': { get: LIST_EVENTS, post: POST_EVENT },
      '/events/batch': { post: POST_BATCH },
      '/events/{id}': { get: GET_EVENT },
      '/verify': { get: VERIFY },
      '/exports': { get: LIST_EXPORTS, post: POST_EXPORT },
      '/exports/{id}': { get: GET_EXPORT },
      '/exports/{id}/download': { get: DOWNLOAD_EXPORT },
      '/exports/{id}/manifest': { get: DOWNLOAD_MANIFEST },
      '/openapi.json': { get: DESCRIBE },
    },
    components: {
      securitySchemes: {
        apiKey: { type: 'http', scheme: 'bearer', description: 'An API key, `imk_…`.' },
      },
      schemas: SCHEMAS,
    },
  };
}

// --- Schemas ---------------------------------------------------------------------------------------

const STRING: Schema = { type: 'string' };
const STRING_OR_NULL: Schema = { type: ['string', 'null'] };
const COUNT: Schema = { type: 'integer', minimum: 0 };
const SEQ: Schema = { type: 'integer', minimum: 1 };
const TIME: Schema = { type: 'string', format: 'date-time' };
const UUID: Schema = { type: 'string', format: 'uuid' };
const HASH: Schema = { type: 'string', pattern: '^[0-9a-f]{64}$' };
const JSON_OBJECT: Schema = { type: 'object', additionalProperties: true };
const DAMAGED: Schema = {
  const: true,
  description: 'There only if a stored text cannot be read; what it held is then empty, even the id.',
};
const WARNINGS: Schema = { type: 'array', items: STRING };
const EXPORT_ID: Schema = { type: 'string', pattern: '^exp_[0-9a-f]{16}$' };
const EXPORT_FILTERS: Schema = {
  type: 'object',
  additionalProperties: STRING,
  description: 'As they were asked for.',
};

const SCHEMAS: Schema = {
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
    event_id: STRING,
    seq: SEQ,
    type: { enum: [...BREAK_TYPES] },
    column: {
      ...STRING_OR_NULL,
      description: 'For `column_mismatch`: the column that does not fit its text.',
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
    version: { const: MANIFEST_VERSION },
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
    checkpoint: { type: 'null' },
  });
}

function publicCodes(): ErrorCode[] {
  const isErrorCode = (code: string): code is ErrorCode => code in ERROR_CODES;
  return Object.keys(ERROR_CODES)
    .filter(isErrorCode)
    .filter((code) => code === 'internal' || ERROR_CODES[code].disposition !== 'stop');
}

// --- Operations ------------------------------------------------------------------------------------

const ERROR_NOTES: Partial<Record<ErrorCode, string>> = {
  bad_request: 'Cannot be read: broken JSON, an altered cursor.',
  unauthenticated: 'No API key, or one that is not valid.',
  forbidden: 'The API key may not do this.',
  not_found: 'No such thing here. With `Retry-After`, an event: it may have been accepted a moment ago.',
  conflict: 'Not in this state.',
  gone: 'It has expired and was removed.',
  payload_too_large: 'Larger than may be sent.',
  validation_failed: 'Readable, but against a rule; `violations` says which.',
  rate_limited: 'Too much at a time; see `Retry-After`.',
  unavailable: 'A part is away; see `Retry-After`.',
};

const INGEST_ERRORS = errors(
  'bad_request',
  'unauthenticated',
  'forbidden',
  'payload_too_large',
  'validation_failed',
  'unavailable',
);

const POST_EVENT: Schema = {
  operationId: 'createEvent',
  summary: 'Record one event. The answer comes once it is on disk.',
  requestBody: { required: true, content: json(ref('NewEvent')) },
  responses: {
    202: { description: 'Durable, and soon stored.', content: json(ref('Accepted')) },
    ...INGEST_ERRORS,
  },
};

const POST_BATCH: Schema = {
  operationId: 'createEvents',
  summary: 'Record up to 100 events, in their order.',
  requestBody: {
    required: true,
    content: json(
      object({
        events: { type: 'array', minItems: 1, maxItems: LIMITS.batchEvents, items: ref('NewEvent') },
      }),
    ),
  },
  responses: {
    202: {
      description: 'One entry for each event, in order. A rejected one did not stop the others.',
      content: json(
        object({ events: { type: 'array', items: { anyOf: [ref('Accepted'), ref('Rejected')] } } }),
      ),
    },
    ...INGEST_ERRORS,
  },
};

const LIST_EVENTS: Schema = {
  operationId: 'listEvents',
  summary: 'Search the events of the workspace, newest first. All filters combine.',
  parameters: [
    ...FILTERS.map((name) => parameter(name, STRING, filterNotes()[name])),
    ...timeParameters(),
    parameter('order', { enum: [...ORDERS], default: 'desc' }),
    parameter('limit', { type: 'integer', minimum: 1, maximum: MAX_PAGE_SIZE, default: DEFAULT_PAGE_SIZE }),
    parameter('cursor', STRING, '`next_cursor` of the page before, with the same filters.'),
  ],
  responses: {
    200: {
      description: 'A page of events. Parameters that do not exist are ignored and named in `warnings`.',
      content: json(
        object(
          { data: { type: 'array', items: ref('Event') }, pagination: pagination(), warnings: WARNINGS },
          ['data', 'pagination'],
        ),
      ),
    },
    ...errors(
      'bad_request',
      'unauthenticated',
      'forbidden',
      'validation_failed',
      'rate_limited',
      'unavailable',
    ),
  },
};

const GET_EVENT: Schema = {
  operationId: 'getEvent',
  summary: 'One event by its id.',
  parameters: [{ name: 'id', in: 'path', required: true, schema: STRING }],
  responses: {
    200: { description: 'The event.', content: json(object({ data: ref('Event') })) },
    ...errors('unauthenticated', 'forbidden', 'not_found', 'unavailable'),
  },
};

const VERIFY: Schema = {
  operationId: 'verify',
  summary: 'Recompute the chain of the workspace and name every event that does not fit.',
  parameters: [
    ...timeParameters(),
    parameter(
      'limit',
      { type: 'integer', minimum: 1, default: 10_000 },
      'Most events to check, oldest first.',
    ),
  ],
  responses: {
    200: {
      description: 'What was checked, and what was found.',
      content: json(object({ data: ref('Verification'), warnings: WARNINGS }, ['data'])),
    },
    ...errors('unauthenticated', 'forbidden', 'validation_failed', 'rate_limited', 'unavailable'),
  },
};

const POST_EXPORT: Schema = {
  operationId: 'createExport',
  summary: 'Ask for a file of events. At most 5 of a workspace are made at a time.',
  requestBody: { required: false, content: json(ref('NewExport')) },
  responses: {
    202: {
      description: 'It is being made; unknown members are named in `warnings`.',
      content: json(
        object({ data: object({ id: EXPORT_ID, status: { const: 'pending' } }), warnings: WARNINGS }, [
          'data',
        ]),
      ),
    },
    ...errors(
      'bad_request',
      'unauthenticated',
      'forbidden',
      'payload_too_large',
      'validation_failed',
      'rate_limited',
      'unavailable',
    ),
  },
};

const LIST_EXPORTS: Schema = {
  operationId: 'listExports',
  summary: 'The exports of the workspace in the last 30 days, newest first.',
  parameters: [
    parameter('limit', { type: 'integer', minimum: 1, maximum: MAX_PAGE_SIZE, default: DEFAULT_PAGE_SIZE }),
    parameter('cursor', STRING, '`next_cursor` of the page before.'),
  ],
  responses: {
    200: {
      description: 'A page of exports.',
      content: json(
        object(
          { data: { type: 'array', items: ref('Export') }, pagination: pagination(), warnings: WARNINGS },
          ['data', 'pagination'],
        ),
      ),
    },
    ...errors('bad_request', 'unauthenticated', 'forbidden', 'validation_failed', 'unavailable'),
  },
};

const EXPORT_ID_PARAMETER: Schema = { name: 'id', in: 'path', required: true, schema: STRING };

const GET_EXPORT: Schema = {
  operationId: 'getExport',
  summary: 'How far an export is, and where its file can be fetched.',
  parameters: [EXPORT_ID_PARAMETER],
  responses: {
    200: { description: 'The export.', content: json(object({ data: ref('Export') })) },
    ...errors('unauthenticated', 'forbidden', 'not_found', 'unavailable'),
  },
};

const LINK: Schema = {
  security: [],
  parameters: [
    EXPORT_ID_PARAMETER,
    parameter('signature', STRING, 'From `download_url` or `manifest_url`, which carry it.'),
  ],
};
const LINK_ANSWERS: Schema = {
  302: { description: 'It is at the address in `Location`, for some minutes.' },
  ...errors('not_found', 'conflict', 'gone', 'unavailable'),
};

const DOWNLOAD_EXPORT: Schema = {
  operationId: 'downloadExport',
  summary: 'The file itself, for whoever has the link, or a redirect to it.',
  ...LINK,
  responses: {
    200: {
      description: 'The file.',
      content: {
        'text/csv': { schema: STRING },
        'application/x-ndjson': { schema: STRING },
        'application/vnd.apache.parquet': { schema: { type: 'string', format: 'binary' } },
      },
    },
    ...LINK_ANSWERS,
  },
};

const DOWNLOAD_MANIFEST: Schema = {
  operationId: 'downloadManifest',
  summary: 'What an export holds, and by which SHA-256 it can be checked.',
  ...LINK,
  responses: {
    200: { description: 'The manifest.', content: json(ref('ExportManifest')) },
    ...LINK_ANSWERS,
  },
};

const DESCRIBE: Schema = {
  operationId: 'describe',
  summary: 'This description.',
  security: [],
  responses: { 200: { description: 'OpenAPI 3.1.', content: json(JSON_OBJECT) } },
};

function filterNotes(): Partial<Record<FilterName, string>> {
  return {
    action: 'Exact, or with `*` for any run of characters: `document.*`, `*.deleted`.',
    target_type: 'With `target_id`: one target that has both.',
    search: 'Part of actor name, action, resource name or metadata, in any case of letters.',
  };
}

function timeParameters(): Schema[] {
  return [
    parameter('from', TIME, 'Earliest `created_at`, inclusive.'),
    parameter('to', TIME, 'Latest `created_at`, inclusive.'),
  ];
}

function pagination(): Schema {
  return object({
    has_more: { type: 'boolean' },
    next_cursor: STRING_OR_NULL,
    total: {
      ...COUNT,
      description: `Exact up to ${EXACT_TOTAL} unless too costly to count, and without filters. Later pages repeat the first one's.`,
    },
    total_is_estimate: { type: 'boolean' },
  });
}

function errors(...codes: ErrorCode[]): Schema {
  return Object.fromEntries(
    codes.map((code) => [
      String(ERROR_CODES[code].status),
      { description: ERROR_NOTES[code] ?? code, content: json(ref('Error')) },
    ]),
  );
}

// --- Words of JSON Schema --------------------------------------------------------------------------

/** All members are required unless told. */
function object(properties: Record<string, Schema>, required: string[] = Object.keys(properties)): Schema {
  return { type: 'object', properties, required };
}

function orNull(schema: Schema): Schema {
  return { anyOf: [schema, { type: 'null' }] };
}

function ref(name: string): Schema {
  return { $ref: `#/components/schemas/${name}` };
}

function json(schema: Schema): Schema {
  return { 'application/json': { schema } };
}

function parameter(name: string, schema: Schema, description?: string): Schema {
  return { name, in: 'query', schema, ...(description === undefined ? {} : { description }) };
}
