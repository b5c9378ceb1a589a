import type { CheckpointRecord } from '../../control/checkpoints.ts';
import { eventHash } from '../../core/chain.ts';
import type { Hasher } from '../../core/hash.ts';
import { edgeTiles, TILE_WIDTH, tileKey } from '../../core/tile.ts';
import { leafHash } from '../../core/tree.ts';
import { createTreeBuilder, isTree, type Tile, type TreeBuilder } from '../../core/tree-builder.ts';
import { EMPTY_TREE_HEAD, type GrowingTree, growTree, type TreeHead } from './growing-tree.ts';
import { headOf } from './record.ts';
import type { StoredEvent, TreeStore } from './store.ts';

/** What is stored is not what was signed: nothing more of this workspace may be, until a person has looked. */
export class TreeMismatch extends Error {
  readonly workspaceId: string;
  readonly details: Record<string, unknown>;

  constructor(workspaceId: string, message: string, details: Record<string, unknown> = {}) {
    super(message);
    this.name = 'TreeMismatch';
    this.workspaceId = workspaceId;
    this.details = details;
  }
}

/** Events read at a time. */
const PAGE_EVENTS = 20_000;
/** Tiles read at a time. */
const PAGE_TILES = 200;

/**
 * The tree that was signed last, from its tiles; where these are missing or wrong, from the events themselves, and
 * then its tiles are written again. Throws `TreeMismatch` where neither has the root that was signed.
 */
export async function loadTree(
  store: TreeStore,
  workspaceId: string,
  last: CheckpointRecord | undefined,
  hasher: Hasher,
  onRepaired: (tiles: number) => void,
): Promise<GrowingTree> {
  if (last === undefined) return growTree(createTreeBuilder(0, new Map(), hasher), EMPTY_TREE_HEAD, hasher);
  const root = Buffer.from(last.root, 'hex');
  const fromTiles = await builderFromTiles(store, workspaceId, last.size, hasher);
  if (fromTiles !== undefined && isTree(fromTiles, last.size, root)) {
    return growTree(fromTiles, headOf(last), hasher);
  }
  // Once to compare, once more to write: a large tree has more tiles than fit into memory, and none may be written before
  // the root was found right.
  const { builder } = await replay(store, workspaceId, last.size, hasher, (grown) => {
    grown.takeFullTiles();
  });
  if (!isTree(builder, last.size, root)) {
    throw new TreeMismatch(
      workspaceId,
      builder.size < last.size
        ? `Events are missing: a checkpoint of ${last.size} was signed, and only ${builder.size} can be read.`
        : `The first ${last.size} events are not those whose checkpoint was signed.`,
      {
        signed_size: last.size,
        signed_root: last.root,
        found_root: Buffer.from(builder.root()).toString('hex'),
      },
    );
  }
  onRepaired(await writeTilesAgain(store, workspaceId, last.size, hasher));
  return growTree(builder, headOf(last), hasher);
}

/** Resolves to how many there are. */
async function writeTilesAgain(
  store: TreeStore,
  workspaceId: string,
  size: number,
  hasher: Hasher,
): Promise<number> {
  let written = 0;
  async function write(tiles: readonly Tile[]): Promise<void> {
    await store.writeTiles(tiles.map((tile) => ({ ...tile, workspaceId })));
    written += tiles.length;
  }
  const { builder } = await replay(store, workspaceId, size, hasher, (grown) => write(grown.takeFullTiles()));
  await write(builder.partialTiles());
  return written;
}

async function builderFromTiles(
  store: TreeStore,
  workspaceId: string,
  size: number,
  hasher: Hasher,
): Promise<TreeBuilder | undefined> {
  const names = edgeTiles(size);
  const tiles = await store.tiles(workspaceId, names);
  const byKey = new Map(tiles.map((tile) => [tileKey(tile), tile.hashes]));
  const isThere = names.every((name) => (byKey.get(tileKey(name))?.length ?? 0) >= 32 * name.width);
  return isThere ? createTreeBuilder(size, byKey, hasher) : undefined;
}

export interface Replay {
  builder: TreeBuilder;
  head: TreeHead;
  /** Leaves that came from tiles, since retention has removed their events. */
  fromTiles: number;
}

/**
 * The tree of a workspace's first `size` events, or of as many as there are, made from their hashes alone, each of
 * which is computed again. Where retention has removed the oldest, their leaf hashes come from the tiles. Throws
 * `TreeMismatch` at an event that does not follow the one before.
 */
export async function replay(
  store: TreeStore,
  workspaceId: string,
  size: number,
  hasher: Hasher,
  onProgress: (builder: TreeBuilder) => Promise<void> | void = () => {},
): Promise<Replay> {
  const builder = createTreeBuilder(0, new Map(), hasher);
  const [oldest] = await store.eventsAfter(workspaceId, EMPTY_TREE_HEAD, 1);
  const fromTiles = Math.min(size, (oldest?.seq ?? 1) - 1);
  await appendFromTiles(store, workspaceId, builder, fromTiles, onProgress);
  let head: TreeHead = { seq: fromTiles, createdAt: '', eventHash: oldest?.previousEventHash ?? '' };
  while (builder.size < size) {
    const events = await store.eventsAfter(workspaceId, head, Math.min(PAGE_EVENTS, size - builder.size));
    if (events.length === 0) break;
    for (const event of events) {
      requireFollowing(workspaceId, head, event, hasher);
      builder.append(leafHash(Buffer.from(event.eventHash, 'hex'), hasher));
      head = event;
    }
    await onProgress(builder);
  }
  return { builder, head, fromTiles };
}

async function appendFromTiles(
  store: TreeStore,
  workspaceId: string,
  builder: TreeBuilder,
  count: number,
  onProgress: (builder: TreeBuilder) => Promise<void> | void,
): Promise<void> {
  while (builder.size < count) {
    const first = Math.floor(builder.size / TILE_WIDTH);
    const last = Math.min(first + PAGE_TILES, Math.ceil(count / TILE_WIDTH));
    const names = Array.from({ length: last - first }, (_, at) => ({ level: 0, index: first + at }));
    const tiles = new Map((await store.tiles(workspaceId, names)).map((tile) => [tile.index, tile.hashes]));
    for (const { index } of names) {
      const hashes = tiles.get(index);
      const wanted = Math.min(TILE_WIDTH, count - index * TILE_WIDTH);
      if (hashes === undefined || hashes.length < 32 * wanted) {
        throw new TreeMismatch(workspaceId, `Tile 0/${index}, whose events are archived, is missing.`);
      }
      for (let at = 0; at < wanted; at += 1) builder.append(hashes.slice(32 * at, 32 * at + 32));
    }
    await onProgress(builder);
  }
}

/** What is signed was checked: a hash that is not that of its event would otherwise be sealed for ever. */
export function requireFollowing(
  workspaceId: string,
  head: TreeHead,
  event: StoredEvent,
  hasher: Hasher,
): void {
  const { seq, createdAt, body, previousEventHash } = event;
  if (seq !== head.seq + 1 || previousEventHash !== head.eventHash) {
    throw new TreeMismatch(workspaceId, `Event ${seq} does not follow event ${head.seq}.`, { seq });
  }
  const computed = eventHash(previousEventHash, seq, createdAt, body, hasher);
  if (computed !== event.eventHash) {
    throw new TreeMismatch(workspaceId, `The hash of event ${seq} is not that of its body.`, {
      seq,
      expected: computed,
      found: event.eventHash,
    });
  }
}
