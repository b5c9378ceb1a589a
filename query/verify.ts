import type { ClickHouseClient } from '@clickhouse/client';
import type { Micros } from '../core/time.ts';
import type { AnchorRecords } from './anchors/records.ts';
import { ask } from './ask.ts';
import type { SqlQuery } from './sql.ts';
import { type AnchorVerification, verifyAnchors } from './verify-anchors.ts';
import {
  type BrokenContent,
  type BrokenLink,
  boundaryAt,
  brokenContents,
  brokenLinks,
  commonSource,
  type Kept,
  newestBoundary,
  newestSeq,
  newestTime,
  nextStretch,
  type Predecessor,
  rowBefore,
  type Source,
  type Span,
  type Stretch,
} from './verify-sql.ts';
import { openTreeCheck, type Signer, type TreeCheck } from './verify-tree.ts';

export const BREAK_TYPES = [
  'hash_mismatch',
  'chain_break',
  'private_mismatch',
  'column_mismatch',
  'tree_mismatch',
] as const;
/** What is wrong with an event (integrity.md §7). */
export type BreakType = (typeof BREAK_TYPES)[number];

export interface Break {
  /** Null where no event is concerned, or none is there. */
  event_id: string | null;
  /** Of the event, or the first of those that a part of the tree is about. */
  seq: number;
  type: BreakType;
  /** The column that does not fit; for `column_mismatch` alone. */
  column: string | null;
  /** What of the tree does not fit: a leaf, the path of a tile, a checkpoint; for `tree_mismatch` alone. */
  part: string | null;
  /**
   * Hex. What should stand there: for `hash_mismatch` the hash computed again, for `chain_break` that of the
   * event before, for `private_mismatch` the digest in the body, for `tree_mismatch` what the tree says. Null where
   * there is no such hash.
   */
  expected_hash: string | null;
  /** Hex: the hash, previous hash or digest found instead. Null where there is none. */
  actual_hash: string | null;
}

export interface Verification {
  valid: boolean;
  events_checked: number;
  /** Oldest first. */
  breaks: Break[];
  /** There are more breaks than are listed. */
  breaks_truncated: boolean;
  /** All events asked for were checked: neither `limit` nor the time cut them off. */
  complete: boolean;
  /** First and last event checked; null if there was none. */
  from_seq: number | null;
  to_seq: number | null;
  /** How many events the newest signed checkpoint has, and how many checkpoints were checked; null and 0 for none. */
  signed_size: number | null;
  checkpoints_checked: number;
  /** How many anchors were checked. */
  anchors_checked: number;
}

export interface VerifyRange {
  workspaceId: string;
  /** Inclusive, on `created_at`. */
  from?: Micros | undefined;
  /** Inclusive. */
  to?: Micros | undefined;
  /** Most events to check; all if absent. */
  limit?: number | undefined;
}

export interface VerifyOptions {
  /** Called after every stretch with the number of events checked so far. */
  onProgress?: (eventsChecked: number) => void;
  /** Asked before every stretch: true ends the check there, with `complete: false`. */
  enough?: () => boolean;
  /** What is known of the signer; without it no tree is looked at. */
  signer?: Signer | undefined;
  /** What the anchor job goes by; without it, or without a signer, no anchors are looked at. */
  anchors?: AnchorRecords | undefined;
  /** Events a stretch; tests make it small. */
  stretchRows?: number;
}

/** Bounds how long one query runs. Shorter stretches would be read by a single thread. */
const STRETCH_ROWS = 1_000_000;
const MAX_STRETCH_SECONDS = 120;

const SETTINGS = {
  max_execution_time: MAX_STRETCH_SECONDS,
  // What was found before, and what is derived from the rows, are no evidence of what is in them.
  use_query_condition_cache: 0,
  use_skip_indexes: 0,
  optimize_use_projections: 0,
  // Lazily evaluated conditions, and conditions evaluated early for some columns, parse a text once for
  // each column that looks at it: four times slower, and twice.
  short_circuit_function_evaluation: 'disable',
  optimize_move_to_prewhere: 0,
};

