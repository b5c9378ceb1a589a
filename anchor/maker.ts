import { randomBytes } from 'node:crypto';
import type { AnchorBatch, AnchorDraft } from '../control/anchors.ts';
import { timestamp } from '../control/record.ts';
import { ImmutableError } from '../core/errors.ts';
import { nativeHasher } from '../infra/hash.ts';
import type { Logger } from '../infra/log.ts';
import { type AnchorRow, anchorRows, areRowsOf, headOf } from './batch.ts';
import type { Gathered, Gatherer, Received } from './gatherer.ts';
import { dayEnd, endOfNamedDay, newestDueEnd, periodName } from './period.ts';
import { type AnchorRecords, changeBatch, type KeptBatch } from './records.ts';
import type { AnchorStore } from './store.ts';

export interface MakerOptions {
  records: AnchorRecords;
  store: AnchorStore;
  gatherer: Gatherer;
  log: Logger;
  now(): number;
  /** For how long what is late holds up an anchor, before it is left to the next. */
  patienceMs: number;
  /** Told of every anchor that is made, and of a day for which there was nothing to make one of. */
  onGathered(gathered: Gathered): Promise<void>;
}

/** Why a batch is not sent where no chain is configured; for people. */
export const NO_CHAIN = 'No chain is configured (IMMUTABLE_ANCHOR_RPC_URL).';

export interface Made {
  batches: AnchorBatch[];
  /** Something was received before the end of the day and is not signed yet; ask again. */
  isWaiting: boolean;
}

/** Every method throws `conflict` when another process has made a batch in the meantime: then it may be asked again. */
export interface Maker {
  /** The anchors of all days that have ended and have none, in order. */
  makeDue(): Promise<Made>;
  /** Of one day that has ended and is the next that needs one. Throws `validation_failed` saying why it is not. */
  makeDay(day: string): Promise<Made>;
  /** Of everything that is signed now. */
  makeNow(): Promise<Made>;
}

/**
 * Makes anchors: rows first, then **the batch's record, which decides**, then what each workspace's next anchor goes by.
 *
 * | died after | what the next run does |
 * |---|---|
 * | the draft | nothing was written: it gathers again |
 * | the rows | they are found by the draft, and decided on |
 * | the batch | the heads are written from its rows, which its root vouches for |
 *
 * Of two processes that make the same batch one can; the rows of the other one are of no batch, and count for nothing.
 */
export function createMaker(options: MakerOptions): Maker {
  const { records, store, gatherer, now } = options;
  let waiting: { newest: string; since: number; received: Received } | undefined;
  /** The last midnight that was found to need no anchor any more. */
  let settledEnd = '';

  /** The batches there are, once everything that was begun has been brought to its end. */
  async function settled(): Promise<AnchorBatch[]> {
    await publishBatches(records, store);
    const last = (await records.batches()).at(-1);
    if (last !== undefined && !last.batch.has_heads) await writeHeads(options, last);
    await adoptDraft(options, last?.batch);
    return (await records.batches()).map(({ batch }) => batch);
  }

  async function write(gathered: Gathered, number: number): Promise<AnchorBatch[]> {
    // What was seen while another job made one, with half of its heads written, says nothing of how things stand.
    if ((await records.batches()).length >= number) {
      throw new ImmutableError('conflict', 'Another job has made an anchor in the meantime.');
    }
    await options.onGathered(gathered);
    if (gathered.ends.length === 0) return [];
    return [await makeBatch(options, gathered, number)];
  }

  /** What still is to be waited for; patience begins with the first look at a day. */
  async function unsettledAt(newest: string): Promise<{ unsettled: number[]; hasPatience: boolean }> {
    if (waiting?.newest !== newest) waiting = { newest, since: now(), received: await gatherer.received() };
    return {
      unsettled: await gatherer.unsettled(waiting.received),
      hasPatience: now() - waiting.since < options.patienceMs,
    };
  }

  /** Days up to `last`, each in turn. */
  async function makeUntil(last: string, onlyLast: boolean): Promise<Made> {
    const made: Made = { batches: [], isWaiting: false };
    const before = await settled();
    const previousEnd = before.at(-1)?.period_end;
    if (previousEnd !== undefined && previousEnd >= last) return made;
    const { unsettled, hasPatience } = await unsettledAt(last);
    const all = await gatherer.until(last, unsettled);
    if (hasPatience && (unsettled.length > 0 || all.leftOut.some(({ mayCome }) => mayCome))) {
      return { ...made, isWaiting: true };
    }
    const first = firstEnd(all, previousEnd);
    if (onlyLast && first !== undefined && first < last) throw notNext(last, first);
    for (let end = first ?? last; end <= last; end = dayEnd(end)) {
      const gathered = end === last && made.batches.length === 0 ? all : await gatherer.until(end, unsettled);
      made.batches.push(...(await write(gathered, before.length + made.batches.length + 1)));
    }
    return made;
  }

  return {
    async makeDue() {
      const last = newestDueEnd(now());
      if (last <= settledEnd) return { batches: [], isWaiting: false };
      const made = await makeUntil(last, false);
      if (!made.isWaiting) settledEnd = last;
      return made;
    },
    async makeDay(day) {
      const end = endOfNamedDay(day);
      if (end > newestDueEnd(now())) {
        throw new ImmutableError(
          'validation_failed',
          `${day} cannot be anchored before 00:05 UTC of the next day.`,
        );
      }
      const previousEnd = (await records.batches()).at(-1)?.batch.period_end;
      if (previousEnd !== undefined && previousEnd >= end) {
        throw new ImmutableError(
          'validation_failed',
          `${day} is past: anchors reach to ${previousEnd} already.`,
        );
      }
      return await makeUntil(end, true);
    },
    async makeNow() {
      const before = await settled();
      const gathered = await gatherer.ofNow();
      const previousEnd = before.at(-1)?.period_end ?? '';
      if (gathered.ends.length > 0 && gathered.periodEnd <= previousEnd) {
        throw new ImmutableError(
          'validation_failed',
          `Anchors reach to ${previousEnd} already, which the clock has not.`,
        );
      }
      return { batches: await write(gathered, before.length + 1), isWaiting: false };
    },
  };
}

