import { z } from 'zod';
import { ImmutableError } from '../core/errors.ts';
import { formatTimestamp } from '../core/time.ts';

/** Milliseconds since the epoch; passed in, so that a test owns the time. */
export type Clock = () => number;

/** A moment as records keep it. */
export function timestamp(ms: number): string {
  return formatTimestamp(Math.round(ms * 1000));
}

/**
 * A reader of one kind of stored record: `unknown` in, a typed record out. Members that a newer version
 * added are kept, so that an older process that updates the record does not lose them.
 */
export function recordReader<T>(kind: string, schema: z.ZodType<T>): (value: unknown) => T {
  return (value) => {
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    throw new ImmutableError(
      'misconfigured',
      `A stored ${kind} cannot be read: ${z.prettifyError(parsed.error)}`,
      {
        nextStep: 'Restore it from a backup, or start the version that wrote it.',
      },
    );
  };
}

/** Oldest first; the same order every time among those of one millisecond. */
export function byCreation(
  a: { created_at: string; id: string },
  b: { created_at: string; id: string },
): number {
  if (a.created_at !== b.created_at) return a.created_at < b.created_at ? -1 : 1;
  return a.id < b.id ? -1 : 1;
}
