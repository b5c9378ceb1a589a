import type { IncomingMessage } from 'node:http';
import type { Credentials } from './authenticate.ts';
import { ClickHouseException } from './exception.ts';
import { refuseSetting } from './settings.ts';

/** What a request says beside its body. */
export interface QueryRequest {
  credentials: Credentials;
  /** The part of the query in the URL. */
  query: string;
  queryId: string | undefined;
  replaceRunningQuery: boolean;
  database: string | undefined;
  defaultFormat: string | undefined;
  settings: Record<string, string>;
  parameters: Record<string, string>;
  /** GET and HEAD never change anything. */
  readOnly: boolean;
  waitEndOfQuery: boolean;
  compressResponse: boolean;
}

/** URL parameters that are no settings; the rest of ClickHouse's own are refused below. */
const OWN_PARAMETERS = new Set([
  'query',
  'database',
  'default_format',
  'user',
  'password',
  'query_id',
  'wait_end_of_query',
  'buffer_size',
  'compress',
  'decompress',
  'session_id',
  'session_timeout',
  'session_check',
  'close_session',
  'quota_key',
  'role',
  'stacktrace',
  'client_protocol_version',
  'enable_http_compression',
  'replace_running_query',
]);

/** What a header of the answer can carry. */
const FORMAT = /^\w+$/;
const QUERY_ID = /^[\x20-\x7e]{1,256}$/;

/** Reads URL and headers as ClickHouse does. Throws for what is not supported here. */
export function readRequest(request: IncomingMessage): QueryRequest {
  const { searchParams: url } = new URL(request.url ?? '/', 'http://localhost');
  refuseUnsupported(url);
  return {
    ...settingsAndParameters(url),
    credentials: readCredentials(request, url),
    query: url.get('query') ?? '',
    queryId: readQueryId(nonEmpty(url.get('query_id')) ?? header(request, 'x-clickhouse-query-id')),
    replaceRunningQuery: isTrue(url.get('replace_running_query')),
    database: nonEmpty(url.get('database')) ?? header(request, 'x-clickhouse-database'),
    defaultFormat: readFormat(nonEmpty(url.get('default_format')) ?? header(request, 'x-clickhouse-format')),
    readOnly: request.method !== 'POST',
    waitEndOfQuery: isTrue(url.get('wait_end_of_query')) || isTrue(url.get('http_wait_end_of_query')),
    compressResponse: isTrue(url.get('enable_http_compression')),
  };
}

function readQueryId(queryId: string | undefined): string | undefined {
  if (queryId === undefined || QUERY_ID.test(queryId)) return queryId;
  throw new ClickHouseException('BAD_ARGUMENTS', 'query_id must be 1 to 256 printable ASCII characters');
}

/** Throws BAD_ARGUMENTS for what cannot be the name of a format. */
export function readFormat(format: string | undefined): string | undefined {
  if (format === undefined || FORMAT.test(format)) return format;
  throw new ClickHouseException('BAD_ARGUMENTS', 'the name of a format holds letters, digits and _ only');
}

function settingsAndParameters(
  fields: Iterable<[string, string]>,
): Pick<QueryRequest, 'settings' | 'parameters'> {
  const settings: Record<string, string> = {};
  const parameters: Record<string, string> = {};
  for (const [name, value] of fields) {
    if (name.startsWith('param_')) parameters[name.slice('param_'.length)] = value;
    else if (!OWN_PARAMETERS.has(name)) {
      refuseSetting(name);
      settings[name] = value;
    }
  }
  return { settings, parameters };
}

/** A form in the body carries what the URL is too short for: parameters, settings, the query. */
export async function withForm(
  asked: QueryRequest,
  body: Buffer,
  contentType: string | undefined,
): Promise<{ asked: QueryRequest; body: Buffer }> {
  if (contentType === undefined || !/^multipart\/form-data\b/i.test(contentType)) return { asked, body };
  const fields = await readForm(body, contentType);
  const { settings, parameters } = settingsAndParameters(fields);
  return {
    asked: {
      ...asked,
      settings: { ...asked.settings, ...settings },
      parameters: { ...asked.parameters, ...parameters },
    },
    body: Buffer.from(fields.find(([name]) => name === 'query')?.[1] ?? ''),
  };
}

async function readForm(body: Buffer, contentType: string): Promise<[string, string][]> {
  const form = await new Response(new Uint8Array(body), { headers: { 'Content-Type': contentType } })
    .formData()
    .catch(() => {
      throw new ClickHouseException('BAD_ARGUMENTS', 'the body is not a valid multipart/form-data');
    });
  return [...form.entries()].map(([name, value]) => {
    if (typeof value === 'string') return [name, value];
    throw new ClickHouseException(
      'NOT_IMPLEMENTED',
      'The embedded ClickHouse does not support external tables; a ClickHouse server does.',
    );
  });
}

function refuseUnsupported(url: URLSearchParams): void {
  const unsupported = [
    isTrue(url.get('compress')) && 'compress=1 (use enable_http_compression=1 and Accept-Encoding)',
    isTrue(url.get('decompress')) && 'decompress=1 (use Content-Encoding)',
    nonEmpty(url.get('session_id')) !== undefined && 'session_id (every request has a session of its own)',
    nonEmpty(url.get('role')) !== undefined && 'role (a user has one role)',
  ].filter((name) => name !== false);
  if (unsupported.length > 0) {
    throw new ClickHouseException(
      'NOT_IMPLEMENTED',
      `The embedded ClickHouse does not support ${unsupported.join(', ')}; a ClickHouse server does.`,
    );
  }
}

/** By headers, Basic authentication or parameters, and never two of them. */
function readCredentials(request: IncomingMessage, url: URLSearchParams): Credentials {
  const byHeader = header(request, 'x-clickhouse-user') ?? header(request, 'x-clickhouse-key');
  const byBasic = header(request, 'authorization');
  const byUrl = url.get('user') ?? url.get('password');
  const given = [byHeader, byBasic, byUrl ?? undefined].filter((value) => value !== undefined);
  if (given.length > 1) {
    throw new ClickHouseException(
      'AUTHENTICATION_FAILED',
      'Invalid authentication: it is not allowed to use several ways of authentication simultaneously',
    );
  }
  if (byBasic !== undefined) return readBasic(byBasic);
  if (byHeader !== undefined) {
    return {
      user: header(request, 'x-clickhouse-user') ?? 'default',
      password: header(request, 'x-clickhouse-key') ?? '',
    };
  }
  return { user: url.get('user') ?? 'default', password: url.get('password') ?? '' };
}

function readBasic(value: string): Credentials {
  const encoded = /^Basic ([A-Za-z0-9+/=]+)$/i.exec(value.trim())?.[1];
  if (encoded === undefined) {
    throw new ClickHouseException('AUTHENTICATION_FAILED', 'Invalid authentication: only Basic is supported');
  }
  const decoded = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = decoded.indexOf(':');
  return colon < 0
    ? { user: decoded, password: '' }
    : { user: decoded.slice(0, colon), password: decoded.slice(colon + 1) };
}

function isTrue(value: string | null): boolean {
  return value === '1' || value === 'true';
}

function nonEmpty(value: string | null): string | undefined {
  return value === null || value === '' ? undefined : value;
}

function header(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === 'string' && value !== '' ? value : undefined;
}
