import { ImmutableError } from '../core/errors.ts';
import { formatTimestamp, MICROS_PER_SECOND, type Micros, parseTimestamp } from '../core/time.ts';

/** Anchors end with days of UTC; each takes up where the one before ended. Moments are RFC 3339 with six digits. */

const DAY_MICROS = 86_400 * MICROS_PER_SECOND;
/** What was received before midnight is stored and signed some minutes later; asking sooner is asking in vain. */
const AFTER_MIDNIGHT_MS = 5 * 60_000;

/** 00:00 of the day of a moment. */
export function dayStart(moment: string): string {
  return formatTimestamp(startOf(micros(moment)));
}

/** The first midnight after a moment; that of the next day, for a midnight itself. */
export function dayEnd(moment: string): string {
  return formatTimestamp(startOf(micros(moment)) + DAY_MICROS);
}

/** The newest midnight whose day can be anchored: 00:05 has come. */
export function newestDueEnd(nowMs: number): string {
  return formatTimestamp(startOf((nowMs - AFTER_MIDNIGHT_MS) * 1000));
}

/** When the next day can be anchored. */
export function nextDueMs(nowMs: number): number {
  return (startOf((nowMs - AFTER_MIDNIGHT_MS) * 1000) + DAY_MICROS) / 1000 + AFTER_MIDNIGHT_MS;
}

/** The end of a day that is written `YYYY-MM-DD`. Throws `validation_failed` for anything else. */
export function endOfNamedDay(day: string): string {
  const start = /^\d{4}-\d{2}-\d{2}$/.test(day) ? parseTimestamp(`${day}T00:00:00Z`) : null;
  if (start !== null) return formatTimestamp(start + DAY_MICROS);
  throw new ImmutableError('validation_failed', `"${day}" is not a day such as 2026-11-23.`);
}

/** The day that a period which ends at a midnight is about, for people; the moment itself for any other. */
export function periodName(periodEnd: string): string {
  const end = micros(periodEnd);
  return end === startOf(end) ? formatTimestamp(end - DAY_MICROS).slice(0, 10) : periodEnd;
}

export function timestampMs(moment: string): number {
  return micros(moment) / 1000;
}

/** As much as clocks of servers may differ. */
const CLOCKS_DIFFER_MS = 5 * 60_000;

/** Whether a moment has not come yet, by any clock that is about right. */
export function isFuture(moment: string, nowMs: number): boolean {
  return timestampMs(moment) > nowMs + CLOCKS_DIFFER_MS;
}

/** The last moment that is not. */
export function lastPresent(nowMs: number): string {
  return formatTimestamp((nowMs + CLOCKS_DIFFER_MS) * 1000);
}

function startOf(moment: Micros): Micros {
  return Math.floor(moment / DAY_MICROS) * DAY_MICROS;
}

function micros(moment: string): Micros {
  const read = parseTimestamp(moment);
  if (read === null) throw new ImmutableError('internal', `not a time: ${moment}`);
  return read;
}
