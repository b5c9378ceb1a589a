import type { Checkpoint } from '../../core/checkpoint.ts';
import type { Hasher } from '../../core/hash.ts';
import type { ChainedEvent } from '../../core/message.ts';
import { leafHash } from '../../core/tree.ts';
import type { Tile, TreeBuilder } from '../../core/tree-builder.ts';

/** What the tree takes of an event. */
export type ChainLink = Pick<ChainedEvent, 'seq' | 'createdAt' | 'eventHash' | 'previousEventHash'>;

/** The newest leaf of a tree; of an empty one, `seq` 0 and empty texts. */
export type TreeHead = Pick<ChainLink, 'seq' | 'createdAt' | 'eventHash'>;

export const EMPTY_TREE_HEAD: TreeHead = { seq: 0, createdAt: '', eventHash: '' };

/** A tree of one workspace that is to be signed: what its checkpoint says, and its newest leaf. */
export interface Growth extends Pick<Checkpoint, 'size' | 'root'> {
  head: TreeHead;
}

/** What must be stored before any of `growths` may be signed. */
export interface Harvest {
  tiles: Tile[];
  /** Rising in size; the last is all of the tree. */
  growths: Growth[];
}

export type Appended =
  | 'appended'
  /** The tree has this leaf already. */
  | 'known'
  /** Leaves before it are missing here. */
  | 'hole'
  /** It does not follow the newest leaf: what is stored is not the chain that was signed. */
  | 'broken';

/** A workspace's tree while it grows, event by event. */
export interface GrowingTree {
  readonly head: TreeHead;
  /** Leaves that were not harvested yet. */
  readonly unharvested: number;
  append(link: ChainLink): Appended;
  /** Everything that came since the last one; undefined if nothing did. */
  harvest(): Harvest | undefined;
}

/**
 * Goes on from a tree whose newest leaf is `head`. Where a day (UTC) ends, a growth of exactly that size is kept, since
 * that is what the day's anchor commits to (integrity.md §5).
 */
export function growTree(builder: TreeBuilder, from: TreeHead, hasher: Hasher): GrowingTree {
  let head = from;
  let harvestedSize = builder.size;
  let dayEnds: Growth[] = [];

  function growth(): Growth {
    return { size: builder.size, root: builder.root(), head };
  }

  return {
    get head() {
      return head;
    },
    get unharvested() {
      return builder.size - harvestedSize;
    },
    append(link) {
      if (link.seq <= head.seq) return 'known';
      if (link.seq > head.seq + 1) return 'hole';
      if (link.previousEventHash !== head.eventHash) return 'broken';
      const endsDay = builder.size > harvestedSize && dayOf(link.createdAt) !== dayOf(head.createdAt);
      if (endsDay) dayEnds.push(growth());
      builder.append(leafHash(Buffer.from(link.eventHash, 'hex'), hasher));
      head = { seq: link.seq, createdAt: link.createdAt, eventHash: link.eventHash };
      return 'appended';
    },
    harvest() {
      if (builder.size === harvestedSize) return undefined;
      const growths = [...dayEnds, growth()];
      const tiles = [...builder.takeFullTiles(), ...builder.partialTiles()];
      harvestedSize = builder.size;
      dayEnds = [];
      return { tiles, growths };
    },
  };
}

function dayOf(createdAt: string): string {
  return createdAt.slice(0, 10);
}
