import { setTimeout as delay } from 'node:timers/promises';
import type { ClickHouseClient } from '@clickhouse/client';
import { hexEncode } from '../core/bytes.ts';
import { openNote, parseCheckpoint } from '../core/checkpoint.ts';
import { ImmutableError } from '../core/errors.ts';
import { rootIn, rootTiles, TILE_WIDTH, type Tiles, tilePath } from '../core/tile.ts';
import { nativeHasher } from '../infra/hash.ts';
import { createTileReader, widest } from './proofs/tile-reader.ts';
import type { SqlQuery } from './sql.ts';
import type { Break } from './verify.ts';
import type { Span } from './verify-sql.ts';
import {
  type CheckpointRow,
  checkpointsOf,
  type WrongLeaf,
  type WrongTile,
  wrongLeaves,
  wrongTiles,
} from './verify-tree-sql.ts';

/**
 * Checks a workspace's Merkle tree against its stored events, its tiles against each other, and its checkpoints
 * against both: what links alone cannot show, that the newest events are there, and that it is the log that was signed.
 */
export interface TreeCheck {
  /** How many events the newest checkpoint has; null if none was signed. */
  readonly signedSize: number | null;
  readonly checkpointsChecked: number;
  /** Whether the newest stored event reaches the newest checkpoint. */
  end(newestSeq: number): Break[];
  /** The events of a span against the leaves of the tree. */
  leaves(span: Span, most: number): Promise<Break[]>;
  /** Tiles and checkpoints over the events `fromSeq` to `toSeq`. */
  tree(fromSeq: number, toSeq: number, most: number): Promise<Break[]>;
}

/** What is known of who signs, from elsewhere than ClickHouse. */
export interface Signer {
  /** Whether a key of ours has signed a note, as the log of this workspace. */
  isSigned(workspaceId: string, note: string): boolean;
  /** How many events the newest checkpoint has; 0 if none was signed. */
  signedSize(workspaceId: string): Promise<number>;
  /** For how long what was just signed, or anchored, may be missing in ClickHouse; some seconds unless told. */
  copyLagMs?: number;
}

export interface TreeCheckOptions extends Signer {
  clickhouse: ClickHouseClient;
  query: <Row>(question: SqlQuery) => Promise<Row[]>;
}

/** There may be one for every few seconds of a workspace's life; each costs a millisecond or two. */
const MAX_CHECKPOINTS = 100;

export async function openTreeCheck(options: TreeCheckOptions, workspaceId: string): Promise<TreeCheck> {
  const { query } = options;
  const keptElsewhere = await options.signedSize(workspaceId);
  const newest = await newestCheckpoint(options, workspaceId, keptElsewhere);
  const signedSize = Math.max(newest?.size ?? 0, keptElsewhere);
  let checkpointsChecked = 0;

  async function wrongTilesAbove(fromSeq: number, toSeq: number, most: number): Promise<WrongTile[]> {
    const wrong: WrongTile[] = [];
    for (let level = 0; ; level += 1) {
      const leaves = TILE_WIDTH ** (level + 1);
      const first = Math.floor((fromSeq - 1) / leaves);
      const last = Math.min(Math.floor((toSeq - 1) / leaves), Math.floor(signedSize / leaves) - 1);
      if (last < first) return wrong;
      wrong.push(...(await query<WrongTile>(wrongTiles(workspaceId, { level, first, last, most }))));
    }
  }

  async function checkpointBreaks(rows: readonly CheckpointRow[]): Promise<Break[]> {
    const names = rows.flatMap(({ size }) => rootTiles(size));
    // What is remembered is no evidence of what is stored.
    const tiles = await createTileReader(options.clickhouse, 0).tiles(workspaceId, widest(names));
    return rows.flatMap((row) => {
      checkpointsChecked += 1;
      return checkpointBreak(row, options.isSigned(workspaceId, row.note), tiles);
    });
  }

  return {
    signedSize: signedSize === 0 ? null : signedSize,
    get checkpointsChecked() {
      return checkpointsChecked;
    },
    end: (newestSeq) => [
      ...(newestSeq >= signedSize
        ? []
        : [missing(newestSeq + 1, `events ${newestSeq + 1} to ${signedSize}, which were signed`)]),
      ...((newest?.size ?? 0) >= keptElsewhere
        ? []
        : [missing(keptElsewhere, `checkpoint ${keptElsewhere}, which was signed`)]),
    ],
    async leaves(span, most) {
      if (signedSize === 0) return [];
      const rows = await query<WrongLeaf>(wrongLeaves(span, signedSize, most));
      return rows.map(({ seq, event_id, leaf, recomputed }) =>
        treeBreak({ seq, event_id, part: 'leaf', expected: leaf, actual: recomputed }),
      );
    },
    async tree(fromSeq, toSeq, most) {
      if (signedSize === 0) return [];
      const wrong = await wrongTilesAbove(fromSeq, Math.min(toSeq, signedSize), most);
      const older = await query<CheckpointRow>(
        checkpointsOf(workspaceId, {
          from: fromSeq,
          to: Math.min(toSeq, (newest?.size ?? signedSize + 1) - 1),
          most: Math.min(most, MAX_CHECKPOINTS),
        }),
      );
      const rows = newest === undefined ? older : [newest, ...older];
      return [...wrong.map(tileBreak), ...(await checkpointBreaks(rows))];
    },
  };
}

