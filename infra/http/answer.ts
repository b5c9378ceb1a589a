import { STATUS_CODES } from 'node:http';
import { ImmutableError } from '../../core/errors.ts';
import type { HttpResponse } from './types.ts';

const JSON_TYPE = 'application/json; charset=utf-8';

/** An answer of one JSON value. */
export function jsonResponse(
  status: number,
  value: unknown,
  headers: Record<string, string> = {},
): HttpResponse {
  return { status, headers, body: JSON.stringify(value) };
}

/** What a client is told of an error: its code, its message, the rules that were broken; never its cause. */
export function errorResponse(
  error: ImmutableError,
  requestId: string,
  headers: Record<string, string> = {},
): HttpResponse {
  return jsonResponse(
    error.status,
    {
      error: error.code,
      message: error.message,
      ...(error.violations === undefined ? {} : { violations: error.violations }),
      request_id: requestId,
    },
    { ...headers, ...retryAfter(error) },
  );
}

const DEFAULT_RETRY_SECONDS = 1;

function retryAfter(error: ImmutableError): Record<string, string> {
  if (error.disposition !== 'retry') return {};
  return { 'retry-after': String(error.retryAfterSeconds ?? DEFAULT_RETRY_SECONDS) };
}

/** The error as a client may see it: one of the codes that are for clients, or `internal`. */
export function publicError(error: unknown): ImmutableError {
  if (error instanceof ImmutableError && error.disposition !== 'stop') return error;
  return new ImmutableError(
    'internal',
    'Something went wrong here. It has been logged under the request id.',
  );
}

const ID = /^[A-Za-z0-9._:/+=-]{1,128}$/;
const PROCESS_PART = Math.floor(Math.random() * 2 ** 40).toString(36);
let made = 0;

/** The caller's own id where it can be logged and sent back as it is, else one that is unique here. */
export function requestIdOf(given: string | undefined): string {
  if (given !== undefined && ID.test(given)) return given;
  made += 1;
  return `${PROCESS_PART}-${made.toString(36)}`;
}

/** Header lines of an answer: name, value, name, value … */
export function headerLines(response: HttpResponse, requestId: string): string[] {
  const lines = ['X-Request-Id', requestId];
  let typed = response.body === undefined || typeof response.body !== 'string';
  for (const name in response.headers) {
    lines.push(name, response.headers[name] ?? '');
    if (!typed && name.toLowerCase() === 'content-type') typed = true;
  }
  if (!typed) lines.push('Content-Type', JSON_TYPE);
  return lines;
}

/** `202 Accepted`. */
export function statusLine(status: number): string {
  return STATUS_LINES[status] ?? `${status} Unknown`;
}

const STATUS_LINES: Partial<Record<number, string>> = Object.fromEntries(
  Object.entries(STATUS_CODES).map(([status, text]) => [status, `${status} ${text}`]),
);

/** What an answer's iterable gives, as long as the answer says. */
export async function* asLongAsSaid(
  body: AsyncIterable<Uint8Array>,
  length: number | undefined,
): AsyncGenerator<Uint8Array> {
  let given = 0;
  for await (const chunk of body) {
    given += chunk.length;
    if (length !== undefined && given > length) throw new Error(`the body has more than ${length} bytes`);
    if (chunk.length > 0) yield chunk;
  }
  if (length !== undefined && given < length) {
    throw new Error(`the body has ${given} bytes instead of ${length}`);
  }
}

export function isStream(body: HttpResponse['body']): body is AsyncIterable<Uint8Array> {
  return typeof body === 'object' && Symbol.asyncIterator in body;
}
