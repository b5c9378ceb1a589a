import { DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE } from '../search.ts';
import { EXPORT_ID } from './schemas.ts';
import { errors, pagination } from './shared.ts';
import { json, object, parameter, ref, type Schema, STRING, WARNINGS } from './words.ts';

export function exportPaths(): Schema {
  return {
    '/exports': { get: LIST_EXPORTS, post: POST_EXPORT },
    '/exports/{id}': { get: GET_EXPORT },
    '/exports/{id}/download': { get: DOWNLOAD_EXPORT },
    '/exports/{id}/manifest': { get: DOWNLOAD_MANIFEST },
  };
}

const EXPORT_ID_PARAMETER: Schema = { name: 'id', in: 'path', required: true, schema: STRING };

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
