import { z } from 'zod';
import type { Bucket } from '../infra/nats/kv.ts';
import { comparePositions } from './position.ts';

/**
 * How far each partition of EVENTS is stored, and how far it is signed. No book-keeping that anything rests on: a lost
 * floor purges later, makes the next start look at more, and the next anchor wait.
 */

/** One partition, in one life of EVENTS. */
interface FloorSource {
  partition: number;
  epoch: string;
}

const position = z.object({ sequence: z.number(), index: z.number() });

const storedSchema = z.object({
  epoch: z.string(),
  /** Every message up to this sequence is stored, or left out as a duplicate of what is. */
  handled: z.number(),
  /** The partition's highest stored position at that time: the floor holds only while ClickHouse has it. */
  stored: position,
});

/** Told by the chain stage. */
export type StoredFloor = z.infer<typeof storedSchema>;

const signedSchema = z.object({
  epoch: z.string(),
  /** Every event up to this position is in a tree that was signed. */
  ...position.shape,
  /** Checkpoints up to this revision of their bucket are in ClickHouse too. */
  kept_revision: z.number(),
});

/** Told by the tree stage. */
export type SignedFloor = z.infer<typeof signedSchema>;

function storedKey(partition: number): string {
  return `stored.${partition}`;
}

function signedKey(partition: number): string {
  return `signed.${partition}`;
}

export async function writeStoredFloor(
  bucket: Pick<Bucket, 'put'>,
  partition: number,
  floor: StoredFloor,
): Promise<void> {
  await bucket.put(storedKey(partition), floor);
}

/** What was told of this life of the stream; `undefined` if nothing was. */
export async function readStoredFloor(
  bucket: Pick<Bucket, 'get'>,
  { partition, epoch }: FloorSource,
): Promise<StoredFloor | undefined> {
  const parsed = storedSchema.safeParse((await bucket.get(storedKey(partition)))?.value);
  return parsed.success && parsed.data.epoch === epoch ? parsed.data : undefined;
}

export async function writeSignedFloor(
  bucket: Pick<Bucket, 'put'>,
  partition: number,
  floor: SignedFloor,
): Promise<void> {
  await bucket.put(signedKey(partition), floor);
}

export async function readSignedFloor(
  bucket: Pick<Bucket, 'get'>,
  partition: number,
): Promise<SignedFloor | undefined> {
  const parsed = signedSchema.safeParse((await bucket.get(signedKey(partition)))?.value);
  return parsed.success ? parsed.data : undefined;
}

/** The sequence of EVENTS up to which everything of a partition is stored and signed; 0 when that cannot be told. */
export async function signedFloor(bucket: Pick<Bucket, 'get'>, source: FloorSource): Promise<number> {
  const floor = await readSignedFloor(bucket, source.partition);
  if (floor === undefined || floor.epoch !== source.epoch) return 0;
  const chain = await readStoredFloor(bucket, source);
  // Behind the newest stored event may be messages that hold nothing but duplicates.
  if (chain !== undefined && comparePositions(floor, chain.stored) >= 0) return chain.handled;
  return floor.sequence - 1;
}
