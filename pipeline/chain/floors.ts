import { readStoredFloor, type StoredFloor, writeStoredFloor } from '../../control/floors.ts';
import { comparePositions, type Position } from '../../control/position.ts';
import type { Bucket } from '../../infra/nats/kv.ts';
import type { Source } from './row.ts';
import type { ChainStore } from './store.ts';

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
  const unwritten = new Map<number, StoredFloor>();
  let writing: Promise<void> = Promise.resolve();

  async function write(): Promise<void> {
    for (const [partition, record] of [...unwritten]) {
      unwritten.delete(partition);
      await writeStoredFloor(bucket, partition, record);
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
  const record = await readStoredFloor(bucket, source);
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
  return (await readStoredFloor(bucket, source))?.stored;
}
