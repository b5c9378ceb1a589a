import { MICROS_PER_MINUTE, MICROS_PER_SECOND, type Micros } from '../time.ts';
import type { MemorySnapshot, RuleMemory } from './memory.ts';
import type { ConditionsOf } from './rule.ts';
import { plural } from './wording.ts';

const MICROS_PER_HOUR = 60 * MICROS_PER_MINUTE;
const HOURS_PER_DAY = 24;
const HOURS_PER_WEEK = 7 * HOURS_PER_DAY;

/**
 * `ingestion_spike`: whether the volume of now exceeds a multiple of the normal.
 *
 * - Volume of now: events from the beginning of the second `window_minutes` − 1 s ago to this event, the event
 *   itself included. It is counted by the second, and so is never more than what the window holds.
 * - Normal: the median of the volumes of all windows, laid side by side from the full hour, in the same hour of the
 *   week (in UTC) as often as it lies in the last `baseline_days`; where it does not, or from a time before events were
 *   counted, in the same hour of each of the last six days, or `baseline_days` if these are fewer. A window without events
 *   counts 0.
 * - Without one such hour that was counted from its beginning there is no normal, and nothing is met: in a new
 *   workspace for a day.
 *
 * @param countedFrom from when on all events that fit the rule come, or came before
 */
export function spikeMemory(conditions: ConditionsOf['ingestion_spike'], countedFrom: Micros): RuleMemory {
  const {
    action_pattern: pattern,
    threshold_multiplier: multiplier,
    window_minutes: minutes,
    baseline_days: days,
    min_events: minEvents,
  } = conditions;
  const windowsPerHour = 60 / minutes;
  const recent = new CountRing(MICROS_PER_SECOND, 60 * minutes);
  const windows = new CountRing(minutes * MICROS_PER_MINUTE, (HOURS_PER_DAY * days + 1) * windowsPerHour);
  const hoursBack = baselineHours(days);
  /** Of the hour of the newest event. */
  let hour = -1;
  let normal: number | undefined;

  /** Undefined where no hour of the baseline was counted. */
  function normalOf(wantedHour: number): number | undefined {
    const isCounted = (back: number) => (wantedHour - back) * MICROS_PER_HOUR >= countedFrom;
    const weeks = hoursBack.weeks.filter(isCounted);
    const hours = weeks.length > 0 ? weeks : hoursBack.days.filter(isCounted);
    const volumes = hours.flatMap((back) => {
      const first = (wantedHour - back) * windowsPerHour;
      return Array.from({ length: windowsPerHour }, (_, index) => windows.at(first + index));
    });
    return median(volumes);
  }

  return {
    meets({ createdAtMicros }) {
      const volume = recent.add(createdAtMicros);
      windows.add(createdAtMicros);
      const hourNow = Math.floor(createdAtMicros / MICROS_PER_HOUR);
      if (hourNow !== hour) {
        hour = hourNow;
        normal = normalOf(hour);
      }
      return normal !== undefined && volume >= minEvents && volume > multiplier * normal;
    },
    reason: () =>
      `${recent.total} events of ${pattern} within ${plural(minutes, 'minute')}; the normal for this hour is ${normal}.`,
    forget() {},
    forgetAll() {},
    snapshot: () => [[countedFrom], ...recent.rows(), [], ...windows.rows()],
    restore([[from = countedFrom] = [], ...rows]) {
      countedFrom = from;
      const middle = rows.findIndex((row) => row.length === 0);
      recent.restore(rows.slice(0, middle));
      windows.restore(rows.slice(middle + 1));
    },
  };
}

/** Of each span of time that holds events, in their order: its number, counted from 1970, and how many. */
export type SpanCounts = readonly (readonly [span: number, count: number])[];

/** How long those spans are of which a memory needs the counts, and from when on, before an event at `nextMicros`. */
export function neededCounts(
  { window_minutes: minutes, baseline_days: days }: ConditionsOf['ingestion_spike'],
  nextMicros: Micros,
): Record<'recent' | 'windows', { spanMicros: Micros; sinceMicros: Micros }> {
  const windowMicros = minutes * MICROS_PER_MINUTE;
  const hourMicros = Math.floor(nextMicros / MICROS_PER_HOUR) * MICROS_PER_HOUR;
  return {
    recent: {
      spanMicros: MICROS_PER_SECOND,
      sinceMicros: Math.floor(nextMicros / MICROS_PER_SECOND) * MICROS_PER_SECOND - windowMicros,
    },
    windows: {
      spanMicros: windowMicros,
      sinceMicros: hourMicros - days * HOURS_PER_DAY * MICROS_PER_HOUR,
    },
  };
}

/** A memory as it would be, had it been given the events that were counted. */
export function snapshotOfCounts(
  countedFrom: Micros,
  { recent, windows }: Record<'recent' | 'windows', SpanCounts>,
): MemorySnapshot {
  return [[countedFrom], ...recent.map((row) => [...row]), [], ...windows.map((row) => [...row])];
}

/** How many hours ago the hours of a baseline began: those of the same hour of the week, and of the day. */
function baselineHours(days: number): { weeks: number[]; days: number[] } {
  const upTo = (count: number, step: number) =>
    Array.from({ length: count }, (_, index) => (index + 1) * step);
  return {
    weeks: upTo(Math.floor(days / 7), HOURS_PER_WEEK),
    days: upTo(Math.min(days, 6), HOURS_PER_DAY),
  };
}

function median(numbers: readonly number[]): number | undefined {
  const sorted = numbers.toSorted((a, b) => a - b);
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return low === undefined || high === undefined ? undefined : (low + high) / 2;
}

/** How many events fell into each of the last so many spans of time, of equal length, counted from 1970. */
class CountRing {
  readonly #spanMicros: Micros;
  readonly #counts: Uint32Array;
  /** The number of the span that is counted in. */
  #newest = 0;
  total = 0;

  constructor(spanMicros: Micros, spans: number) {
    this.#spanMicros = spanMicros;
    this.#counts = new Uint32Array(spans);
  }

  /** Counts one event, none older than those before; returns how many there are in all spans. */
  add(atMicros: Micros): number {
    const span = Math.floor(atMicros / this.#spanMicros);
    if (span !== this.#newest) this.#advance(span);
    const index = span % this.#counts.length;
    this.#counts[index] = (this.#counts[index] ?? 0) + 1;
    this.total += 1;
    return this.total;
  }

  /** 0 for a span that is no longer, or not yet, kept. */
  at(span: number): number {
    const isKept = span <= this.#newest && span > this.#newest - this.#counts.length;
    return isKept ? (this.#counts[span % this.#counts.length] ?? 0) : 0;
  }

  /** Of each span that holds events: its number, and how many. */
  rows(): number[][] {
    const oldest = this.#newest - this.#counts.length + 1;
    return Array.from(this.#counts, (_, index) => [oldest + index, this.at(oldest + index)]).filter(
      ([, count]) => count !== 0,
    );
  }

  restore(rows: readonly number[][]): void {
    for (const [span = 0, count = 0] of rows) {
      this.#advance(span);
      this.#counts[span % this.#counts.length] = count;
      this.total += count;
    }
  }

  #advance(span: number): void {
    const { length } = this.#counts;
    if (span - this.#newest >= length) {
      this.#counts.fill(0);
      this.total = 0;
    } else {
      for (let passed = this.#newest + 1; passed <= span; passed += 1) {
        this.total -= this.#counts[passed % length] ?? 0;
        this.#counts[passed % length] = 0;
      }
    }
    this.#newest = span;
  }
}
