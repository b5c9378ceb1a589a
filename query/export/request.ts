import { ImmutableError, type Violation } from '../../core/errors.ts';
import { isJsonObject, type JsonObject } from '../../core/json.ts';
import { formatTimestamp, parseTimestamp } from '../../core/time.ts';
import { FILTERS } from '../conditions.ts';
import { FORMATS, type Format } from './format.ts';
import type { ExportFilters } from './record.ts';

/** What `POST /exports` asks for. */
export interface ExportRequest {
  filters: ExportFilters;
  format: Format;
  /** Whether a CSV file begins with a byte order mark. */
  bom: boolean;
}

/** No stored value is longer, so a longer one could match nothing. */
const MAX_LENGTH = 1024;
/** As they stand in the URL of a question to ClickHouse, where those of `GET /events` came in a URL too. */
const MAX_ENCODED_LENGTH = 6_000;
const SHOWN_CHARACTERS = 64;

/**
 * Reads the body of `POST /exports`. Empty, or `[]` (how PHP spells an object without members), asks for
 * everything as CSV. Absent, null and `""` are the same. Throws `bad_request` for what is no JSON object,
 * `validation_failed` with every violation; members that are not known are named in `warnings`.
 */
export function parseExportRequest(body: Buffer): ExportRequest & { warnings: string[] } {
  const given = readObject(body);
  const violations: Violation[] = [];
  const known = new Set<string>(['from', 'to', 'format', 'bom', ...FILTERS]);

  function text(name: string): string | undefined {
    const value = given[name];
    if (value === undefined || value === null || value === '') return undefined;
    if (typeof value !== 'string') return refuse(name, 'must be a string');
    if (!value.isWellFormed()) return refuse(name, 'must be well-formed Unicode');
    if (value.length > MAX_LENGTH) return refuse(name, `must have at most ${MAX_LENGTH} characters`);
    return value;
  }

  function time(name: string): string | undefined {
    const value = text(name);
    if (value === undefined) return undefined;
    const micros = parseTimestamp(value);
    if (micros === null) return refuse(name, 'must be a time of RFC 3339, such as 2026-03-15T14:32:18Z');
    return formatTimestamp(micros);
  }

  function refuse(path: string, message: string): undefined {
    violations.push({ path, message });
    return undefined;
  }

  const filters: ExportFilters = {};
  for (const name of FILTERS) {
    const value = text(name);
    if (value !== undefined) filters[name] = value;
  }
  for (const name of ['from', 'to'] as const) {
    const value = time(name);
    if (value !== undefined) filters[name] = value;
  }
  if (filters.from !== undefined && filters.to !== undefined && filters.from > filters.to) {
    refuse('from', 'must not be after to');
  }
  const encodedLength = encodeURIComponent(Object.values(filters).join('')).length;
  if (encodedLength > MAX_ENCODED_LENGTH) {
    refuse('', `the filters together may have ${MAX_ENCODED_LENGTH} characters as in a URL`);
  }
  const format = text('format') ?? 'csv';
  const found = FORMATS.find((one) => one === format);
  if (found === undefined) refuse('format', `must be ${FORMATS.join(' or ')}`);
  const bom = given.bom ?? false;
  if (typeof bom !== 'boolean') refuse('bom', 'must be true or false');
  else if (bom && found !== 'csv') refuse('bom', 'is for the format csv only');

  if (violations.length > 0 || found === undefined) {
    throw new ImmutableError('validation_failed', 'The export cannot be made as asked.', { violations });
  }
  const warnings = Object.keys(given)
    .filter((name) => !known.has(name))
    .map((name) => `unknown member '${name.slice(0, SHOWN_CHARACTERS)}' was ignored`);
  return { filters, format: found, bom: bom === true, warnings };
}

function readObject(body: Buffer): JsonObject {
  if (body.length === 0) return {};
  const value = parseJson(body);
  if (Array.isArray(value) && value.length === 0) return {};
  if (isJsonObject(value)) return value;
  throw new ImmutableError('bad_request', 'The body must be a JSON object.');
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch {
    throw new ImmutableError('bad_request', 'The body is not JSON.');
  }
}
