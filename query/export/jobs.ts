import { z } from 'zod';
import { recordReader, timestamp } from '../../control/record.ts';
import { isConflict } from '../../control/workspaces.ts';
import { ImmutableError } from '../../core/errors.ts';
import { formatTimestamp, type Micros, parseTimestamp } from '../../core/time.ts';
import type { Logger } from '../../infra/log.ts';
import type { Bucket, Entry } from '../../infra/nats/kv.ts';
import {
  DAY_MS,
  type ExportRecord,
  FILE_DAYS,
  isExportId,
  isUnfinished,
  newExportId,
  readExport,
} from './record.ts';
import type { ExportRequest } from './request.ts';

/** At most so many of a workspace are unfinished, and so many are remembered. */
export const UNFINISHED_AT_MOST = 5;
export const REMEMBERED_AT_MOST = 500;

/** What is held in memory of a job: enough to list, to choose and to sweep. */
export interface Summary {
  id: string;
  workspaceId: string;
  status: ExportRecord['status'];
  createdAt: string;
  expiresAt: string;
  removed: boolean;
  runner: { token: string; instance: string | null } | null;
  revision: number;
  /** When this revision was first seen, by this process's monotonic clock. */
  seenAtMs: number;
}

export interface StoredExport {
  record: ExportRecord;
  revision: number;
}

/** Every export of the installation, in the bucket `exports`. Whatever asks the bucket throws when NATS is away. */
export interface ExportJobs {
  /** Throws `rate_limited` when the workspace has as many as it may. */
  create(workspaceId: string, request: ExportRequest): Promise<ExportRecord>;
  find(id: string): Promise<StoredExport | undefined>;
  /** Resolves to the new revision; throws `conflict` if somebody changed it. */
  update(record: ExportRecord, revision: number): Promise<number>;
  /** As `update`. */
  drop(id: string, revision: number): Promise<void>;
  /** Known to this process, newest first: of one workspace, or all. */
  list(workspaceId?: string): Summary[];
  /** Those that wait or are worked on: few, however many are remembered. */
  unfinished(): Summary[];
  onChange(listener: () => void): void;
  stop(): Promise<void>;
}

const slotsSchema = z.looseObject({
  running: z.array(z.object({ id: z.string(), since: z.string() })),
  last_created_at: z.string(),
});
type Slots = z.infer<typeof slotsSchema>;
const readSlots = recordReader('list of exports', slotsSchema);

/** A slot without a job is of a process that died between the two, or is about to make it. */
const EMPTY_SLOT_MS = 60_000;
const ATTEMPTS = 20;
const BUSY_RETRY_SECONDS = 30;
const FULL_RETRY_SECONDS = 3600;

