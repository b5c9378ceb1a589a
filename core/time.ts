import { ImmutableError } from './errors.ts';

/** Microseconds since 1970-01-01T00:00:00Z, a whole number; exact as a double until the year 2255. */
export type Micros = number;

export const MICROS_PER_SECOND = 1_000_000;
export const MICROS_PER_MINUTE = 60 * MICROS_PER_SECOND;

/** 2255-01-01T00:00:00Z: some microseconds after it are no exact doubles, so such times are refused. */
const END_OF_TIME_MICROS: Micros = 8_993_721_600 * MICROS_PER_SECOND;

/**
 * Reads an RFC 3339 `date-time` with any offset; `T` and `Z` may be lower case (§5.6), a space between date
 * and time is refused. Fraction digits beyond the sixth are cut, not rounded. A leap second (`23:59:60` UTC at
 * the end of a month) is read as POSIX does: the same instant as the `00:00:00` that follows.
 * Null for anything else, for impossible dates, and for instants before 1970 or after 2254.
 */
export function parseTimestamp(text: string): Micros | null {
  if (!hasSeparators(text)) return null;
  const fractionEnd = endOfFraction(text);
  const utcSeconds = localSeconds(text) - offsetSeconds(text, fractionEnd);
  const micros = utcSeconds * MICROS_PER_SECOND + fractionMicros(text, fractionEnd);
  // A part that cannot be read is NaN, which runs through every sum and fails this comparison.
  if (!(micros >= 0 && micros < END_OF_TIME_MICROS)) return null;
  if (isLeapSecond(text) && !isStartOfMonth(utcSeconds)) return null;
  return micros;
}

/** `YYYY-MM-DDTHH:MM:SS.ffffffZ`. Throws `internal` for what is no whole number of microseconds in 1970–2254. */
export function formatTimestamp(micros: Micros): string {
  if (!Number.isInteger(micros) || micros < 0 || micros >= END_OF_TIME_MICROS) {
    throw new ImmutableError('internal', `not a time in microseconds: ${micros}`);
  }
  const seconds = Math.floor(micros / MICROS_PER_SECOND);
  const fraction = micros - seconds * MICROS_PER_SECOND;
  return `${secondsText(seconds)}.${(MICROS_PER_SECOND + fraction).toString().slice(1)}Z`;
}

/** Whether a text that `parseTimestamp` accepts is spelt as `formatTimestamp` would spell it. */
export function isCanonicalTimestamp(text: string): boolean {
  return (
    text.length === 27 &&
    text.charCodeAt(10) === UPPER_T &&
    text.charCodeAt(19) === DOT &&
    text.charCodeAt(26) === UPPER_Z &&
    !isLeapSecond(text)
  );
}

const DASH = 45;
const PLUS = 43;
const DOT = 46;
const COLON = 58;
const UPPER_T = 84;
const UPPER_Z = 90;
const LOWER_T = 116;
const LOWER_Z = 122;

function hasSeparators(text: string): boolean {
  const dateEnd = text.charCodeAt(10);
  return (
    text.charCodeAt(4) === DASH &&
    text.charCodeAt(7) === DASH &&
    (dateEnd === UPPER_T || dateEnd === LOWER_T) &&
    text.charCodeAt(13) === COLON &&
    text.charCodeAt(16) === COLON
  );
}

/** Seconds since 1970 of the first nineteen characters, as if they were UTC. */
function localSeconds(text: string): number {
  const year = digits(text, 0, 4);
  const month = digits(text, 5, 7);
  const day = digits(text, 8, 10);
  const hour = digits(text, 11, 13);
  const minute = digits(text, 14, 16);
  const second = digits(text, 17, 19);
  const inRange =
    year >= 1969 && // an offset may lift its last hours into 1970; `Date.UTC` misreads years below 100
    month >= 1 &&
    month <= 12 &&
    day >= 1 &&
    day <= daysInMonth(year, month) &&
    hour <= 23 &&
    minute <= 59 &&
    second <= 60;
  return inRange ? Date.UTC(year, month - 1, day, hour, minute, second) / 1000 : Number.NaN;
}

function daysInMonth(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

/** Index behind the last fraction digit; 19 where there is no fraction. */
function endOfFraction(text: string): number {
  if (text.charCodeAt(19) !== DOT) return 19;
  let end = 20;
  while (isDigit(text.charCodeAt(end))) end += 1;
  return end;
}

function fractionMicros(text: string, end: number): number {
  if (end === 19) return 0;
  const used = Math.min(end, 26);
  if (used === 20) return Number.NaN; // a dot without digits
  return digits(text, 20, used) * 10 ** (26 - used);
}

function offsetSeconds(text: string, start: number): number {
  const sign = text.charCodeAt(start);
  if (sign === UPPER_Z || sign === LOWER_Z) return text.length === start + 1 ? 0 : Number.NaN;
  if ((sign !== PLUS && sign !== DASH) || text.length !== start + 6) return Number.NaN;
  if (text.charCodeAt(start + 3) !== COLON) return Number.NaN;
  const hours = digits(text, start + 1, start + 3);
  const minutes = digits(text, start + 4, start + 6);
  if (hours > 23 || minutes > 59) return Number.NaN;
  return (hours * 60 + minutes) * (sign === PLUS ? 60 : -60);
}

/** The decimal number in `[start, end)`, or NaN if any character there is no digit. */
function digits(text: string, start: number, end: number): number {
  let value = 0;
  for (let index = start; index < end; index += 1) {
    const code = text.charCodeAt(index);
    if (!isDigit(code)) return Number.NaN;
    value = value * 10 + code - 48;
  }
  return value;
}

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57;
}

function isLeapSecond(text: string): boolean {
  return text.charCodeAt(17) === 54; // seconds of 60 and above are read only as far as 60
}

function isStartOfMonth(utcSeconds: number): boolean {
  return utcSeconds % 86_400 === 0 && new Date(utcSeconds * 1000).getUTCDate() === 1;
}

/** Neighbouring events fall into the same second, so the last answer is the likeliest next one. */
let lastSeconds = -1;
let lastSecondsText = '';

function secondsText(seconds: number): string {
  if (seconds !== lastSeconds) {
    lastSecondsText = new Date(seconds * 1000).toISOString().slice(0, 19);
    lastSeconds = seconds;
  }
  return lastSecondsText;
}
