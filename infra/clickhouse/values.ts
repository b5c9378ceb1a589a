import { formatTimestamp, type Micros } from '../../core/time.ts';

/** A moment as the value of a `DateTime64(6, 'UTC')`. */
export function timeValue(micros: Micros): string {
  return timestampValue(formatTimestamp(micros));
}

/** The same of a canonical timestamp (`2026-03-15T14:32:18.847312Z`). */
export function timestampValue(timestamp: string): string {
  return timestamp.replace('T', ' ').slice(0, -1);
}
