import type { ImmutableError } from '../core/errors.ts';
import type { AcceptedEvent } from './accept.ts';
import type { Committer } from './committer.ts';
import type { DuplicateFinder } from './duplicate-finder.ts';
import type { IdempotencyMemory } from './idempotency.ts';

export type Recorded =
  | { status: 'queued' | 'duplicate' }
  /** It waited for another request with the same key, whose commit failed. */
  | { status: 'failed'; error: ImmutableError };

/**
 * Makes accepted events durable, each key once: what this edge or ClickHouse already has is a duplicate, and
 * what is on its way by another request shares that one's outcome. Resolves in the order of `events`;
 * rejects when the events of this very request could not be stored, or none of those it waited for.
 */
export type Recorder = (workspaceId: string, events: readonly AcceptedEvent[]) => Promise<Recorded[]>;

const QUEUED: Recorded = { status: 'queued' };
const DUPLICATE: Recorded = { status: 'duplicate' };

export function createRecorder(deps: {
  committer: Pick<Committer, 'commit'>;
  memory: IdempotencyMemory;
  findDuplicates: DuplicateFinder;
}): Recorder {
  const { committer, memory, findDuplicates } = deps;

  /** Commits what ClickHouse does not have; gives the keyed ids it has. */
  async function storeFresh(
    workspaceId: string,
    events: readonly AcceptedEvent[],
    keyedIds: readonly string[],
  ): Promise<ReadonlySet<string>> {
    const known = await findDuplicates(workspaceId, keyedIds);
    const lines = events.filter(({ id }) => !known.has(id)).map(({ line }) => line);
    if (lines.length > 0) await committer.commit(workspaceId, lines);
    return known;
  }

  async function recordKeyed(workspaceId: string, events: readonly AcceptedEvent[]): Promise<Recorded[]> {
    const fresh: AcceptedEvent[] = [];
    const keyedIds: string[] = [];
    const outcome = deferred();
    const shares = events.map((event) => {
      const earlier = event.keyed ? memory.find(event.id) : undefined;
      if (earlier !== undefined) return earlier;
      fresh.push(event);
      if (event.keyed) {
        // At once, or a repetition that arrives during the look-up would not see it.
        memory.begin(event.id, outcome.promise);
        keyedIds.push(event.id);
      }
      return undefined;
    });
    try {
      const known = await storeFresh(workspaceId, fresh, keyedIds);
      outcome.resolve();
      const recorded = await Promise.all(
        shares.map((share, index) => {
          if (share === undefined) return known.has(events[index]?.id ?? '') ? DUPLICATE : QUEUED;
          return share === 'stored' ? DUPLICATE : share.then(() => DUPLICATE, failed);
        }),
      );
      return orNothing(recorded);
    } catch (error) {
      outcome.reject(error);
      throw error;
    }
  }

  return (workspaceId, events) => {
    if (events.some(({ keyed }) => keyed)) return recordKeyed(workspaceId, events);
    // Not `async`: the events need not live as long as their commit.
    const queued: Recorded[] = events.map(() => QUEUED);
    const lines = events.map(({ line }) => line);
    return committer.commit(workspaceId, lines).then(() => queued);
  };
}

/** Throws when not one of them is stored: that is no answer to a request, it is its failure. */
function orNothing(recorded: Recorded[]): Recorded[] {
  const [first] = recorded;
  if (first?.status === 'failed' && recorded.every(({ status }) => status === 'failed')) throw first.error;
  return recorded;
}

function failed(error: ImmutableError): Recorded {
  return { status: 'failed', error };
}

interface Deferred {
  promise: Promise<void>;
  resolve(): void;
  reject(error: unknown): void;
}

function deferred(): Deferred {
  let resolve: () => void = () => {};
  let reject: (error: unknown) => void = () => {};
  const promise = new Promise<void>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  promise.catch(() => {}); // everybody who shares it looks at it; maybe nobody does
  return { promise, resolve, reject };
}
