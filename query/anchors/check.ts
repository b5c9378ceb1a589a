import { anchorIdOf, verifyAnchorPath } from '../../core/anchor.ts';
import { hexDecode, hexEncode } from '../../core/bytes.ts';
import { type Checkpoint, openNote, parseCheckpoint } from '../../core/checkpoint.ts';
import { ImmutableError } from '../../core/errors.ts';
import {
  inclusionRanges,
  type LeafRange,
  rangeHashes,
  rootIn,
  rootTiles,
  type TileName,
  type Tiles,
  tilesOf,
} from '../../core/tile.ts';
import { parseTimestamp } from '../../core/time.ts';
import { leafHash, verifyInclusion } from '../../core/tree.ts';
import { nativeHasher } from '../../infra/hash.ts';
import type { BatchRecord } from './records.ts';
import type { AnchorRow, BatchRow } from './sql.ts';

/** Every check of an anchor, in the order in which they are told. */
export const ANCHOR_CHECKS = ['checkpoint', 'merkle_root', 'events', 'chain', 'path', 'record'] as const;
export type AnchorCheckName = (typeof ANCHOR_CHECKS)[number];

export interface AnchorCheck {
  name: AnchorCheckName;
  outcome: 'passed' | 'failed' | 'skipped';
  /** What is wrong, or why it could not be checked; one sentence each. */
  problems: string[];
}

/** What an anchor is held against; nothing of it stands in its own row. */
export interface AnchorFacts {
  before: AnchorRow | undefined;
  /** Whether a key of this log has signed the checkpoint. */
  isSigned: boolean;
  /** As `tilesOfAnchor` names them. */
  tiles: Tiles;
  /** The job's record of the tree: undefined where there is none; null where there are no records to look into. */
  record: BatchRecord | undefined | null;
  /** Midnight before the first event of the workspace; undefined where that event is gone. */
  firstDay: string | undefined;
  /** Whether the first event of its period is still stored. */
  hasFirstEvent: boolean;
  nowMs: number;
}

export interface AnchorFindings {
  checks: AnchorCheck[];
  /** Hex: the root computed again from the tiles; null where they are missing. */
  recomputedRoot: string | null;
}

/** The checkpoint that an anchor keeps, as far as it can be read; nothing in it is to be believed yet. */
export function checkpointOf({ checkpoint }: AnchorRow): { text: string; said: Checkpoint } | null {
  const text = openNote(checkpoint)?.text ?? '';
  const said = parseCheckpoint(text);
  return said === null || said.size === 0 ? null : { text, said };
}

/** What must be read to check an anchor: for its root, and for the paths of its first and its last event. */
export function tilesOfAnchor(row: AnchorRow, before: AnchorRow | undefined): TileName[] {
  const size = checkpointOf(row)?.said.size;
  if (size === undefined) return [];
  const ranges = [firstEventOf(size, before), size].flatMap((seq) => inclusionRanges(seq - 1, size));
  return [...rootTiles(size), ...tilesOf(ranges, size)];
}

/** The number of the first event of its period; kept within the tree, whatever the row before says. */
export function firstEventOf(size: number, before: AnchorRow | undefined): number {
  const first = (before === undefined ? 0 : (checkpointOf(before)?.said.size ?? 0)) + 1;
  return Math.min(first, size);
}

