import type { Position } from '../../control/position.ts';
import { EMPTY_HEAD, type Head } from '../../core/chain.ts';
import type { ReadMessage } from './decode.ts';
import type { ChainStore } from './store.ts';

/**
 * What the holder of a partition remembers of its chains, so that it asks ClickHouse only about
 * workspaces and keys it has not seen lately. Everything not stored yet is in here: both limits are
 * more than twice what a batch can bring, and the oldest is forgotten first.
 */
export interface ChainMemory {
  headOf(workspaceId: string): Readonly<Head> | undefined;
  isKnown(keyedId: string): boolean;
  learn(news: { heads: ReadonlyMap<string, Readonly<Head>>; keyedIds: Iterable<string> }): void;
  /** Keeps within the limits. Not between looking up for a run and extending it: the run needs all of it. */
  forgetOldest(): void;
}

const MAX_HEADS = 200_000;
const MAX_KEYED_IDS = 200_000;

export function createMemory(): ChainMemory {
  const heads = new Map<string, Readonly<Head>>();
  const keyedIds = new Set<string>();
  return {
    headOf: (workspaceId) => heads.get(workspaceId),
    isKnown: (keyedId) => keyedIds.has(keyedId),
    learn: (news) => {
      for (const [workspaceId, head] of news.heads) {
        heads.delete(workspaceId);
        heads.set(workspaceId, head);
      }
      for (const id of news.keyedIds) keyedIds.add(id);
    },
    forgetOldest: () => {
      forgetDownTo(heads, MAX_HEADS);
      forgetDownTo(keyedIds, MAX_KEYED_IDS);
    },
  };
}

function forgetDownTo(
  collection: { size: number; keys(): Iterator<string>; delete(key: string): boolean },
  limit: number,
): void {
  const keys = collection.keys();
  while (collection.size > limit) {
    const oldest = keys.next();
    if (oldest.done === true) return;
    collection.delete(oldest.value);
  }
}

/**
 * Asks the store for the heads and keyed ids that `messages` need and memory has not, one question each.
 * Only rows at or before `stored` count: a former holder may have stored more in the meantime, and what it
 * stored must be found again in the stream, not taken for the past.
 */
export async function lookUpMissing(
  memory: ChainMemory,
  store: Pick<ChainStore, 'heads' | 'knownIds'>,
  partition: number,
  messages: readonly ReadMessage[],
  stored: Position,
): Promise<void> {
  const workspaces = unseenWorkspaces(memory, messages);
  const ids = unseenKeyedIds(memory, messages);
  const [heads, knownIds] = await Promise.all([
    workspaces.length === 0 ? new Map<string, Head>() : store.heads(partition, workspaces, stored),
    ids.size === 0 ? new Set<string>() : store.knownIds(partition, ids, stored),
  ]);
  const found = new Map(workspaces.map((id) => [id, heads.get(id) ?? EMPTY_HEAD]));
  memory.learn({ heads: found, keyedIds: knownIds });
}

function unseenWorkspaces(memory: ChainMemory, messages: readonly ReadMessage[]): string[] {
  const unseen = new Set<string>();
  for (const { workspaceId, events } of messages) {
    if (events.length > 0 && memory.headOf(workspaceId) === undefined) unseen.add(workspaceId);
  }
  return [...unseen];
}

function unseenKeyedIds(memory: ChainMemory, messages: readonly ReadMessage[]): Map<string, string[]> {
  const unseen = new Map<string, string[]>();
  for (const { workspaceId, events } of messages) {
    for (const event of events) {
      if (!event.keyed || memory.isKnown(event.id)) continue;
      const ids = unseen.get(workspaceId);
      if (ids === undefined) unseen.set(workspaceId, [event.id]);
      else ids.push(event.id);
    }
  }
  return unseen;
}