/** A checkpoint is in its table a moment after it was signed. */
const TABLE_LAG_MS = 10_000;
const LOOK_AGAIN_MS = 500;

async function newestCheckpoint(
  { query, copyLagMs = TABLE_LAG_MS }: TreeCheckOptions,
  workspaceId: string,
  atLeast: number,
): Promise<CheckpointRow | undefined> {
  const deadline = performance.now() + copyLagMs;
  for (;;) {
    const [newest] = await query<CheckpointRow>(
      checkpointsOf(workspaceId, { from: 1, to: Number.MAX_SAFE_INTEGER, most: 1 }),
    );
    if ((newest?.size ?? 0) >= atLeast || performance.now() > deadline) return newest;
    await delay(LOOK_AGAIN_MS);
  }
}

function missing(seq: number, what: string): Break {
  return treeBreak({ seq, part: `missing: ${what}` });
}

function tileBreak({ level, tile_index, above, recomputed }: WrongTile): Break {
  const seq = tile_index * TILE_WIDTH ** (level + 1) + 1;
  const part = tilePath({ level, index: tile_index, width: TILE_WIDTH });
  return treeBreak({ seq, part, expected: above, actual: recomputed });
}

function checkpointBreak(row: CheckpointRow, isSigned: boolean, tiles: Tiles): Break[] {
  const at = (part: string, expected = '', actual = '') => [
    treeBreak({ seq: row.size, part: `checkpoint ${row.size}: ${part}`, expected, actual }),
  ];
  if (!isSigned) return at('it is signed by no key of this log');
  const checkpoint = parseCheckpoint(openNote(row.note)?.text ?? '');
  if (checkpoint?.size !== row.size) return at('its text is of another size');
  const root = hexEncode(checkpoint.root);
  if (root !== row.root) return at('its text has another root than its column', root, row.root);
  const recomputed = rootOf(tiles, row.size);
  return recomputed === root ? [] : at('the tiles have another root', root, recomputed);
}

/** Empty where tiles are missing. */
function rootOf(tiles: Tiles, size: number): string {
  try {
    return hexEncode(rootIn(tiles, size, nativeHasher));
  } catch (error) {
    if (error instanceof ImmutableError) return '';
    throw error;
  }
}

export function treeBreak(found: {
  seq: number;
  part: string;
  event_id?: string;
  expected?: string;
  actual?: string;
}): Break {
  return {
    event_id: found.event_id ?? null,
    seq: found.seq,
    type: 'tree_mismatch',
    column: null,
    part: found.part,
    expected_hash: found.expected || null,
    actual_hash: found.actual || null,
  };
}
