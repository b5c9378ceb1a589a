import { retainedFrom } from '../../control/retention.ts';
import type { Workspace } from '../../control/workspaces.ts';
import { ImmutableError } from '../../core/errors.ts';
import type { Logger } from '../../infra/log.ts';
import type { ObjectStore } from '../../infra/object-store/types.ts';
import { archiveKeys, listArchives } from './archives.ts';
import { type ArchiveLimits, type ArchivistOptions, archiveRange, requireSound } from './archivist.ts';
import type { SignedLog } from './signed-log.ts';
import type { Boundary, RetentionStore, SeqRange } from './store.ts';

export interface RetentionOptions {
  store: RetentionStore;
  objects: ObjectStore;
  signed: SignedLog;
  /** As they are at this moment: asked once before anything is written, and again before anything is removed. */
  workspaces(): Promise<Workspace[]>;
  /** Tells the operator's chain what is about to be removed. May be told the same again. */
  tell(removal: Removal): Promise<void>;
  /** A workspace whose events cannot be archived. */
  onRefused(workspaceId: string, error: ImmutableError): Promise<void>;
  /** False once another process may be at the same work. */
  mayGoOn(): boolean;
  nowMs: number;
  log: Logger;
  limits?: ArchiveLimits | undefined;
  onArchive?: ArchivistOptions['onArchive'];
}

/** Of one workspace: events that are in archives, and leave the store. */
export interface Removal {
  workspaceId: string;
  first: number;
  last: number;
  lastHash: string;
  archives: number;
}

export interface RetentionReport {
  removals: Removal[];
  /** Workspaces that were left as they are, with the reason. */
  refused: { workspaceId: string; reason: string }[];
}

/**
 * Archives what is past its retention, and removes it once it was read back. There is no book-keeping beside
 * the events, the archives and the boundaries. If everything dies
 * - while archiving, the next run writes the same archives again, over those of this run;
 * - between the boundary and the removal, the next run finds events before the boundary, finds their
 *   archives sound once more, and removes them.
 * The newest event of a workspace is never removed: its chain goes on from it.
 */
export async function runRetention(options: RetentionOptions): Promise<RetentionReport> {
  const report: RetentionReport = { removals: [], refused: [] };
  const prepared: Prepared[] = [];
  for (const workspace of await options.workspaces()) {
    try {
      requireHeld(options);
      prepared.push(...(await prepare(options, workspace)));
    } catch (error) {
      if (!(error instanceof ImmutableError) || error.code !== 'stream_mismatch') throw error;
      report.refused.push({ workspaceId: workspace.id, reason: error.message });
      await options.onRefused(workspace.id, error);
    }
  }
  const still = new Map((await options.workspaces()).map((workspace) => [workspace.id, workspace]));
  const due = prepared.filter(({ removal, through }) => {
    const from = retainedFrom(still.get(removal.workspaceId), options.nowMs);
    return from !== undefined && from >= through;
  });
  if (due.length === 0) return report;
  await options.store.addBoundaries(due.map(({ boundary }) => boundary));
  for (const { removal } of due) await options.tell(removal);
  requireHeld(options);
  await options.store.remove(due.map(({ removal }) => removal));
  report.removals = due.map(({ removal }) => removal);
  for (const { removal } of due) await requireRemoved(options.store, removal);
  return report;
}

async function requireRemoved(store: RetentionStore, { workspaceId, last }: Removal): Promise<void> {
  const span = await store.span(workspaceId);
  if (span !== undefined && span.first === last + 1) return;
  throw new ImmutableError(
    'internal',
    `After the removal of the events up to ${last} of ${workspaceId}, the oldest is ${span?.first ?? 'none'}.`,
  );
}

/** Archives that are sound, and what may be removed for it. */
interface Prepared {
  removal: Removal;
  boundary: Boundary;
  /** What the retention was when this was prepared: with a longer one, or a hold, it is not due any more. */
  through: number;
}

