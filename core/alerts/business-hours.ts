import { MICROS_PER_MINUTE, type Micros } from '../time.ts';

/** A week of opening hours, by the clock on the wall. */

export const WEEKDAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;
export type Weekday = (typeof WEEKDAYS)[number];

/** `HH:MM` each; one that ends before it begins ends on the next day. */
export type TimeRange = [begin: string, end: string];

/** A day that is missing is closed. */
export type BusinessHours = Partial<Record<Weekday, TimeRange[]>>;

const MICROS_PER_DAY = 24 * 60 * MICROS_PER_MINUTE;

/** Minutes since midnight; null for what is no time of day. `24:00` is one. */
export function minuteOfDay(text: string): number | null {
  const [, hours, minutes] = /^(\d\d):(\d\d)$/.exec(text) ?? [];
  if (hours === undefined || minutes === undefined) return null;
  const minute = 60 * Number(hours) + Number(minutes);
  return Number(minutes) < 60 && minute <= 24 * 60 ? minute : null;
}

/** Days since 1970; null for what is no date of the calendar, written `YYYY-MM-DD`. */
export function dayNumber(text: string): number | null {
  if (!/^\d{4}-\d\d-\d\d$/.test(text)) return null;
  const ms = Date.parse(`${text}T00:00:00Z`);
  // `Date.parse` takes the 30th of February for the 2nd of March.
  if (Number.isNaN(ms) || !new Date(ms).toISOString().startsWith(text)) return null;
  return ms / 86_400_000;
}

/**
 * Whether a moment is within opening hours; local microseconds are those since 1970-01-01T00:00 on the wall.
 * A range holds its beginning and not its end. It belongs to the day on which it begins: one that begins on the eve of
 * a holiday is open to its end, and one that would begin on the holiday is not open at all.
 */
export type Schedule = (localMicros: Micros) => boolean;

export function scheduleOf(hours: BusinessHours, holidays: readonly string[]): Schedule {
  const week = WEEKDAYS.map((day) => (hours[day] ?? []).map(spanOf));
  const closedDays = new Set(holidays.map(dayNumber));
  const ofDay = (day: number) => (closedDays.has(day) ? [] : (week[weekdayIndex(day)] ?? []));

  return (localMicros) => {
    const day = Math.floor(localMicros / MICROS_PER_DAY);
    const sinceMidnight = localMicros - day * MICROS_PER_DAY;
    const isIn = (micros: number) => (span: Span) => micros >= span.begin && micros < span.end;
    return ofDay(day).some(isIn(sinceMidnight)) || ofDay(day - 1).some(isIn(sinceMidnight + MICROS_PER_DAY));
  };
}

/** Microseconds since the midnight with which the day of its beginning began. */
interface Span {
  begin: Micros;
  end: Micros;
}

function spanOf([begin, end]: TimeRange): Span {
  const [from, to] = [minuteOfDay(begin) ?? 0, minuteOfDay(end) ?? 0];
  const length = to > from ? to - from : to + 24 * 60 - from;
  return { begin: from * MICROS_PER_MINUTE, end: (from + length) * MICROS_PER_MINUTE };
}

/** 1970-01-01 was a Thursday. */
function weekdayIndex(day: number): number {
  return (((day + 3) % 7) + 7) % 7;
}
