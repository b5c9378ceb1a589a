import type { AnchorHead } from '../control/anchors.ts';
import type { CheckpointRecord } from '../control/checkpoints.ts';
import { hexEncode } from '../core/bytes.ts';
import { openNote, parseCheckpointNote } from '../core/checkpoint.ts';
import type { Hasher } from '../core/hash.ts';
import type { WorkspaceEnd } from './batch.ts';
import type { AnchoredRow, Growth, GrowthQuestion } from './store.ts';

/** A workspace that grew and cannot be part of the anchor, and why. */
export interface LeftOut {
  workspaceId: string;
  why: string;
  /** Another look may find it right. */
  mayCome: boolean;
}

/** What is known of a workspace that has more events signed than anchored. */
export interface Candidate {
  workspaceId: string;
  signed: CheckpointRecord;
  previous: AnchorHead | undefined;
}

/** What was found of it up to a moment. */
export interface Found {
  growth: Growth | undefined;
  /** Of the checkpoint of exactly the size that it had grown to. */
  note: string | undefined;
  anchored: AnchoredRow | undefined;
}

/** Workspaces whose newest checkpoint is larger than what was anchored of them, those with the oldest anchors first. */
export function candidates(
  signed: ReadonlyMap<string, CheckpointRecord>,
  heads: ReadonlyMap<string, AnchorHead>,
): Candidate[] {
  const grown: Candidate[] = [];
  for (const [workspaceId, record] of signed) {
    const previous = heads.get(workspaceId);
    if (record.size > (previous?.size ?? 0)) grown.push({ workspaceId, signed: record, previous });
  }
  return grown.sort((a, b) => compare(a.previous?.period_end ?? '', b.previous?.period_end ?? ''));
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

export function questionOf({ workspaceId, signed, previous }: Candidate): GrowthQuestion {
  return { workspaceId, after: previous?.size ?? 0, upTo: signed.size };
}

/**
 * What a workspace had before a moment; undefined if it had nothing new. What is stored, what was signed and what was
 * anchored must agree, or it is left out: a checkpoint on the chain can never be taken back.
 */
export function endOf(
  candidate: Candidate,
  { growth, note, anchored }: Found,
  before: string,
  isOurs: (note: string) => boolean,
  hasher: Hasher,
): WorkspaceEnd | LeftOut | undefined {
  const { workspaceId, signed, previous } = candidate;
  const leftOut = (why: string, mayCome: boolean): LeftOut => ({ workspaceId, why, mayCome });
  if (!isAnchored(anchored, previous, hasher)) {
    return leftOut('The table of anchors is not what the job remembers of its newest anchor.', false);
  }
  const isWholly = signed.last_created_at < before;
  if (growth === undefined && !isWholly) return undefined;
  if (growth === undefined || (isWholly && growth.size !== signed.size)) {
    return leftOut(`A checkpoint of ${signed.size} events was signed, and not all of them are stored.`, true);
  }
  const best = note ?? (growth.size === signed.size ? signed.note : undefined);
  if (best === undefined) return leftOut(`There is no checkpoint of ${growth.size} events.`, true);
  if (!isCheckpointOf(best, growth.size, signed) || !isOurs(best)) {
    return leftOut(
      `What is stored as the checkpoint of ${growth.size} events is not one that we signed.`,
      false,
    );
  }
  return {
    workspaceId,
    note: best,
    firstEventHash: growth.firstSeq === (previous?.size ?? 0) + 1 ? growth.firstEventHash : '',
    lastEventHash: growth.lastEventHash,
    firstEventAt: growth.firstEventAt,
    previous,
  };
}

function isAnchored(
  anchored: AnchoredRow | undefined,
  head: AnchorHead | undefined,
  hasher: Hasher,
): boolean {
  if (anchored === undefined || head === undefined) return anchored === undefined && head === undefined;
  const text = openNote(anchored.checkpoint)?.text ?? '';
  return (
    anchored.id === head.anchor_id && anchored.size === head.size && hasher.hex(text) === head.checkpoint_hash
  );
}

function isCheckpointOf(note: string, size: number, signed: CheckpointRecord): boolean {
  const said = parseCheckpointNote(note);
  if (said?.size !== size) return false;
  return size !== signed.size || hexEncode(said.root) === signed.root;
}

export function isLeftOut(found: WorkspaceEnd | LeftOut): found is LeftOut {
  return 'why' in found;
}