export const MAX_BREAKS = 1000;

/**
 * Checks a workspace's stored events, in SQL, against each other and against their own texts: every hash,
 * every link, every digest of personal data, every derived column. Works through the chain in stretches,
 * each linked to the one before, so it uses the same memory for a thousand events and for a thousand million.
 *
 * The first event checked must follow the event before `from`, or what retention recorded, or be the first.
 * That the newest events were not cut off, and that it is the chain that was signed, is told by the tree.
 */
export async function verifyChain(
  clickhouse: ClickHouseClient,
  range: VerifyRange,
  options: VerifyOptions = {},
): Promise<Verification> {
  const query = <Row>(question: SqlQuery) => ask<Row>(clickhouse, question, SETTINGS);
  const { workspaceId, limit = Number.POSITIVE_INFINITY } = range;
  const { stretchRows = STRETCH_ROWS, enough = () => false, onProgress } = options;

  const [source] = await query<Source>(commonSource(workspaceId));
  const to = await lastMoment(query, range);
  const [kept = NOTHING_REMOVED] = await query<Kept>(newestBoundary(workspaceId));
  const { signer, anchors: records } = options;
  const tree = signer && (await openTreeCheck({ clickhouse, query, ...signer }, workspaceId));
  const found = new Findings();
  let after = range.from === undefined || range.from === 0 ? undefined : range.from - 1;
  let before: Predecessor | undefined;
  let complete = true;

  while (source !== undefined) {
    const rowsLeft = limit - found.eventsChecked;
    const [stretch] = await query<Stretch>(
      nextStretch({ workspaceId, after, to }, Math.max(1, Math.min(stretchRows, rowsLeft))),
    );
    if (stretch === undefined || stretch.rows === 0) break;
    if (rowsLeft <= 0 || enough()) {
      complete = false;
      break;
    }
    before ??= await predecessorOf(query, range, stretch);
    const span: Span = { workspaceId, after, to: stretch.last_micros };
    const links = await query<BrokenLink>(brokenLinks(span, before, kept, found.room));
    const contents = await query<BrokenContent>(brokenContents(span, source, found.room));
    const leaves = (await tree?.leaves(span, found.room)) ?? [];
    found.add(stretch, [...links.flatMap(linkBreaks), ...contents.flatMap(contentBreaks), ...leaves]);
    onProgress?.(found.eventsChecked);
    before = stretch;
    after = stretch.last_micros;
  }
  if (tree !== undefined) found.addBreaks(await treeBreaks(tree, query, range, found));
  const isAnchored = signer !== undefined && records !== undefined;
  const anchors = isAnchored
    ? await verifyAnchors(
        { clickhouse, query, ...signer, records },
        workspaceId,
        covered(found, range, complete),
      )
    : NO_ANCHORS;
  found.addBreaks(anchors.breaks);
  return found.verification(complete, tree, anchors);
}

const NO_ANCHORS: AnchorVerification = { checked: 0, breaks: [] };

/** Anchors outlast the events that retention removes: without an end of its own, a check begins and ends with the log. */
function covered({ fromSeq, toSeq }: Findings, { from, to }: VerifyRange, complete: boolean) {
  const hasEnd = to !== undefined || !complete;
  return {
    fromSeq: from === undefined ? 1 : (fromSeq ?? Number.POSITIVE_INFINITY),
    toSeq: hasEnd ? (toSeq ?? 0) : Number.POSITIVE_INFINITY,
  };
}

/** What is not about single events: tiles and checkpoints over those that were checked, and the end of the log. */
async function treeBreaks(
  tree: TreeCheck,
  query: Ask,
  { workspaceId }: VerifyRange,
  { fromSeq, toSeq, room }: Findings,
): Promise<Break[]> {
  const [newest] = await query<{ seq: number }>(newestSeq(workspaceId));
  const parts = fromSeq === null || toSeq === null ? [] : await tree.tree(fromSeq, toSeq, room);
  return [...parts, ...tree.end(newest?.seq ?? 0)];
}

type Ask = <Row>(question: SqlQuery) => Promise<Row[]>;