/** Holds an anchor against signatures, tiles, the anchor before and the job's record. */
export function checkAnchor(row: AnchorRow, facts: AnchorFacts): AnchorFindings {
  const checkpoint = checkpointOf(row);
  if (checkpoint === null) {
    const unread = 'its checkpoint cannot be read';
    const checks = ANCHOR_CHECKS.map((name) =>
      name === 'checkpoint' ? judged(name, [unread]) : skipped(name, unread),
    );
    return { checks, recomputedRoot: null };
  }
  const { text, said } = checkpoint;
  const recomputedRoot = rootOf(facts.tiles, said.size);
  return {
    checks: [
      judged('checkpoint', facts.isSigned ? [] : ['its checkpoint is signed by no key of this log']),
      judged('merkle_root', rootProblems(row, said, recomputedRoot)),
      judged('events', eventProblems(row, said, facts)),
      judged('chain', chainProblems(row, facts)),
      judged('path', pathProblems(row, text)),
      facts.record === null
        ? skipped('record', 'there is no record of the job here')
        : judged('record', recordProblems(row, facts.record, facts.nowMs)),
    ],
    recomputedRoot,
  };
}

function judged(name: AnchorCheckName, problems: string[]): AnchorCheck {
  return { name, outcome: problems.length === 0 ? 'passed' : 'failed', problems };
}

function skipped(name: AnchorCheckName, why: string): AnchorCheck {
  return { name, outcome: 'skipped', problems: [why] };
}

function rootOf(tiles: Tiles, size: number): string | null {
  return unlessMissing(() => hexEncode(rootIn(tiles, size, nativeHasher)));
}

function rootProblems(row: AnchorRow, said: Checkpoint, recomputed: string | null): string[] {
  const root = hexEncode(said.root);
  return [
    ...unless(row.size === said.size, `size is ${row.size}, its checkpoint says ${said.size}`),
    ...unless(row.merkle_root === root, `merkle_root is ${row.merkle_root}, its checkpoint says ${root}`),
    ...unless(recomputed === root, `the tiles have ${recomputed ?? 'no'} root at ${said.size} events`),
  ];
}

/** That the first and the last event of the period are leaves, by paths that are made of the tiles now. */
function eventProblems(
  row: AnchorRow,
  said: Checkpoint,
  { before, tiles, hasFirstEvent }: AnchorFacts,
): string[] {
  const first = firstEventOf(said.size, before);
  // Retention may have removed it before there was an anchor; its leaf is in the tree, and not what that is the hash of.
  const wasGone = row.first_event_hash === '' && !hasFirstEvent;
  const isLeaf = (hash: string, seq: number) => {
    const leaf = hexDecode(hash);
    const path = hashesOf(tiles, inclusionRanges(seq - 1, said.size));
    if (leaf === null || path === null) return false;
    const proof = { leafIndex: seq - 1, treeSize: said.size, path };
    return verifyInclusion(leafHash(leaf, nativeHasher), proof, said.root, nativeHasher);
  };
  const count = said.size - first + 1;
  return [
    ...unless(row.events_count === count, `events_count is ${row.events_count}, and not ${count}`),
    ...unless(
      wasGone || isLeaf(row.first_event_hash, first),
      `first_event_hash is not event ${first} of the tree`,
    ),
    ...unless(
      isLeaf(row.last_event_hash, said.size),
      `last_event_hash is not event ${said.size} of the tree`,
    ),
  ];
}

function hashesOf(tiles: Tiles, ranges: LeafRange[]): Uint8Array[] | null {
  return unlessMissing(() => rangeHashes(ranges, tiles, nativeHasher));
}

function chainProblems(row: AnchorRow, { before, firstDay }: AnchorFacts): string[] {
  const previous = before === undefined ? null : checkpointOf(before);
  const expected = previous === null ? '' : nativeHasher.hex(previous.text);
  const start = before?.period_end ?? firstDay ?? row.period_start;
  return [
    ...unless(
      row.previous_anchor_hash === expected,
      before === undefined
        ? 'it names an anchor before it, and there is none'
        : 'previous_anchor_hash is not that of the anchor before it',
    ),
    ...unless((previous?.said.size ?? 0) < row.size, 'it has no more events than the anchor before it'),
    ...unless(isSameTime(row.period_start, start), `period_start is ${row.period_start}, and not ${start}`),
    ...unless(row.period_start < row.period_end, 'its period ends before it begins'),
  ];
}

