import type { Logger } from '../infra/log.ts';

/** Which of these events ClickHouse has. */
export type FindKnownIds = (workspaceId: string, ids: readonly string[]) => Promise<ReadonlySet<string>>;

/** Which of these keyed events are stored already, as far as can be said in time. Never rejects. */
export type DuplicateFinder = (workspaceId: string, ids: readonly string[]) => Promise<ReadonlySet<string>>;

const NONE: ReadonlySet<string> = new Set();
const CUT_OFF_MS = 50;
/** Without answers in time, keyed requests are not made to wait for a while. */
const PAUSE_MS = 1_000;
const MAX_IDS = 10_000;

interface Group {
  ids: string[];
  result: Promise<ReadonlySet<string>>;
}

/**
 * Asks for the ids of several requests together: while one question of a workspace is out, the next
 * gathers. The word `duplicate` is a courtesy, so nothing waits longer than 50 ms for it.
 */
export function createDuplicateFinder(findKnownIds: FindKnownIds, log: Logger): DuplicateFinder {
  const asking = new Map<string, Promise<unknown>>();
  const gathering = new Map<string, Group>();
  let pausedUntil = 0;

  async function ask(
    workspaceId: string,
    ids: string[],
    before: Promise<unknown>,
  ): Promise<ReadonlySet<string>> {
    await before;
    gathering.delete(workspaceId);
    const asked = findKnownIds(workspaceId, ids);
    const done = asked.then(
      () => {},
      (err: unknown) => {
        pausedUntil = performance.now() + PAUSE_MS;
        log.debug({ err }, 'could not look for known events');
      },
    );
    asking.set(workspaceId, done);
    void done.then(() => {
      if (asking.get(workspaceId) === done) asking.delete(workspaceId);
    });
    return await asked;
  }

  function gather(workspaceId: string): Group {
    const ids: string[] = [];
    const answer = ask(workspaceId, ids, asking.get(workspaceId) ?? Promise.resolve());
    const result = inTime(answer, () => {
      pausedUntil = performance.now() + PAUSE_MS;
    });
    const group = { ids, result };
    gathering.set(workspaceId, group);
    return group;
  }

  return async (workspaceId, ids) => {
    if (performance.now() < pausedUntil) return NONE;
    const group = gathering.get(workspaceId) ?? gather(workspaceId);
    if (group.ids.length + ids.length > MAX_IDS) return NONE;
    group.ids.push(...ids);
    return await group.result;
  };
}

async function inTime(
  answer: Promise<ReadonlySet<string>>,
  onLate: () => void,
): Promise<ReadonlySet<string>> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<ReadonlySet<string>>((resolve) => {
    timer = setTimeout(() => {
      onLate();
      resolve(NONE);
    }, CUT_OFF_MS);
  });
  try {
    return await Promise.race([answer, late]);
  } catch {
    return NONE; // `ask` has logged why
  } finally {
    clearTimeout(timer);
  }
}
