import { z } from 'zod';
import { ImmutableError } from '../core/errors.ts';
import type { Bucket } from '../infra/nats/kv.ts';
import { comparePositions, positionText } from './position.ts';

const schema = z.object({
  epoch: z.string(),
  /** Every event of the partition up to this position was looked at, and its alerts are stored. */
  sequence: z.number(),
  index: z.number(),
  /** Workspaces that could not be looked at so far: up to which `seq` they were. */
  behind: z.record(z.string(), z.number()),
});

/** Up to where the alert rules have looked at a partition of EVENTS, in one life of that stream. */
export type AlertPosition = z.infer<typeof schema>;

/** A position, and what the next one must name. */
export interface StoredAlertPosition {
  position: AlertPosition;
  revision: number;
}

/** Undefined before the first. Throws `misconfigured` for one that cannot be read: to go on from elsewhere would miss alerts. */
export async function readAlertPosition(
  bucket: Bucket,
  partition: number,
): Promise<StoredAlertPosition | undefined> {
  const entry = await bucket.get(String(partition));
  if (entry === undefined) return undefined;
  const parsed = schema.safeParse(entry.value);
  if (parsed.success) return { position: parsed.data, revision: entry.revision };
  throw new ImmutableError(
    'misconfigured',
    `The position of the alert rules in partition ${partition} cannot be read.`,
    { nextStep: 'Start the version that wrote it, or delete the record: alerts then begin anew from there.' },
  );
}

/**
 * Moves the position on; resolves to its revision. Throws `fenced` when another process has moved it meanwhile, who
 * therefore works on the same partition.
 */
export async function moveAlertPosition(
  bucket: Bucket,
  partition: number,
  position: AlertPosition,
  before: StoredAlertPosition | undefined,
): Promise<StoredAlertPosition> {
  if (before !== undefined && comparePositions(position, before.position) < 0) {
    const [from, to] = [positionText(before.position), positionText(position)];
    throw new ImmutableError(
      'internal',
      `the position of partition ${partition} would go back, ${from} to ${to}`,
    );
  }
  const key = String(partition);
  try {
    const revision =
      before === undefined
        ? await bucket.create(key, position)
        : await bucket.update(key, position, before.revision);
    return { position, revision };
  } catch (cause) {
    if (!(cause instanceof ImmutableError) || cause.code !== 'conflict') throw cause;
    throw new ImmutableError('fenced', 'Another process looks at the alerts of the partition.', { cause });
  }
}
