import type { StreamState } from '../infra/nats/stream-info.ts';

/** What one partition allows to be removed. */
export interface PartitionFloor {
  /** For each stage that must be done with a message first: the sequence up to which it is. */
  floors: readonly number[];
  /** The sequence of the partition's newest message, 0 for none. */
  newest: number;
}

export interface PurgeInput {
  /** Read before the partitions' newest messages: what came in between is younger than its last sequence. */
  state: Pick<StreamState, 'firstSequence' | 'lastSequence' | 'bytes' | 'maxBytes'>;
  partitions: readonly PartitionFloor[];
  /** The first sequence that is younger than what is kept while there is room; one beyond the last for none. */
  firstYoungSequence: number;
}

/**
 * The lowest sequence that stays in EVENTS, or `undefined` when nothing is to be removed. Everything below it
 * is done with in every stage of every partition. While the stream is under half its limit, messages also stay
 * until they are old.
 */
export function purgeBelowSequence(input: PurgeInput): number | undefined {
  const { state, partitions, firstYoungSequence } = input;
  const done = Math.min(...partitions.map((partition) => partitionFloor(partition, state.lastSequence)));
  const roomy = state.maxBytes <= 0 || state.bytes < state.maxBytes / 2;
  const below = roomy ? Math.min(done + 1, firstYoungSequence) : done + 1;
  return Number.isFinite(below) && below > state.firstSequence ? below : undefined;
}

/** A partition with nothing pending stands in nobody's way. */
function partitionFloor({ floors, newest }: PartitionFloor, lastSequence: number): number {
  const floor = Math.min(...floors);
  return floor >= newest ? lastSequence : Math.min(floor, lastSequence);
}