/** The end of the first day with something to anchor; days without anything are passed over at once. */
function firstEnd({ ends }: Gathered, previousEnd: string | undefined): string | undefined {
  const earliest = ends.reduce<string | undefined>(
    (least, { firstEventAt }) => (least === undefined || firstEventAt < least ? firstEventAt : least),
    undefined,
  );
  if (earliest === undefined) return undefined;
  // What was left out of the anchor before is older than it, and is part of the next.
  return dayEnd(previousEnd !== undefined && previousEnd > earliest ? previousEnd : earliest);
}

function notNext(end: string, first: string): ImmutableError {
  return new ImmutableError(
    'validation_failed',
    `${periodName(first)} must be anchored before ${periodName(end)}.`,
    {
      nextStep: 'Run `immutable anchor run` without --period: it makes what is missing, in order.',
    },
  );
}

async function makeBatch(options: MakerOptions, gathered: Gathered, number: number): Promise<AnchorBatch> {
  const { records, store, now } = options;
  const id = randomBytes(16).toString('hex');
  const { periodEnd, ends } = gathered;
  const rows = anchorRows({ batchId: id, periodEnd, createdAt: timestamp(now()) }, ends, nativeHasher);
  const draft: AnchorDraft = {
    number,
    id,
    period_end: periodEnd,
    anchor_root: rows[0]?.anchorRoot ?? '',
    leaves: rows.length,
  };
  await records.writeDraft(draft);
  await store.writeAnchors(rows);
  return await decide(options, draft, rows);
}

/** The commit point. Throws `conflict` when another process has made a batch since this one looked. */
async function decide(options: MakerOptions, draft: AnchorDraft, rows: AnchorRow[]): Promise<AnchorBatch> {
  const { records, store, log, now } = options;
  const at = timestamp(now());
  const kept = await records.create({
    number: draft.number,
    id: draft.id,
    period_end: draft.period_end,
    created_at: rows[0]?.createdAt ?? at,
    anchor_root: draft.anchor_root,
    leaves: draft.leaves,
    status: 'pending',
    reason: null,
    chain_id: null,
    contract: null,
    attempts: [],
    nonce_lost_at: null,
    inclusion: null,
    has_heads: false,
    updated_at: at,
  });
  log.info(
    {
      number: draft.number,
      periodEnd: draft.period_end,
      workspaces: rows.length,
      root: kept.batch.anchor_root,
    },
    'an anchor was made',
  );
  const { batch } = await writeHeads(options, kept, rows);
  await records.writeDraft(undefined);
  await publishBatches(records, store);
  return batch;
}

/** Rows that were written by somebody who died before the decision are decided on; part of them, or others, are left behind. */
async function adoptDraft(options: MakerOptions, last: AnchorBatch | undefined): Promise<void> {
  const { records, store } = options;
  const draft = await records.draft();
  if (draft === undefined) return;
  if (draft.number === (last?.number ?? 0) + 1) {
    const rows = await store.anchorsOf(draft);
    if (areRowsOf(rows, draft.anchor_root, draft.leaves, nativeHasher)) {
      await decide(options, draft, rows);
      return;
    }
  }
  await records.writeDraft(undefined);
}

/** From the rows that the batch's root vouches for. */
async function writeHeads(
  { records, store }: MakerOptions,
  kept: KeptBatch,
  known?: readonly AnchorRow[],
): Promise<KeptBatch> {
  const { batch } = kept;
  const rows = known ?? (await store.anchorsOf(batch));
  if (!areRowsOf(rows, batch.anchor_root, batch.leaves, nativeHasher)) {
    throw new ImmutableError(
      'stream_mismatch',
      `The rows of the anchor of ${periodName(batch.period_end)} do not make its root.`,
      { nextStep: 'Restore the table `anchors` from a backup: somebody changed it, or it lost rows.' },
    );
  }
  await records.writeHeads(new Map(rows.map((row) => [row.workspaceId, headOf(row, nativeHasher)])));
  return await changeBatch(records, batch.number, (latest) => ({ ...latest, has_heads: true }));
}

/** Copies to ClickHouse, which is what is read, every record that is newer than its copy. */
export async function publishBatches(
  records: Pick<AnchorRecords, 'batches'>,
  store: Pick<AnchorStore, 'batchVersions' | 'writeBatches'>,
): Promise<void> {
  const kept = await records.batches();
  if (kept.length === 0) return;
  const written = await store.batchVersions();
  await store.writeBatches(kept.filter(({ batch, revision }) => (written.get(batch.id) ?? 0) < revision));
}
