import type { BatchOutcome } from '../infra/nats/batch.ts';

/** The stream as it is now. */
export interface StreamEnd {
  /** Another one means another stream. */
  epoch: string;
  lastSequence: number;
}

/** Remembers how far the stream had come by its own word. */
export interface Witness {
  /** To be told what came of each attempt to store something. */
  stored(outcome: BatchOutcome): void;
  /** Why the stream cannot be the one that acknowledged this process's events; undefined while it can. */
  problem(): Promise<string | undefined>;
}

/**
 * Notices a stream that was made anew, or restored from a backup, while this process runs. The chain notices
 * too, but maybe much later (it needs ClickHouse for it); what is accepted until then is lost when the operator
 * brings the right stream back. A restart forgets what was seen: until the chain raises its alarm, if need be,
 * the stream is taken as it is.
 */
export function createWitness(readEnd: () => Promise<StreamEnd>): Witness {
  let epoch: string | undefined;
  let acknowledged = 0;
  return {
    stored: (outcome) => {
      if (outcome.kind === 'stored') acknowledged = Math.max(acknowledged, outcome.lastSequence);
    },
    problem: async () => {
      // Before the question: what is acknowledged while it is out may be missing in the answer.
      const atLeast = acknowledged;
      const end = await readEnd();
      epoch ??= end.epoch;
      return end.epoch === epoch && end.lastSequence >= atLeast ? undefined : WENT_BACK;
    },
  };
}

const WENT_BACK =
  'The event store lost events that it had acknowledged (made anew, or restored from a backup?). Once it and ClickHouse belong together again, restart this server.';
