import type { Position } from '../../control/position.ts';
import type { TileName } from '../../core/tile.ts';
import type { Tile } from '../../core/tree-builder.ts';
import type { ChainLink, TreeHead } from './growing-tree.ts';

/** A tile of one workspace's tree. */
export interface WorkspaceTile extends Tile {
  workspaceId: string;
}

/** A checkpoint as it is kept: every one that was signed. */
export interface SignedCheckpoint {
  workspaceId: string;
  size: number;
  /** Hex. */
  root: string;
  /** C2SP signed-note. */
  note: string;
  /** Of witnesses, in the note. */
  cosignatures: number;
  /** They are what the operator's policy asks for. */
  isWitnessed: boolean;
  /** RFC 3339 UTC, six fraction digits. */
  signedAt: string;
}

/** An event as it is stored, with what its hash was made of. */
export interface StoredEvent extends ChainLink {
  body: string;
}

/** What the tree stage needs of ClickHouse; every method throws when it does not answer. */
export interface TreeStore {
  /** The highest `seq` of each workspace of a partition. */
  heads(partition: number): Promise<Map<string, number>>;
  /** The events of a workspace that follow `head`, in order, at most `limit`. */
  eventsAfter(workspaceId: string, head: TreeHead, limit: number): Promise<StoredEvent[]>;
  /** The event with this number, where it is stored. */
  eventAt(workspaceId: string, seq: number): Promise<StoredEvent | undefined>;
  /** Where in EVENTS an event came from. */
  positionOf(
    workspaceId: string,
    event: Pick<ChainLink, 'seq' | 'createdAt'>,
  ): Promise<(Position & { epoch: string }) | undefined>;
  /** The widest of each that is stored; those that are not there are left out. */
  tiles(workspaceId: string, names: readonly Pick<TileName, 'level' | 'index'>[]): Promise<Tile[]>;
  writeTiles(tiles: readonly WorkspaceTile[]): Promise<void>;
  writeCheckpoints(checkpoints: readonly SignedCheckpoint[]): Promise<void>;
  /** The size of the largest checkpoint of each workspace that was written; those that have none are left out. */
  largestSizes(workspaceIds: readonly string[]): Promise<Map<string, number>>;
  /** The largest of a workspace that was written. */
  newestCheckpoint(workspaceId: string): Promise<SignedCheckpoint | undefined>;
}
