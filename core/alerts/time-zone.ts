import { ImmutableError } from '../errors.ts';
import { MICROS_PER_SECOND, type Micros } from '../time.ts';

/** How far clocks on the wall are ahead of UTC at a moment, in microseconds; behind it: negative. */
export type ZoneOffset = (atMicros: Micros) => Micros;

const MAX_NAME_LENGTH = 64;

/** A name of the IANA database that this runtime knows; a bare offset such as `+01:00` knows no summer time. */
export function isTimeZone(name: string): boolean {
  if (name.length > MAX_NAME_LENGTH || !/^[A-Za-z]/.test(name)) return false;
  try {
    new Intl.DateTimeFormat('en-US', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

/** A stretch of time in which the offset is the same. */
interface Stretch {
  fromSeconds: number;
  toSeconds: number;
  offsetMicros: Micros;
}

const SECONDS_PER_HOUR = 3_600;

/**
 * Throws `misconfigured` for a zone that this runtime does not know.
 *
 * Right to the second of each change: asking `Intl` takes microseconds, so an answer is kept for the hour it holds for,
 * and an hour with a change in it is cut at the change. (No zone has ever changed twice within an hour.)
 */
export function zoneOffsetOf(timeZone: string): ZoneOffset {
  const offsetAt = offsetReader(timeZone);
  let known: Stretch = { fromSeconds: 0, toSeconds: 0, offsetMicros: 0 };

  function stretchAround(seconds: number): Stretch {
    const fromSeconds = Math.floor(seconds / SECONDS_PER_HOUR) * SECONDS_PER_HOUR;
    const toSeconds = fromSeconds + SECONDS_PER_HOUR;
    const [before, after] = [offsetAt(fromSeconds), offsetAt(toSeconds)];
    const changeSeconds = before === after ? toSeconds : firstWith(after, fromSeconds, toSeconds);
    return seconds < changeSeconds
      ? { fromSeconds, toSeconds: changeSeconds, offsetMicros: before * MICROS_PER_SECOND }
      : { fromSeconds: changeSeconds, toSeconds, offsetMicros: after * MICROS_PER_SECOND };
  }

  /** The first second of those in (`without`, `having`] that has the offset. */
  function firstWith(offset: number, without: number, having: number): number {
    if (having - without === 1) return having;
    const middle = Math.floor((without + having) / 2);
    return offsetAt(middle) === offset
      ? firstWith(offset, without, middle)
      : firstWith(offset, middle, having);
  }

  return (atMicros) => {
    const seconds = atMicros / MICROS_PER_SECOND;
    if (seconds < known.fromSeconds || seconds >= known.toSeconds) known = stretchAround(seconds);
    return known.offsetMicros;
  };
}

/** Seconds that the wall is ahead of UTC, at a whole second since 1970. */
function offsetReader(timeZone: string): (seconds: number) => number {
  if (!isTimeZone(timeZone)) {
    throw new ImmutableError('misconfigured', `this runtime knows no time zone ${timeZone}`, {
      nextStep: 'Start a version of Node that knows it, or give the rule another time zone.',
    });
  }
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  });
  return (seconds) => {
    const parts = new Map(
      format.formatToParts(seconds * 1000).map(({ type, value }) => [type, Number(value)]),
    );
    const part = (name: Intl.DateTimeFormatPartTypes) => parts.get(name) ?? Number.NaN;
    const [year, month, day] = [part('year'), part('month'), part('day')];
    return Date.UTC(year, month - 1, day, part('hour'), part('minute'), part('second')) / 1000 - seconds;
  };
}
