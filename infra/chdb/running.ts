import { ClickHouseException } from './exception.ts';
import type { User } from './users.ts';

/** Queries that run, by their ids, so that they can be cancelled, replaced and waited for. */
export interface Running {
  /** Does `work` as the query `queryId`; no other may have that id meanwhile, unless it replaces it. */
  during(query: { queryId: string; user: User; replace: boolean }, work: () => Promise<void>): Promise<void>;
  /** Whose query that is; undefined if none such runs. */
  ownerOf(queryId: string): User | undefined;
  /** Waits `ms` for all to end, then cancels those that still run and waits for their end. */
  drain(ms: number): Promise<void>;
}

interface RunningQuery {
  user: User;
  ended: Promise<void>;
}

/** `cancel` asks the engine to stop a query; it ends soon after, unless it changes something. */
export function createRunning(cancel: (queryId: string) => void): Running {
  const queries = new Map<string, RunningQuery>();

  async function during(
    { queryId, user, replace }: { queryId: string; user: User; replace: boolean },
    work: () => Promise<void>,
  ): Promise<void> {
    await makeRoom(queryId, user, replace);
    const outcome = work();
    queries.set(queryId, { user, ended: outcome.catch(() => {}) });
    try {
      await outcome;
    } finally {
      queries.delete(queryId);
    }
  }

  async function makeRoom(queryId: string, user: User, replace: boolean): Promise<void> {
    for (let same = queries.get(queryId); same !== undefined; same = queries.get(queryId)) {
      if (!replace || same.user.name !== user.name) {
        throw new ClickHouseException(
          'QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING',
          `Query with id = ${queryId} is already running.`,
        );
      }
      cancel(queryId);
      await same.ended;
    }
  }

  return {
    during,
    ownerOf: (queryId) => queries.get(queryId)?.user,
    drain: async (ms) => {
      const all = () => Promise.all([...queries.values()].map(({ ended }) => ended));
      await Promise.race([all(), new Promise((resolve) => setTimeout(resolve, ms).unref())]);
      for (const queryId of queries.keys()) cancel(queryId);
      await all();
    },
  };
}