/** Where to stop: at `to`, or at the newest event that there is now. */
async function lastMoment(query: Ask, { workspaceId, to }: VerifyRange): Promise<Micros | undefined> {
  const [newest] = await query<{ micros: Micros }>(newestTime(workspaceId));
  if (newest === undefined) return to;
  return to === undefined ? newest.micros : Math.min(to, newest.micros);
}

const NOTHING_REMOVED: Kept = { seq: 0, previous_hash_hex: '' };

const BEGINNING: Predecessor = { seq: 0, hash_hex: '', stream_seq: 0, stream_index: 0 };

async function predecessorOf(query: Ask, range: VerifyRange, first: Stretch): Promise<Predecessor> {
  const { workspaceId, from } = range;
  if (from !== undefined) {
    const [row] = await query<Predecessor>(rowBefore(workspaceId, from));
    if (row !== undefined) return row;
  }
  const [boundary] = await query<Pick<Predecessor, 'seq' | 'hash_hex'>>(
    boundaryAt(workspaceId, first.first_seq),
  );
  return { ...BEGINNING, ...boundary };
}

/** What has been checked and found so far. */
class Findings {
  eventsChecked = 0;
  fromSeq: number | null = null;
  toSeq: number | null = null;
  #breaks: Break[] = [];
  #truncated = false;

  /** How many broken rows to ask for: one more than fit, so that the cut is noticed. */
  get room(): number {
    return MAX_BREAKS + 1 - this.#breaks.length;
  }

  add(stretch: Stretch, breaks: Break[]): void {
    this.eventsChecked += stretch.rows;
    this.fromSeq ??= stretch.first_seq;
    this.toSeq = stretch.seq;
    this.addBreaks(breaks);
  }

  addBreaks(breaks: Break[]): void {
    this.#truncated ||= this.#breaks.length + breaks.length > MAX_BREAKS;
    this.#breaks = [...this.#breaks, ...breaks].slice(0, MAX_BREAKS);
  }

  verification(complete: boolean, tree: TreeCheck | undefined, anchors: AnchorVerification): Verification {
    return {
      valid: this.#breaks.length === 0,
      events_checked: this.eventsChecked,
      breaks: this.#breaks.toSorted(bySeq),
      breaks_truncated: this.#truncated,
      complete,
      from_seq: this.fromSeq,
      to_seq: this.toSeq,
      signed_size: tree?.signedSize ?? null,
      checkpoints_checked: tree?.checkpointsChecked ?? 0,
      anchors_checked: anchors.checked,
    };
  }
}

function linkBreaks(row: BrokenLink): Break[] {
  const breaks: Break[] = [];
  if (!row.follows) {
    breaks.push(breakOf(row, 'chain_break', orNull(row.expected_hash), orNull(row.actual_hash)));
  }
  if (row.misplaced_by !== '') breaks.push(columnBreak(row, row.misplaced_by));
  return breaks;
}

function contentBreaks(row: BrokenContent): Break[] {
  const breaks: Break[] = [];
  if (!row.hash_matches) breaks.push(breakOf(row, 'hash_mismatch', row.recomputed_hash, row.stored_hash));
  if (!row.private_matches) {
    breaks.push(breakOf(row, 'private_mismatch', orNull(row.private_expected), orNull(row.private_actual)));
  }
  return [...breaks, ...row.columns.map((column) => columnBreak(row, column))];
}

function breakOf(
  { event_id, seq }: { event_id: string; seq: number },
  type: BreakType,
  expected: string | null,
  actual: string | null,
): Break {
  return { event_id, seq, type, column: null, part: null, expected_hash: expected, actual_hash: actual };
}

function columnBreak(row: { event_id: string; seq: number }, column: string): Break {
  return { ...breakOf(row, 'column_mismatch', null, null), column };
}

function orNull(hash: string): string | null {
  return hash === '' ? null : hash;
}

function bySeq(a: Break, b: Break): number {
  return a.seq - b.seq || BREAK_TYPES.indexOf(a.type) - BREAK_TYPES.indexOf(b.type);
}
