import type { AnchorHead, NextAnchorHead } from '../control/anchors.ts';
import { anchorIdOf, anchorTree } from '../core/anchor.ts';
import { hexEncode } from '../core/bytes.ts';
import { openNote, parseCheckpoint } from '../core/checkpoint.ts';
import { ImmutableError } from '../core/errors.ts';
import type { Hasher } from '../core/hash.ts';
import { dayStart } from './period.ts';

/** What a workspace had at the end of a period, and its anchor before. */
export interface WorkspaceEnd {
  workspaceId: string;
  /** Signed, of exactly the size that the workspace had. */
  note: string;
  /** Of the events of the period; the first is empty where retention has removed it. */
  firstEventHash: string;
  lastEventHash: string;
  /** When the first of them that is still stored was received. */
  firstEventAt: string;
  previous: AnchorHead | undefined;
}

/** A row of the table `anchors`. */
export interface AnchorRow {
  id: string;
  workspaceId: string;
  batchId: string;
  periodStart: string;
  periodEnd: string;
  size: number;
  eventsCount: number;
  /** Hex, of the workspace's own tree. */
  merkleRoot: string;
  firstEventHash: string;
  lastEventHash: string;
  /** C2SP signed-note. */
  checkpoint: string;
  /** SHA-256 of the text of the checkpoint before; empty for the first. */
  previousAnchorHash: string;
  anchorRoot: string;
  leafIndex: number;
  treeSize: number;
  /** Hex, nearest sibling first. */
  path: string[];
  createdAt: string;
}

export interface Period {
  /** Of the batch: 32 hexadecimal digits, random. */
  batchId: string;
  periodEnd: string;
  createdAt: string;
}

/** The rows of one anchor tree, in the order of its leaves. Throws `internal` for workspaces that did not grow. */
export function anchorRows(period: Period, ends: readonly WorkspaceEnd[], hasher: Hasher): AnchorRow[] {
  const byWorkspace = new Map(ends.map((end) => [end.workspaceId, end]));
  const tree = anchorTree(
    ends.map(({ note }) => checkpointTextOf(note)),
    hasher,
  );
  return tree.leaves.map(({ workspaceId, checkpointText, proof }) => {
    const end = byWorkspace.get(workspaceId);
    if (end === undefined)
      throw new ImmutableError('internal', `a checkpoint is of another log: ${workspaceId}`);
    return {
      ...rowOf(period, end, checkpointText, hasher),
      anchorRoot: hexEncode(tree.root),
      leafIndex: proof.leafIndex,
      treeSize: proof.treeSize,
      path: proof.path.map(hexEncode),
    };
  });
}

function rowOf(
  { batchId, periodEnd, createdAt }: Period,
  end: WorkspaceEnd,
  checkpointText: string,
  hasher: Hasher,
): Omit<AnchorRow, 'anchorRoot' | 'leafIndex' | 'treeSize' | 'path'> {
  const { workspaceId, previous } = end;
  const checkpoint = parseCheckpoint(checkpointText);
  const eventsCount = (checkpoint?.size ?? 0) - (previous?.size ?? 0);
  if (checkpoint === null || eventsCount <= 0) {
    throw new ImmutableError('internal', `${workspaceId} did not grow, and was to be anchored`);
  }
  return {
    id: anchorIdOf(batchId, workspaceId, hasher),
    workspaceId,
    batchId,
    periodStart: previous?.period_end ?? dayStart(end.firstEventAt),
    periodEnd,
    size: checkpoint.size,
    eventsCount,
    merkleRoot: hexEncode(checkpoint.root),
    firstEventHash: end.firstEventHash,
    lastEventHash: end.lastEventHash,
    checkpoint: end.note,
    previousAnchorHash: previous?.checkpoint_hash ?? '',
    createdAt,
  };
}

/** What the next anchor of the workspace must know of this one. */
export function headOf({ id, periodEnd, size, checkpoint }: AnchorRow, hasher: Hasher): NextAnchorHead {
  return {
    anchor_id: id,
    period_end: periodEnd,
    size,
    checkpoint_hash: hasher.hex(checkpointTextOf(checkpoint)),
  };
}

/** Whether rows are all the leaves of the tree with this root: nothing else may be taken for what was anchored. */
export function areRowsOf(
  rows: readonly AnchorRow[],
  anchorRoot: string,
  leaves: number,
  hasher: Hasher,
): boolean {
  if (rows.length !== leaves) return false;
  const texts = rows.map((row) => textOfRow(row, hasher)).filter((text) => text !== undefined);
  return texts.length === leaves && hexEncode(anchorTree(texts, hasher).root) === anchorRoot;
}

/** The text of its checkpoint, which the root vouches for, if what the row says beside it is the same. */
function textOfRow(row: AnchorRow, hasher: Hasher): string | undefined {
  const text = openNote(row.checkpoint)?.text ?? '';
  const checkpoint = parseCheckpoint(text);
  const isTrue =
    checkpoint?.size === row.size &&
    hexEncode(checkpoint.root) === row.merkleRoot &&
    checkpoint.origin.endsWith(`/${row.workspaceId}`) &&
    row.id === anchorIdOf(row.batchId, row.workspaceId, hasher);
  return isTrue ? text : undefined;
}

function checkpointTextOf(note: string): string {
  const opened = openNote(note);
  if (opened === null) throw new ImmutableError('internal', `not a note: ${note}`);
  return opened.text;
}
