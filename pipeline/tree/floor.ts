import { z } from 'zod';
import type { Bucket } from '../../infra/nats/kv.ts';
import { storedFloorRecord } from '../chain/floors.ts';
import { comparePositions } from '../chain/position.ts';
import type { Source } from '../chain/row.ts';

/**
 * How far a partition is signed, told to the purge and to the next start. No book-keeping that anything rests on: a
 * lost one purges later, and makes the next start look at more.
 */
const schema = z.object({
  /** Of EVENTS. */
  epoch: z.string(),
  /** Every event up to this position is in a tree that was signed. */
  sequence: z.number(),
  index: z.number(),
  /** Checkpoints up to this revision of their bucket are in ClickHouse too. */
  kept_revision: z.number(),
});

export type SignedFloor = z.infer<typeof schema>;

function floorKey(partition: number): string {
  return `signed.${partition}`;
}

export async function writeSignedFloor(
  bucket: Pick<Bucket, 'put'>,
  partition: number,
  floor: SignedFloor,
): Promise<void> {
  await bucket.put(floorKey(partition), floor);
}

export async function readSignedFloor(
  bucket: Pick<Bucket, 'get'>,
  partition: number,
): Promise<SignedFloor | undefined> {
  const parsed = schema.safeParse((await bucket.get(floorKey(partition)))?.value);
  return parsed.success ? parsed.data : undefined;
}

/** The sequence of EVENTS up to which everything of a partition is signed, as the purge may rely on it. */
export async function signedFloor(bucket: Pick<Bucket, 'get'>, source: Source): Promise<number> {
  const floor = await readSignedFloor(bucket, source.partition);
  if (floor === undefined || floor.epoch !== source.epoch) return 0;
  const chain = await storedFloorRecord(bucket, source);
  // Behind the newest stored event may be messages that hold nothing but duplicates.
  if (chain !== undefined && comparePositions(floor, chain.stored) >= 0) return chain.handled;
  return floor.sequence - 1;
}
