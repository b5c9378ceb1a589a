import type { Bucket } from '../../infra/nats/kv.ts';
import { comparePositions, type Position } from './position.ts';
import type { Source } from './row.ts';
import type { ChainStore } from './store.ts';

/**
 * How far a partition is done with, told to the purge. Not book-keeping: it holds only while ClickHouse has
 * the position it was made with, and where a partition goes on is never read from it.
 */
export interface FloorRecord {
  epoch: string;
  /** Every message up to this sequence is stored, or left out as a duplicate of what is. */
  handled: number;
  /** The partition's highest stored position at that time. */
  stored: Position;
}

function floorKey(partition: number): string {
  return `stored.${partition}`;
}

export interface FloorRecorder {
  handled(source: Source, sequence: number, stored: Position): void;
  stop(): void;
}

/** Writes the newest floor of each partition, at most once an interval; a lost one only purges later. */
export function createFloorRecorder(
  bucket: Pick<Bucket, 'put'>,
  intervalMs: number,
  onError: (error: unknown) => void,
): FloorRecorder {
  const unwritten = new Map<number, FloorRecord>();
  let writing: Promise<void> = Promise.resolve();

  async function write(): Promise<void> {
    for (const [partition, record] of [...unwritten]) {
      unwritten.delete(partition);
      await bucket.put(floorKey(partition), record);
    }
  }

  const timer = setInterval(() => {
    writing = writing.then(write).catch(onError);
  }, intervalMs);
  timer.unref();
  return {
    handled: ({ partition, epoch }, sequence, stored) => {
      unwritten.set(partition, { epoch, handled: sequence, stored });
    },
    stop: () => clearInterval(timer),
  };
}

/** The sequence up to which a partition is stored, as the purge may rely on it; 0 when nothing can be relied on. */
export async function storedFloor(
  bucket: Pick<Bucket, 'get'>,
  store: Pick<ChainStore, 'highestPosition'>,
  source: Source,
): Promise<number> {
  const record = await storedFloorRecord(bucket, source);
  if (record === undefined) return 0;
  const { highest } = await store.highestPosition(source.partition);
  const holdsIt =
    record.stored.sequence === 0 || (highest !== undefined && comparePositions(highest, record.stored) >= 0);
  return holdsIt ? record.handled : 0;
}

/** The highest stored position of a partition when its floor was written; `undefined` if there is no floor. */
export async function storedWhenFloorWasWritten(
  bucket: Pick<Bucket, 'get'>,
  source: Source,
): Promise<Position | undefined> {
  return (await storedFloorRecord(bucket, source))?.stored;
}

/** What was told of this life of the stream; `undefined` if nothing was. */
export async function storedFloorRecord(
  bucket: Pick<Bucket, 'get'>,
  source: Source,
): Promise<FloorRecord | undefined> {
  const record = readRecord((await bucket.get(floorKey(source.partition)))?.value);
  return record?.epoch === source.epoch ? record : undefined;
}

function readRecord(value: unknown): FloorRecord | undefined {
  const record = asObject(value);
  const stored = asObject(record?.stored);
  const { epoch, handled } = record ?? {};
  const { sequence, index } = stored ?? {};
  if (typeof epoch !== 'string' || typeof handled !== 'number') return undefined;
  if (typeof sequence !== 'number' || typeof index !== 'number') return undefined;
  return { epoch, handled, stored: { sequence, index } };
}

function asObject(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null ? { ...value } : undefined;
}
