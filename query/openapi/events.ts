import { LIMITS } from '../../core/event.ts';
import { FILTERS, type FilterName } from '../conditions.ts';
import { DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, ORDERS } from '../search.ts';
import { errors, pagination, timeParameters } from './shared.ts';
import { json, object, parameter, ref, type Schema, STRING, WARNINGS } from './words.ts';

export function eventPaths(): Schema {
  return {
    '/events': { get: LIST_EVENTS, post: POST_EVENT },
    '/events/batch': { post: POST_BATCH },
    '/events/{id}': { get: GET_EVENT },
  };
}

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

function filterNotes(): Partial<Record<FilterName, string>> {
  return {
    action: 'Exact, or with `*` for any run of characters: `document.*`, `*.deleted`.',
    target_type: 'With `target_id`: one target that has both.',
    search: 'Part of actor name, action, resource name or metadata, in any case of letters.',
  };
}
