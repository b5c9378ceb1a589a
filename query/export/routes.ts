import { authenticate, type KeyRing } from '../../control/keys.ts';
import { ImmutableError } from '../../core/errors.ts';
import { formatTimestamp, type Micros, parseTimestamp } from '../../core/time.ts';
import { jsonResponse } from '../../infra/http/answer.ts';
import type { HttpRequest, HttpResponse, Route } from '../../infra/http/types.ts';
import type { ObjectStore } from '../../infra/object-store/types.ts';
import { type CursorBinding, decodeCursor, encodeCursor } from '../cursor.ts';
import { readParameters } from '../parameters.ts';
import { DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE } from '../search.ts';
import { CONTENT_TYPES } from './format.ts';
import type { ExportJobs } from './jobs.ts';
import { isSignatureOf, type Linked, signLink } from './link.ts';
import { type ExportRecord, fileName, keysOf, progressOf } from './record.ts';
import { type ExportRequest, parseExportRequest } from './request.ts';

export interface ExportRoutesDeps {
  jobs: ExportJobs;
  store: ObjectStore;
  keyRing: KeyRing;
  /** Signs links and cursors: the same on every process that answers queries. */
  linkKey: Uint8Array;
  /** How clients reach this service, without a slash at the end. */
  publicUrl: string;
  /** From when on a workspace's events are shown; all of them unless told. */
  retainedFrom?: ((workspaceId: string, nowMs: number) => Micros | undefined) | undefined;
  now?: () => number;
}

/** A request for an export is some names and values. */
const MAX_BODY_BYTES = 16 * 1024;
/** Of an address in the object store: it is followed at once. */
const PRESIGNED_SECONDS = 300;

/** An export holds what a search would show when it was asked for. */
function withoutExpired(request: ExportRequest, retained: Micros | undefined): ExportRequest {
  if (retained === undefined) return request;
  const { filters } = request;
  const from = formatTimestamp(retained);
  if (filters.from !== undefined && filters.from >= from) return request;
  return { ...request, filters: { ...filters, from } };
}

/** An export as the API shows it (api.md, Exports). */
export interface ApiExport {
  id: string;
  status: ExportRecord['status'];
  filters: ExportRecord['filters'];
  total_rows: number | null;
  file_size: number | null;
  progress: number;
  download_url: string | null;
  manifest_url: string | null;
  error_message: string | null;
  created_at: string;
  expires_at: string;
}