async function prepare(options: RetentionOptions, workspace: Workspace): Promise<Prepared[]> {
  const { store, nowMs } = options;
  const from = retainedFrom(workspace, nowMs);
  const span = await store.span(workspace.id);
  if (from === undefined || span === undefined) return [];
  const boundary = (await store.boundary(workspace.id)) ?? {
    workspaceId: workspace.id,
    oldestKeptSeq: 1,
    previousHash: '',
  };
  const unfinished = await leftBehind(options, boundary, span.first);
  const expired = Math.min((await store.lastBefore(workspace.id, from)) ?? 0, span.last - 1);
  const through = from;
  if (expired < boundary.oldestKeptSeq) {
    return unfinished === undefined ? [] : [{ removal: unfinished, boundary, through }];
  }
  const range = { workspaceId: workspace.id, first: boundary.oldestKeptSeq, last: expired };
  const before = { seq: boundary.oldestKeptSeq - 1, hash: boundary.previousHash };
  const manifests = await archiveRange(options, range, before);
  await removeSuperseded(
    options,
    range,
    manifests.map((manifest) => manifest.last_seq),
  );
  const lastHash = manifests.at(-1)?.event_hash ?? '';
  const removal: Removal = {
    workspaceId: workspace.id,
    first: unfinished?.first ?? range.first,
    last: range.last,
    lastHash,
    archives: manifests.length,
  };
  const next = { workspaceId: workspace.id, oldestKeptSeq: expired + 1, previousHash: lastHash };
  return [{ removal, boundary: next, through }];
}

/** Events before the boundary: a run ended before it had removed them. Their archives must be sound now. */
async function leftBehind(
  { store, objects }: RetentionOptions,
  { workspaceId, oldestKeptSeq, previousHash }: Boundary,
  firstStored: number,
): Promise<Removal | undefined> {
  if (firstStored >= oldestKeptSeq) return undefined;
  const archives = (await listArchives(objects, workspaceId)).filter(
    ({ first, last }) => last >= firstStored && first < oldestKeptSeq,
  );
  let next = firstStored;
  let hash = '';
  for (const archive of archives) {
    const manifest = await requireSound(objects, archive);
    await requireSame(store, archive, manifest.event_hash);
    if (archive.first <= next) next = archive.last + 1;
    hash = manifest.event_hash;
  }
  if (next !== oldestKeptSeq || hash !== previousHash) {
    throw new ImmutableError(
      'stream_mismatch',
      `Events ${firstStored} to ${oldestKeptSeq - 1} of ${workspaceId} are before the boundary of the retention, and not all in its archives. Nothing of them was removed.`,
      { nextStep: 'Restore the archives of this workspace in the object store.', details: { workspaceId } },
    );
  }
  return {
    workspaceId,
    first: firstStored,
    last: oldestKeptSeq - 1,
    lastHash: hash,
    archives: archives.length,
  };
}

/** The last event of an archive, where it is still stored, is the archived one: not another in its place. */
async function requireSame(store: RetentionStore, { workspaceId, last }: SeqRange, hash: string) {
  for await (const event of store.events({ workspaceId, first: last, last }, undefined, 1)) {
    if (event.event_hash === hash) continue;
    throw new ImmutableError(
      'stream_mismatch',
      `Event ${last} of ${workspaceId} is another one than its archive has. Nothing was removed.`,
      { details: { workspaceId } },
    );
  }
}

/** Archives of a run that ended before its boundary; this one has cut the same events at other places. */
async function removeSuperseded(
  { objects }: RetentionOptions,
  range: SeqRange,
  lasts: readonly number[],
): Promise<void> {
  const firsts = [range.first, ...lasts.map((last) => last + 1)];
  const current = new Set(lasts.map((last, index) => `${firsts[index]}-${last}`));
  for (const name of await listArchives(objects, range.workspaceId)) {
    if (name.first < range.first || name.last > range.last) continue;
    if (current.has(`${name.first}-${name.last}`)) continue;
    const keys = archiveKeys(name);
    await objects.remove([keys.manifest, keys.events]);
  }
}

function requireHeld({ mayGoOn }: RetentionOptions): void {
  if (mayGoOn()) return;
  throw new ImmutableError('conflict', 'Another process runs the retention now; this one has stopped.');
}