/** Resolves once every present job is known. */
export async function openExportJobs(
  bucket: Bucket,
  { log, now = Date.now }: { log: Logger; now?: () => number },
): Promise<ExportJobs> {
  const known = new Map<string, Summary>();
  const unfinished = new Map<string, Summary>();
  const listeners: (() => void)[] = [];

  function learn(key: string, entry: Entry | undefined): void {
    if (!isExportId(key)) return;
    if (entry === undefined) known.delete(key);
    else learnEntry(entry);
    const summary = known.get(key);
    if (summary !== undefined && isUnfinished(summary)) unfinished.set(key, summary);
    else unfinished.delete(key);
    for (const listener of listeners) listener();
  }

  function learnEntry(entry: Entry): void {
    const before = known.get(entry.key);
    if (before !== undefined && before.revision >= entry.revision) return;
    try {
      known.set(entry.key, summaryOf(readExport(entry.value), entry.revision));
    } catch (error) {
      // Of a newer version, perhaps: its own processes will care for it.
      log.error({ err: error, export_id: entry.key }, 'an export cannot be read');
    }
  }

  async function find(id: string): Promise<StoredExport | undefined> {
    const entry = isExportId(id) ? await bucket.get(id) : undefined;
    return entry === undefined ? undefined : { record: readExport(entry.value), revision: entry.revision };
  }

  async function create(workspaceId: string, request: ExportRequest): Promise<ExportRecord> {
    if (list(workspaceId).length >= REMEMBERED_AT_MOST) throw tooManyRemembered();
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const record = await takeSlot(workspaceId, request);
      if (record === undefined) continue;
      const revision = await bucket.create(record.id, record);
      learn(record.id, { key: record.id, value: record, revision });
      return record;
    }
    throw new ImmutableError('unavailable', 'Too many ask for an export at this moment.');
  }

  /**
   * First the slot, then the job: what bounds a workspace must not depend on counting what others are just
   * making. Undefined when somebody else was quicker.
   */
  async function takeSlot(workspaceId: string, request: ExportRequest): Promise<ExportRecord | undefined> {
    const key = `slots.${workspaceId}`;
    const entry = await bucket.get(key);
    const slots: Slots = entry === undefined ? NO_SLOTS : readSlots(entry.value);
    const running = slots.running.length < UNFINISHED_AT_MOST ? slots.running : await stillTaken(slots);
    if (running.length >= UNFINISHED_AT_MOST) throw tooManyUnfinished();
    const record = newRecord(workspaceId, request, createdAfter(slots.last_created_at, now()));
    const taken: Slots = {
      running: [...running, { id: record.id, since: timestamp(now()) }],
      last_created_at: record.created_at,
    };
    try {
      if (entry === undefined) await bucket.create(key, taken);
      else await bucket.update(key, taken, entry.revision);
      return record;
    } catch (error) {
      if (isConflict(error)) return undefined;
      throw error;
    }
  }

  async function stillTaken({ running }: Slots): Promise<Slots['running']> {
    const found = await Promise.all(running.map(({ id }) => find(id)));
    return running.filter(({ since }, index) => {
      const job = found[index];
      return job === undefined ? ageMs(since, now()) < EMPTY_SLOT_MS : isUnfinished(job.record);
    });
  }

  function list(workspaceId?: string): Summary[] {
    return [...known.values()]
      .filter((one) => workspaceId === undefined || one.workspaceId === workspaceId)
      .sort(newestFirst);
  }

  const stop = await bucket.watch(learn);
  return {
    create,
    find,
    update: async (record, revision) => {
      const written = await bucket.update(record.id, record, revision);
      learn(record.id, { key: record.id, value: record, revision: written });
      return written;
    },
    drop: (id, revision) => bucket.delete(id, revision),
    list,
    unfinished: () => [...unfinished.values()],
    onChange: (listener) => {
      listeners.push(listener);
    },
    stop,
  };
}

const NO_SLOTS: Slots = { running: [], last_created_at: formatTimestamp(0) };

function newRecord(workspaceId: string, request: ExportRequest, createdAt: Micros): ExportRecord {
  return {
    id: newExportId(),
    workspace_id: workspaceId,
    format: request.format,
    bom: request.bom,
    filters: request.filters,
    status: 'pending',
    created_at: formatTimestamp(createdAt),
    expires_at: formatTimestamp(createdAt + FILE_DAYS * DAY_MS * 1000),
    runner: null,
    beats: 0,
    range: null,
    position: { micros: 0, seq: 0 },
    parts: 0,
    rows: 0,
    bytes: 0,
    first: null,
    last: null,
    failures: 0,
    error_message: null,
    file_size: null,
    sha256: null,
    removed: false,
  };
}

/** No two exports of a workspace share a time: it is what a page of them ends with. */
function createdAfter(last: string, nowMs: number): Micros {
  return Math.max(Math.round(nowMs * 1000), (parseTimestamp(last) ?? 0) + 1);
}

function ageMs(since: string, nowMs: number): number {
  return nowMs - (parseTimestamp(since) ?? 0) / 1000;
}

function summaryOf(record: ExportRecord, revision: number): Summary {
  return {
    id: record.id,
    workspaceId: record.workspace_id,
    status: record.status,
    createdAt: record.created_at,
    expiresAt: record.expires_at,
    removed: record.removed,
    runner: record.runner === null ? null : { token: record.runner.token, instance: record.runner.instance },
    revision,
    seenAtMs: performance.now(),
  };
}

function newestFirst(a: Summary, b: Summary): number {
  if (a.createdAt !== b.createdAt) return a.createdAt < b.createdAt ? 1 : -1;
  return a.id < b.id ? 1 : -1;
}

function tooManyUnfinished(): ImmutableError {
  return new ImmutableError(
    'rate_limited',
    `${UNFINISHED_AT_MOST} exports of this workspace are under way; wait until one has ended.`,
    { retryAfterSeconds: BUSY_RETRY_SECONDS },
  );
}

function tooManyRemembered(): ImmutableError {
  return new ImmutableError(
    'rate_limited',
    `This workspace made ${REMEMBERED_AT_MOST} exports in the last 30 days, which is as many as are kept.`,
    { retryAfterSeconds: FULL_RETRY_SECONDS },
  );
}
