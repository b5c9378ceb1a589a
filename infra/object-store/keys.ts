import { ImmutableError } from '../../core/errors.ts';

/** S3 takes 1,024 bytes, of which the prefix of the installation needs some. */
const MAX_KEY_BYTES = 800;
/** File systems take 255 bytes. */
const MAX_SEGMENT_BYTES = 200;
const SEGMENT = /^[A-Za-z0-9\-_.=]+$/;
const PREFIX = /^[A-Za-z0-9\-_.=/]*$/;

/** Whether `checkKey` lets it pass. */
export function isKey(key: string): boolean {
  return key.length <= MAX_KEY_BYTES && key.split('/').every(isSegment);
}

/** Throws `bad_request` unless `key` is one that every store can hold and none can be led astray by. */
export function checkKey(key: string): void {
  const problem =
    key.length > MAX_KEY_BYTES ? 'it is too long' : key.split('/').map(segmentProblem).find(Boolean);
  if (problem !== undefined) throw badKey('an object key', key, problem);
}

/** Throws `bad_request` unless keys may start with `prefix`, which may end within a segment or be empty. */
export function checkPrefix(prefix: string): void {
  const folders = prefix.split('/').slice(0, -1);
  const problem =
    prefix.length > MAX_KEY_BYTES
      ? 'it is too long'
      : (folders.map(segmentProblem).find(Boolean) ??
        (PREFIX.test(prefix) ? undefined : 'only letters, digits and -_.= may be in it'));
  if (problem !== undefined) throw badKey('the beginning of an object key', prefix, problem);
}

/** Whether a file or folder of this name may be part of a key. */
export function isSegment(name: string): boolean {
  return segmentProblem(name) === undefined;
}

/** Throws RangeError unless the range is one, which may reach beyond the end of the object. */
export function checkRange(range: { start: number; end?: number } | undefined): void {
  if (range === undefined) return;
  const { start, end = start } = range;
  if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < 0 || end < start)
    throw new RangeError(`[${range.start}, ${range.end}) is no range of bytes`);
}

function segmentProblem(segment: string): string | undefined {
  if (segment === '') return 'a part between slashes is empty';
  if (segment === '.' || segment === '..') return `${segment} is not allowed between slashes`;
  if (segment.length > MAX_SEGMENT_BYTES) return `a part between slashes is longer than ${MAX_SEGMENT_BYTES}`;
  return SEGMENT.test(segment) ? undefined : 'only letters, digits and -_.= may be between slashes';
}

function badKey(what: string, key: string, problem: string): ImmutableError {
  return new ImmutableError('bad_request', `This is not ${what}: ${problem}.`, {
    details: { key: key.slice(0, MAX_KEY_BYTES) },
  });
}
