import { createHmac, timingSafeEqual } from 'node:crypto';
import { ImmutableError } from '../core/errors.ts';
import { formatTimestamp, type Micros, parseTimestamp } from '../core/time.ts';

/** What a cursor belongs to: it opens the next page of this search in this workspace and of nothing else. */
export interface CursorBinding {
  workspaceId: string;
  /** Text that is equal for equal searches (`searchIdentity`). */
  search: string;
}

/** How many events a search finds; beyond a hundred thousand an estimate. */
export interface Total {
  count: number;
  isEstimate: boolean;
}

/** A place in a list. */
export interface Place {
  /** `created_at` of the last event of the page before. */
  after: Micros;
  /** Counted for the first page, and carried along where counting costs more than a page. */
  total: Total | undefined;
}

const CHECK_BYTES = 16;

/**
 * A place in a list, as its clients carry it: URL-safe base64 without padding of
 * `{"created_at":"…","total":1234,"total_is_estimate":false,"check":"…"}`, where `check` is an HMAC-SHA256
 * (cut to 128 bits) over all of it and the binding; a list that carries no total has no such members. It
 * tells nothing that the page did not show, and nobody can make one for another workspace.
 */
export function encodeCursor(
  createdAtMicros: Micros,
  binding: CursorBinding,
  key: Uint8Array,
  total?: Total,
): string {
  const signed: Signed = {
    created_at: formatTimestamp(createdAtMicros),
    ...(total === undefined ? {} : { total: total.count, total_is_estimate: total.isEstimate }),
  };
  const check = checkOf(signed, binding, key).toString('base64url');
  return Buffer.from(JSON.stringify({ ...signed, check })).toString('base64url');
}

/** The `created_at` of the last event of the page before. Throws `bad_request` for anything we did not make. */
export function decodeCursor(cursor: string, binding: CursorBinding, key: Uint8Array): Micros {
  return decodePlace(cursor, binding, key).after;
}

/** The same, with the total that it carries. */
export function decodePlace(cursor: string, binding: CursorBinding, key: Uint8Array): Place {
  const place = readPlace(cursor);
  // Compared whole: neither spare bits of base64 nor another spelling of the same JSON pass.
  if (place === null || !isEqual(cursor, encodeCursor(place.after, binding, key, place.total))) {
    throw new ImmutableError(
      'bad_request',
      'This cursor was altered or belongs to another search; start again without a cursor.',
    );
  }
  return place;
}

interface Signed {
  created_at: string;
  total?: number;
  total_is_estimate?: boolean;
}

function readPlace(cursor: string): Place | null {
  try {
    const value: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
    const after = hasTime(value) ? parseTimestamp(value.created_at) : null;
    return after === null ? null : { after, total: totalIn(value) };
  } catch {
    return null;
  }
}

function hasTime(value: unknown): value is { created_at: string } {
  return (
    typeof value === 'object' &&
    value !== null &&
    'created_at' in value &&
    typeof value.created_at === 'string'
  );
}

function totalIn(value: unknown): Total | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  if (!('total' in value) || !('total_is_estimate' in value)) return undefined;
  const { total, total_is_estimate } = value;
  if (typeof total !== 'number' || typeof total_is_estimate !== 'boolean') return undefined;
  return { count: total, isEstimate: total_is_estimate };
}

function isEqual(given: string, made: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(made)];
  return a.length === b.length && timingSafeEqual(a, b);
}

function checkOf(signed: Signed, binding: CursorBinding, key: Uint8Array): Buffer {
  const place = [signed.created_at, signed.total ?? null, signed.total_is_estimate ?? null];
  return createHmac('sha256', key)
    .update(JSON.stringify(['imk/cursor/v2', binding.workspaceId, binding.search, ...place]))
    .digest()
    .subarray(0, CHECK_BYTES);
}
