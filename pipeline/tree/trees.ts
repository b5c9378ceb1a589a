import type { CheckpointRecord } from '../../control/checkpoints.ts';
import type { Hasher } from '../../core/hash.ts';
import type { ChainLink, GrowingTree, Harvest } from './growing-tree.ts';
import { loadTree, requireFollowing, TreeMismatch } from './load.ts';
import type { TreeStore } from './store.ts';

/** The trees of one partition's workspaces, in memory while they grow. */
export interface Trees {
  /** Takes events of one workspace in the order of its chain; what is missing before them is read from the store. */
  append(workspaceId: string, links: readonly ChainLink[]): Promise<void>;
  /** Takes what is stored up to the event `seq`, the newest that is. */
  catchUp(workspaceId: string, seq: number): Promise<void>;
  /** Whether what is stored of a workspace is what was signed. */
  isRight(workspaceId: string): Promise<boolean>;
  /** Leaves that were not harvested yet, of all trees. */
  unharvested(): number;
  /** What came since the last harvest, by workspace. */
  harvest(): Map<string, Harvest>;
}

export interface TreesOptions {
  store: TreeStore;
  /** The newest checkpoint of a workspace; undefined if none was ever signed. */
  lastSigned(workspaceId: string): Promise<CheckpointRecord | undefined>;
  hasher: Hasher;
  onMismatch(mismatch: TreeMismatch): Promise<void>;
  onRepaired(workspaceId: string, tiles: number): void;
  /** Called between pages while much is read back. */
  onPage(): Promise<void>;
}

/** Trees that are not growing are forgotten beyond this many, and loaded again when they do. */
const MAX_TREES = 4_096;
const PAGE_EVENTS = 20_000;

export function createTrees(options: TreesOptions): Trees {
  const { store, hasher } = options;
  const trees = new Map<string, GrowingTree>();
  const stopped = new Set<string>();
  let unharvested = 0;

  async function treeOf(workspaceId: string): Promise<GrowingTree> {
    const known = trees.get(workspaceId);
    if (known !== undefined) return known;
    const last = await options.lastSigned(workspaceId);
    const tree = await loadTree(store, workspaceId, last, hasher, (tiles) =>
      options.onRepaired(workspaceId, tiles),
    );
    trees.set(workspaceId, tree);
    return tree;
  }

  function grow(workspaceId: string, tree: GrowingTree, link: ChainLink): void {
    const appended = tree.append(link);
    if (appended === 'known') return;
    if (appended === 'appended') {
      unharvested += 1;
      // It may have been forgotten as idle while what comes before was read, or a moment after it was loaded.
      trees.set(workspaceId, tree);
      return;
    }
    throw new TreeMismatch(workspaceId, `Event ${link.seq} does not follow event ${tree.head.seq}.`, {
      seq: link.seq,
      expected: tree.head.eventHash,
      found: link.previousEventHash,
    });
  }

  async function readUpTo(workspaceId: string, tree: GrowingTree, seq: number): Promise<void> {
    while (tree.head.seq < seq) {
      const limit = Math.min(PAGE_EVENTS, seq - tree.head.seq);
      const events = await store.eventsAfter(workspaceId, tree.head, limit);
      if (events.length === 0) {
        const missing = tree.head.seq + 1;
        throw new TreeMismatch(workspaceId, `Event ${missing} is missing.`, { seq: missing });
      }
      for (const event of events) {
        requireFollowing(workspaceId, tree.head, event, hasher);
        grow(workspaceId, tree, event);
      }
      await options.onPage();
    }
  }

  /** One workspace that is wrong holds up no other. */
  async function unlessStopped(workspaceId: string, work: () => Promise<void>): Promise<void> {
    if (stopped.has(workspaceId)) return;
    try {
      await work();
    } catch (error) {
      if (!(error instanceof TreeMismatch)) throw error;
      stopped.add(workspaceId);
      unharvested -= trees.get(workspaceId)?.unharvested ?? 0;
      trees.delete(workspaceId);
      await options.onMismatch(error);
    }
  }

  function forgetIdle(): void {
    for (const [workspaceId, tree] of trees) {
      if (trees.size <= MAX_TREES) return;
      if (tree.unharvested === 0) trees.delete(workspaceId);
    }
  }

  return {
    append: (workspaceId, links) =>
      unlessStopped(workspaceId, async () => {
        const tree = await treeOf(workspaceId);
        for (const link of links) {
          if (link.seq > tree.head.seq + 1) await readUpTo(workspaceId, tree, link.seq - 1);
          grow(workspaceId, tree, link);
        }
      }),
    catchUp: (workspaceId, seq) =>
      unlessStopped(workspaceId, async () => {
        const last = await options.lastSigned(workspaceId);
        if (last !== undefined && seq < last.size) {
          throw new TreeMismatch(
            workspaceId,
            `Events are missing: a checkpoint of ${last.size} was signed, and only ${seq} are stored.`,
            { signed_size: last.size, stored: seq },
          );
        }
        if (seq === (last?.size ?? 0)) return;
        await readUpTo(workspaceId, await treeOf(workspaceId), seq);
      }),
    async isRight(workspaceId) {
      await unlessStopped(workspaceId, async () => {
        await treeOf(workspaceId);
      });
      return !stopped.has(workspaceId);
    },
    unharvested: () => unharvested,
    harvest: () => {
      const harvests = new Map<string, Harvest>();
      for (const [workspaceId, tree] of trees) {
        const harvest = tree.harvest();
        if (harvest !== undefined) harvests.set(workspaceId, harvest);
      }
      unharvested = 0;
      forgetIdle();
      return harvests;
    },
  };
}