/** `POST` and `GET /exports`, `/exports/{id}` for the scope `read`; the files for whoever has the link. */
export function exportRoutes(deps: ExportRoutesDeps): Route[] {
  const { jobs, store, keyRing, linkKey, publicUrl, now = Date.now } = deps;
  const workspaceOf = (request: HttpRequest) =>
    authenticate(keyRing, request.header('authorization'), 'read').workspace_id;

  async function createExport(request: HttpRequest): Promise<HttpResponse> {
    const workspaceId = workspaceOf(request);
    const { warnings, ...asked } = parseExportRequest(request.body);
    const wanted = withoutExpired(asked, deps.retainedFrom?.(workspaceId, now()));
    const { id, status } = await answered(() => jobs.create(workspaceId, wanted));
    return jsonResponse(202, { data: { id, status }, ...(warnings.length > 0 ? { warnings } : {}) });
  }

  async function listExports(request: HttpRequest): Promise<HttpResponse> {
    const workspaceId = workspaceOf(request);
    const { limit, cursor, warnings } = readPage(request.query);
    const binding: CursorBinding = { workspaceId, search: 'exports' };
    const before = cursor === undefined ? undefined : decodeCursor(cursor, binding, linkKey);
    const all = jobs.list(workspaceId);
    const older = all.filter(({ createdAt }) => before === undefined || microsOf(createdAt) < before);
    const page = older.slice(0, limit);
    const found = await answered(() => Promise.all(page.map(({ id }) => jobs.find(id))));
    const last = page.at(-1);
    const hasMore = older.length > page.length;
    return jsonResponse(200, {
      data: found.flatMap((job) => (job === undefined ? [] : [present(job.record)])),
      pagination: {
        has_more: hasMore,
        next_cursor:
          hasMore && last !== undefined ? encodeCursor(microsOf(last.createdAt), binding, linkKey) : null,
        total: all.length,
        total_is_estimate: false,
      },
      ...(warnings.length > 0 ? { warnings } : {}),
    });
  }

  async function getExport(request: HttpRequest): Promise<HttpResponse> {
    const workspaceId = workspaceOf(request);
    const job = await answered(() => jobs.find(request.params.id ?? ''));
    if (job === undefined || job.record.workspace_id !== workspaceId) {
      throw new ImmutableError('not_found', 'There is no export with this id.');
    }
    return jsonResponse(200, { data: present(job.record) });
  }

  function present(record: ExportRecord): ApiExport {
    const isDone = record.status === 'completed';
    const isThere = isDone && !isExpired(record);
    return {
      id: record.id,
      status: record.status,
      filters: record.filters,
      total_rows: isDone ? record.rows : null,
      file_size: record.file_size,
      progress: progressOf(record),
      download_url: isThere ? linkTo('download', record) : null,
      manifest_url: isThere ? linkTo('manifest', record) : null,
      error_message: record.status === 'failed' ? record.error_message : null,
      created_at: record.created_at,
      expires_at: record.expires_at,
    };
  }

  function linkTo(what: Linked, { id, expires_at }: ExportRecord): string {
    return `${publicUrl}/api/v1/exports/${id}/${what}?signature=${signLink(what, id, expires_at, linkKey)}`;
  }

  function isExpired({ removed, expires_at }: ExportRecord): boolean {
    return removed || now() * 1000 >= microsOf(expires_at);
  }

  const fetchLinked =
    (what: Linked) =>
    async (request: HttpRequest): Promise<HttpResponse> => {
      const record = await openLink(what, request);
      if (isExpired(record)) throw gone();
      if (record.status !== 'completed') {
        throw new ImmutableError('conflict', `This export is not completed; its status is ${record.status}.`);
      }
      const { key, name, contentType } = linked(what, record);
      const expiresInSeconds = Math.min(PRESIGNED_SECONDS, secondsUntil(record.expires_at, now()));
      const url = await store.presignedUrl(key, { expiresInSeconds, fileName: name, contentType });
      if (url !== undefined) return { status: 302, headers: { ...PRIVATE, Location: url }, body: '' };
      const file = await store.stat(key);
      const body = file === undefined ? undefined : await store.read(key);
      if (file === undefined || body === undefined) throw gone();
      return {
        status: 200,
        length: file.bytes,
        headers: {
          ...PRIVATE,
          'Content-Type': contentType,
          'Content-Disposition': `attachment; filename="${name}"`,
          'X-Content-Type-Options': 'nosniff',
        },
        body,
      };
    };

  /** The same answer for an unknown export and a bad signature, so that ids cannot be guessed. */
  async function openLink(what: Linked, { params, query }: HttpRequest): Promise<ExportRecord> {
    const signature = readParameters(query).text('signature') ?? '';
    const job = await answered(() => jobs.find(params.id ?? ''));
    if (job === undefined || !isSignatureOf(signature, what, job.record.id, job.record.expires_at, linkKey)) {
      throw new ImmutableError(
        'not_found',
        'There is nothing at this address, or its signature is not right.',
      );
    }
    return job.record;
  }

  return [
    { method: 'POST', path: '/api/v1/exports', maxBodyBytes: MAX_BODY_BYTES, handler: createExport },
    { method: 'GET', path: '/api/v1/exports', handler: listExports },
    { method: 'GET', path: '/api/v1/exports/:id', handler: getExport },
    { method: 'GET', path: '/api/v1/exports/:id/download', handler: fetchLinked('download') },
    { method: 'GET', path: '/api/v1/exports/:id/manifest', handler: fetchLinked('manifest') },
  ];
}

/** Whoever has the address has the file: no cache and no other page may learn it. */
const PRIVATE = { 'Cache-Control': 'private, no-store', 'Referrer-Policy': 'no-referrer' };

function linked(what: Linked, record: ExportRecord): { key: string; name: string; contentType: string } {
  const keys = keysOf(record);
  return what === 'download'
    ? { key: keys.file, name: fileName(record), contentType: CONTENT_TYPES[record.format] }
    : { key: keys.manifest, name: `immutable-${record.id}.manifest.json`, contentType: 'application/json' };
}

function readPage(query: string): { limit: number; cursor: string | undefined; warnings: string[] } {
  const parameters = readParameters(query);
  const page = {
    limit: parameters.wholeNumber('limit', 1, MAX_PAGE_SIZE) ?? DEFAULT_PAGE_SIZE,
    cursor: parameters.text('cursor'),
  };
  const { violations } = parameters;
  if (violations.length > 0) {
    throw new ImmutableError('validation_failed', 'A parameter is not valid.', { violations });
  }
  return { ...page, warnings: parameters.ignored() };
}

/** What the jobs' bucket does not answer is asked again later. */
async function answered<Result>(ask: () => Promise<Result>): Promise<Result> {
  try {
    return await ask();
  } catch (cause) {
    if (cause instanceof ImmutableError) throw cause;
    throw new ImmutableError('unavailable', 'The exports cannot be reached; try again.', {
      retryAfterSeconds: 1,
      cause,
    });
  }
}

function gone(): ImmutableError {
  return new ImmutableError('gone', 'This export has expired and its file was removed; ask for a new one.');
}

function microsOf(time: string): number {
  return parseTimestamp(time) ?? 0;
}

function secondsUntil(time: string, nowMs: number): number {
  return Math.max(1, Math.floor(microsOf(time) / 1_000_000 - nowMs / 1000));
}
