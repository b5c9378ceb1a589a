import type { Tile } from '../../../core/tree-builder.ts';
import type { StoredMemoryRow } from '../../chain/testing/memory-store.ts';
import type { SignedCheckpoint, StoredEvent, TreeStore, WorkspaceTile } from '../store.ts';

export type TreeOperation = keyof TreeStore;

/**
 * The tables in memory, for tests that need a store to fail at a given moment or to be tampered with. As strict as
 * the real one: the contract suite runs on both. Events are those of the chain stage's store in memory.
 */
export interface MemoryTreeStore extends TreeStore {
  /** Every tile that was written, in that order. */
  readonly tileRows: WorkspaceTile[];
  readonly checkpointRows: SignedCheckpoint[];
  /** Called before and after the effect of every operation; what it throws is what the caller sees. */
  fault: (operation: TreeOperation, moment: 'before' | 'after') => void | Promise<void>;
}

export function memoryTreeStore(events: () => readonly StoredMemoryRow[]): MemoryTreeStore {
  const tileRows: WorkspaceTile[] = [];
  const checkpointRows: SignedCheckpoint[] = [];

  function chainOf(workspaceId: string): StoredMemoryRow[] {
    return events()
      .filter((row) => row.workspaceId === workspaceId)
      .sort((a, b) => compareTexts(a.createdAt, b.createdAt) || a.seq - b.seq);
  }

  async function performed<T>(operation: TreeOperation, effect: () => T): Promise<T> {
    await store.fault(operation, 'before');
    const result = effect();
    await store.fault(operation, 'after');
    return result;
  }

  const store: MemoryTreeStore = {
    tileRows,
    checkpointRows,
    fault: () => {},
    heads: (partition) =>
      performed('heads', () => {
        const found = new Map<string, number>();
        for (const row of events()) {
          if (row.partition !== partition) continue;
          found.set(row.workspaceId, Math.max(row.seq, found.get(row.workspaceId) ?? 0));
        }
        return found;
      }),
    eventsAfter: (workspaceId, { seq, createdAt }, limit) =>
      performed('eventsAfter', () =>
        chainOf(workspaceId)
          .filter((row) => row.seq > seq && row.createdAt > createdAt)
          .slice(0, limit)
          .map(storedEvent),
      ),
    eventAt: (workspaceId, seq) =>
      performed('eventAt', () => {
        const row = chainOf(workspaceId).find((row) => row.seq === seq);
        return row === undefined ? undefined : storedEvent(row);
      }),
    positionOf: (workspaceId, { seq, createdAt }) =>
      performed('positionOf', () => {
        const row = chainOf(workspaceId).find((row) => row.seq === seq && row.createdAt === createdAt);
        return row === undefined ? undefined : { ...row.position, epoch: row.epoch };
      }),
    tiles: (workspaceId, names) =>
      performed('tiles', () =>
        names.flatMap(({ level, index }) => {
          const found = widestTile(tileRows, workspaceId, level, index);
          return found === undefined ? [] : [found];
        }),
      ),
    writeTiles: (tiles) =>
      performed('writeTiles', () => {
        tileRows.push(...tiles.map((tile) => ({ ...tile, hashes: tile.hashes.slice() })));
      }),
    writeCheckpoints: (checkpoints) =>
      performed('writeCheckpoints', () => {
        checkpointRows.push(...checkpoints.map((checkpoint) => ({ ...checkpoint })));
      }),
    largestSizes: (workspaceIds) =>
      performed('largestSizes', () => {
        const found = new Map<string, number>();
        for (const { workspaceId, size } of checkpointRows) {
          if (!workspaceIds.includes(workspaceId)) continue;
          found.set(workspaceId, Math.max(size, found.get(workspaceId) ?? 0));
        }
        return found;
      }),
    newestCheckpoint: (workspaceId) =>
      performed('newestCheckpoint', () =>
        checkpointRows
          .filter((checkpoint) => checkpoint.workspaceId === workspaceId)
          .reduce<SignedCheckpoint | undefined>((newest, checkpoint) => {
            const difference =
              checkpoint.size - (newest?.size ?? 0) || checkpoint.cosignatures - (newest?.cosignatures ?? 0);
            return difference >= 0 ? checkpoint : newest;
          }, undefined),
      ),
  };
  return store;
}

/** Of equally wide ones the last that was written: that is what a merge of ClickHouse keeps. */
function widestTile(
  rows: readonly WorkspaceTile[],
  workspaceId: string,
  level: number,
  index: number,
): Tile | undefined {
  const found = rows
    .filter((row) => row.workspaceId === workspaceId && row.level === level && row.index === index)
    .reduce<WorkspaceTile | undefined>(
      (widest, row) => (row.width >= (widest?.width ?? 0) ? row : widest),
      undefined,
    );
  if (found === undefined) return undefined;
  return { level, index, width: found.width, hashes: found.hashes.slice() };
}

function storedEvent({ seq, createdAt, body, eventHash, previousEventHash }: StoredMemoryRow): StoredEvent {
  return { seq, createdAt, body, eventHash, previousEventHash };
}

/** The widest tiles that are stored of a workspace, by level and index: two trees are the same when these are. */
export function tilesIn(rows: readonly WorkspaceTile[], workspaceId: string): Map<string, string> {
  const places = new Map(
    rows
      .filter((row) => row.workspaceId === workspaceId)
      .map(({ level, index }) => [`${level}/${index}`, { level, index }]),
  );
  return new Map(
    [...places].sort().map(([key, { level, index }]) => {
      const tile = widestTile(rows, workspaceId, level, index);
      return [key, Buffer.from(tile?.hashes ?? []).toString('hex')];
    }),
  );
}

function compareTexts(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
