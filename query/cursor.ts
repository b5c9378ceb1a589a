import { createHmac, timingSafeEqual } from 'node:crypto';
import { ImmutableError } from '../core/errors.ts';
import { formatTimestamp, type Micros, parseTimestamp } from '../core/time.ts';

/** What a cursor belongs to: it opens the next page of this search in this workspace and of nothing else. */
export interface CursorBinding {
  workspaceId: string;
  /** Text that is equal for equal searches (`searchIdentity`). */
  search: string;
}

const CHECK_BYTES = 16;

/**
 * A place in a list, as its clients carry it: URL-safe base64 without padding of
 * `{"created_at":"…","check":"…"}`, where `check` is an HMAC-SHA256 (cut to 128 bits) over time and binding.
 * It tells nothing that the page did not show, and nobody can make one for another workspace.
 */
export function encodeCursor(createdAtMicros: Micros, binding: CursorBinding, key: Uint8Array): string {
  const createdAt = formatTimestamp(createdAtMicros);
  const check = checkOf(createdAt, binding, key).toString('base64url');
  return Buffer.from(JSON.stringify({ created_at: createdAt, check })).toString('base64url');
}

/** The `created_at` of the last event of the page before. Throws `bad_request` for anything we did not make. */
export function decodeCursor(cursor: string, binding: CursorBinding, key: Uint8Array): Micros {
  const content = readContent(cursor);
  const micros = content === null ? null : parseTimestamp(content.created_at);
  if (content === null || micros === null || !holds(content, binding, key)) {
    throw new ImmutableError(
      'bad_request',
      'This cursor was altered or belongs to another search; start again without a cursor.',
    );
  }
  return micros;
}

interface Content {
  created_at: string;
  check: string;
}

function readContent(cursor: string): Content | null {
  try {
    const bytes = Buffer.from(cursor, 'base64url');
    if (bytes.toString('base64url') !== cursor) return null;
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    return isContent(value) ? value : null;
  } catch {
    return null;
  }
}

function isContent(value: unknown): value is Content {
  return (
    typeof value === 'object' &&
    value !== null &&
    'created_at' in value &&
    typeof value.created_at === 'string' &&
    'check' in value &&
    typeof value.check === 'string'
  );
}

function holds(content: Content, binding: CursorBinding, key: Uint8Array): boolean {
  const expected = checkOf(content.created_at, binding, key);
  const actual = Buffer.from(content.check, 'base64url');
  return actual.length === expected.length && timingSafeEqual(actual, expected);
}

function checkOf(createdAt: string, binding: CursorBinding, key: Uint8Array): Buffer {
  return createHmac('sha256', key)
    .update(JSON.stringify(['imk/cursor/v1', binding.workspaceId, binding.search, createdAt]))
    .digest()
    .subarray(0, CHECK_BYTES);
}