function pathProblems(row: AnchorRow, text: string): string[] {
  const root = hexDecode(row.anchor_root);
  const path = row.path.map(hexDecode).filter((hash) => hash !== null);
  const proof = { leafIndex: row.leaf_index, treeSize: row.tree_size, path };
  const leads =
    root !== null && path.length === row.path.length && verifyAnchorPath(text, proof, root, nativeHasher);
  return unless(leads, 'its path does not lead from the checkpoint to anchor_root');
}

/**
 * The job changes its record first, and the copy in ClickHouse once it is through with all it is at. A copy that is older is then no
 * sign of anything: the job writes it anew.
 */
const COPY_LAG_MS = 15 * 60_000;
const NEVER = '1970-01-01T00:00:00.000000Z';

type ByColumn = Partial<Record<keyof BatchRow, string | number>>;

/** What the copy of a record says, by its column: of what never changes, and of how it stands. */
function copyOf({ record, revision }: BatchRecord): { fixed: ByColumn; standing: ByColumn } {
  const { inclusion } = record;
  return {
    fixed: {
      id: record.id,
      period_end: record.period_end,
      anchor_root: record.anchor_root,
      leaves: record.leaves,
    },
    standing: {
      status: record.status,
      reason: record.reason ?? '',
      chain_id: record.chain_id ?? 0,
      contract: record.contract ?? '',
      tx_hash: inclusion?.tx_hash ?? record.attempts.at(-1)?.tx_hash ?? '',
      block_number: inclusion?.block_number ?? 0,
      block_hash: inclusion?.block_hash ?? '',
      block_time: inclusion?.block_time ?? NEVER,
      updated_at: record.updated_at,
      version: revision,
    },
  };
}

function recordProblems(row: AnchorRow, kept: BatchRecord | undefined, nowMs: number): string[] {
  if (kept === undefined) return [`its tree ${row.batch_id} is not on record`];
  const { record } = kept;
  const expected = {
    id: anchorIdOf(record.id, row.workspace_id, nativeHasher),
    period_end: record.period_end,
    anchor_root: record.anchor_root,
    tree_size: record.leaves,
    created_at: record.created_at,
  };
  return [...differences({ ...row }, expected, ''), ...batchProblems(row.batch, kept, nowMs)];
}

function batchProblems(batch: BatchRow, kept: BatchRecord, nowMs: number): string[] {
  const isFresh = nowMs * 1000 - (parseTimestamp(kept.record.updated_at) ?? 0) < COPY_LAG_MS * 1000;
  if (batch.id === '') return isFresh ? [] : ['its tree is missing in anchor_batches'];
  const { fixed, standing } = copyOf(kept);
  const isOlder = batch.version < kept.revision && isFresh;
  return differences({ ...batch }, isOlder ? fixed : { ...fixed, ...standing }, ' of its tree');
}

function differences(
  stored: Readonly<Record<string, unknown>>,
  expected: Readonly<Record<string, string | number>>,
  of: string,
): string[] {
  return Object.entries(expected).flatMap(([name, value]) =>
    unless(
      isSame(stored[name], value),
      `${name}${of} is ${JSON.stringify(stored[name])}, on record ${JSON.stringify(value)}`,
    ),
  );
}

function isSame(stored: unknown, expected: unknown): boolean {
  return (
    stored === expected ||
    (typeof stored === 'string' && typeof expected === 'string' && isSameTime(stored, expected))
  );
}

function isSameTime(left: string, right: string): boolean {
  const micros = parseTimestamp(left);
  return left === right || (micros !== null && micros === parseTimestamp(right));
}

function unless(holds: boolean, problem: string): string[] {
  return holds ? [] : [problem];
}

/** Null where tiles are missing. */
function unlessMissing<T>(compute: () => T): T | null {
  try {
    return compute();
  } catch (error) {
    if (error instanceof ImmutableError) return null;
    throw error;
  }
}
