import { ERROR_CODES, type ErrorCode } from '../../core/errors.ts';
import { EXACT_TOTAL } from '../search.ts';
import { COUNT, json, object, parameter, ref, type Schema, STRING_OR_NULL, TIME } from './words.ts';

export function timeParameters(): Schema[] {
  return [
    parameter('from', TIME, 'Earliest `created_at`, inclusive.'),
    parameter('to', TIME, 'Latest `created_at`, inclusive.'),
  ];
}

export function pagination(): Schema {
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

export function errors(...codes: ErrorCode[]): Schema {
  return Object.fromEntries(
    codes.map((code) => [
      String(ERROR_CODES[code].status),
      { description: ERROR_NOTES[code] ?? code, content: json(ref('Error')) },
    ]),
  );
}

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
