import { createHash, type Hash } from 'node:crypto';
import { ImmutableError } from '../../core/errors.ts';
import type { Micros } from '../../core/time.ts';
import { createGathering, type Gathering } from '../../infra/http/gathering.ts';
import type { Logger } from '../../infra/log.ts';
import type { ObjectStore } from '../../infra/object-store/types.ts';
import type { CoverageOf } from '../proofs/coverage.ts';
import { beginningOf, CSV_COLUMNS, EVIDENCE_COLUMNS, type Extent, type Format } from './format.ts';
import type { HeldJob } from './held.ts';
import { inOrder } from './in-order.ts';
import { manifestText } from './manifest.ts';
import type { ExportMetrics } from './metrics.ts';
import { type Footer, joinedFooter, metadataBytes, TRAILER_BYTES } from './parquet.ts';
import { isFiltered } from './plan.ts';
import { type ExportRecord, filterOf, keysOf, type RowEnd } from './record.ts';
import type { ExportSource, NextPart } from './source.ts';

export interface MakerDeps {
  source: ExportSource;
  store: ObjectStore;
  extents: Readonly<Record<Format, Extent>>;
  coverageOf: CoverageOf;
  metrics: ExportMetrics;
  log: Logger;
}

/** Nothing that is tried again will make this export; the message is for who asked for it. */
export class UnmakableError extends Error {}

/** Parts that are read while one is stored: with three an export is about a third faster than with two. */
const READ_AHEAD = 3;
/** A single event may make a part larger than what is meant for one, but never this large. */
const MOST_PART_BYTES = 1024 ** 3;
/** The next part is looked for within so many times what the one before took of the chain. */
const GUESSED_SPANS = 3;
/** Hashed at a time, so that whatever else this process does has its turns. */
const HASHED_BYTES = 256 * 1024;

/**
 * Brings a job to its end from wherever it stands. Every step may be taken again: a part is stored before
 * the record says so, under a name that depends only on its place, and holds what lies between two places
 * in the chain; the file is made whole or not at all. So whoever takes over after a crash at any line makes
 * the same bytes.
 */
export async function makeExport(job: HeldJob, deps: MakerDeps): Promise<void> {
  if (job.record.error_message !== null) return await clearUp(job, deps);
  const running = new RunningHash();
  if (job.record.range === null) await begin(job, deps, running);
  else running.unknown();
  await storeParts(job, deps, running);
  await finish(job, deps, running);
}

/** Fixes what the export covers: events that arrive from now on are no part of it. */
async function begin(job: HeldJob, { source, store }: MakerDeps, running: RunningHash): Promise<void> {
  const { record } = job;
  const filter = filterOf(record);
  const range = await source.span(record.workspace_id, filter);
  const beginning = Buffer.from(beginningOf(record.format, record));
  if (beginning.length > 0) await store.put(keysOf(record).part(0), beginning);
  await running.add(beginning);
  await job.save({
    range: { ...range },
    position: { micros: Math.max(0, (filter.from ?? 1) - 1), seq: Math.max(0, range.first_seq - 1) },
    parts: beginning.length > 0 ? 1 : 0,
    bytes: beginning.length,
  });
}

// --- Parts -----------------------------------------------------------------------------------------

interface PlannedPart extends NextPart {
  after: Micros;
}

interface Piece extends PlannedPart {
  /** Empty when nothing matched. */
  bytes: Buffer;
  /** Where they are. */
  memory: Gathering;
}

async function storeParts(job: HeldJob, deps: MakerDeps, running: RunningHash): Promise<void> {
  const { store, metrics } = deps;
  const leaving = new AbortController();
  const signal = AbortSignal.any([job.signal, leaving.signal]);
  // Of parts that are stored, for those that come: new memory for each would cost more than what is done with it.
  const free: Gathering[] = [];
  const pieces = inOrder(plannedParts(job, deps), READ_AHEAD, (part) =>
    readPart(job.record, part, deps, free.pop() ?? createGathering(MOST_PART_BYTES), signal),
  );
  try {
    for await (const piece of pieces) {
      job.signal.throwIfAborted();
      const { record } = job;
      if (!isFiltered(filterOf(record))) requireContiguous(record, piece);
      if (piece.plan.rows > 0) {
        const stored = store.put(keysOf(record).part(record.parts), piece.bytes);
        await Promise.all([stored, running.add(piece.bytes)]);
      }
      await job.save(after(record, piece));
      metrics.stored(piece.plan.rows, piece.bytes.length);
      free.push(piece.memory);
    }
  } finally {
    leaving.abort();
  }
  requireWhole(job.record);
}

async function* plannedParts({ record, signal }: HeldJob, deps: MakerDeps): AsyncGenerator<PlannedPart> {
  const through = record.range?.last_micros ?? 0;
  const filter = filterOf(record);
  let after = record.position.micros;
  let guess = through;
  while (after < through) {
    signal.throwIfAborted();
    const extent = deps.extents[record.format];
    const next = await deps.source.plan(record.workspace_id, filter, { after, through }, extent, guess);
    yield { ...next, after };
    guess = next.through + GUESSED_SPANS * (next.through - after);
    after = next.through;
  }
}

async function readPart(
  record: ExportRecord,
  part: PlannedPart,
  { source }: MakerDeps,
  memory: Gathering,
  signal: AbortSignal,
): Promise<Piece> {
  memory.empty();
  if (part.plan.rows === 0) return { ...part, memory, bytes: memory.whole() };
  const { workspace_id, format } = record;
  const rows = await source.rows(workspace_id, filterOf(record), part, format, memory, signal);
  if (rows !== part.plan.rows) {
    throw new ImmutableError('internal', 'The events changed while they were read.', {
      details: { planned: part.plan.rows, read: rows },
    });
  }
  return { ...part, memory, bytes: memory.whole() };
}

function after(record: ExportRecord, { plan, bytes, through, throughSeq }: Piece): Partial<ExportRecord> {
  const position = { micros: through, seq: Math.max(record.position.seq, throughSeq) };
  if (plan.rows === 0) return { position };
  return {
    position,
    parts: record.parts + 1,
    rows: record.rows + plan.rows,
    bytes: record.bytes + bytes.length,
    first: record.first ?? rowEnd(plan.first_seq, plan.first_hash, plan.first_previous_hash),
    last: rowEnd(plan.last_seq, plan.last_hash, plan.last_previous_hash),
    failures: 0,
  };
}

function rowEnd(seq: number, hash: string, previousHash: string): RowEnd {
  return { seq, event_hash: hash, previous_event_hash: previousHash === '' ? null : previousHash };
}

/** Without filters the file is said to be complete, so it must be. */
function requireContiguous(record: ExportRecord, { plan }: Piece): void {
  const expected = (record.last?.seq ?? (record.range?.first_seq ?? 1) - 1) + 1;
  if (plan.rows > 0 && plan.first_seq === expected && plan.last_seq - plan.first_seq + 1 === plan.rows)
    return;
  const isGapBefore = plan.rows === 0 || plan.first_seq !== expected;
  throw incomplete(expected, isGapBefore ? Math.max(expected, plan.first_seq) : plan.last_seq);
}

function requireWhole(record: ExportRecord): void {
  const { range } = record;
  if (isFiltered(filterOf(record)) || range === null || range.last_seq === 0) return;
  if (record.last?.seq !== range.last_seq)
    throw incomplete(record.last?.seq ?? range.first_seq, range.last_seq);
}

function incomplete(from: number, to: number): UnmakableError {
  return new UnmakableError(
    `Events between seq ${from} and ${to} are missing or stand twice, so the export would not be complete. ` +
      'If retention removed them meanwhile, ask for the export again; else see what GET /verify says.',
  );
}

// --- The file --------------------------------------------------------------------------------------

async function finish(job: HeldJob, deps: MakerDeps, running: RunningHash): Promise<void> {
  const { store } = deps;
  const keys = keysOf(job.record);
  // It is made in one step, so if there is one it is whole, and the parts may be gone already.
  if ((await store.stat(keys.file)) === undefined) await makeFile(job, deps, running);
  job.signal.throwIfAborted();
  const { parts } = job.record;
  await store.remove([...Array.from({ length: parts }, (_, index) => keys.part(index)), keys.footer]);
  const file = { bytes: await sizeOf(store, keys.file), sha256: await hashOf(store, keys.file, running) };
  const { workspace_id, last } = job.record;
  const coverage = last === null ? null : await deps.coverageOf(workspace_id, last.seq, job.signal);
  const manifest = manifestText(job.record, file, columnsOf(job.record.format), coverage);
  await store.put(keys.manifest, Buffer.from(manifest));
  await job.save({ status: 'completed', file_size: file.bytes, sha256: file.sha256, runner: null });
}

async function makeFile(job: HeldJob, deps: MakerDeps, running: RunningHash): Promise<void> {
  const { source, store } = deps;
  const keys = keysOf(job.record);
  const { format, workspace_id } = job.record;
  if (job.record.parts === 0 && format === 'parquet') {
    // Even without rows it is a file with columns.
    const nothing = { after: 0, through: 0 };
    const memory = createGathering(MOST_PART_BYTES);
    await source.rows(workspace_id, filterOf(job.record), nothing, format, memory, job.signal);
    await store.put(keys.file, memory.whole());
    await running.add(memory.whole());
    return;
  }
  if (job.record.parts === 0) return await store.put(keys.file, Buffer.alloc(0));
  const parts = Array.from({ length: job.record.parts }, (_, index) => keys.part(index));
  const footer = format === 'parquet' && parts.length > 1 ? await footerOf(store, parts) : undefined;
  if (footer !== undefined) {
    await store.put(keys.footer, footer);
    await running.add(footer);
  }
  await store.compose(keys.file, footer === undefined ? parts : [...parts, keys.footer]);
  const bytes = await sizeOf(store, keys.file);
  const expected = job.record.bytes + (footer?.length ?? 0);
  if (bytes !== expected) {
    await store.remove([keys.file]);
    throw new ImmutableError('internal', 'The file has another length than its parts.', {
      details: { bytes, expected },
    });
  }
}

async function footerOf(store: ObjectStore, parts: readonly string[]): Promise<Buffer> {
  const footers: Footer[] = [];
  let offset = 0;
  for (const part of parts) {
    const end = await sizeOf(store, part);
    const trailer = await readRange(store, part, end - TRAILER_BYTES, end);
    const start = end - TRAILER_BYTES - metadataBytes(trailer);
    footers.push({ bytes: await readRange(store, part, start, end), offset });
    offset += end;
  }
  return joinedFooter(footers);
}

async function readRange(store: ObjectStore, key: string, start: number, end: number): Promise<Buffer> {
  const stream = await store.read(key, { start, end });
  if (stream === undefined) throw missing(key);
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function sizeOf(store: ObjectStore, key: string): Promise<number> {
  const found = await store.stat(key);
  if (found === undefined) throw missing(key);
  return found.bytes;
}

function missing(key: string): ImmutableError {
  return new ImmutableError('internal', 'A part of the export is gone from the object store.', {
    details: { key },
  });
}

/** Of what was stored, if this process stored all of it; else what is there is read once. */
async function hashOf(store: ObjectStore, key: string, running: RunningHash): Promise<string> {
  const known = running.digest();
  if (known !== undefined) return known;
  const hash = createHash('sha256');
  const stream = await store.read(key);
  if (stream === undefined) throw missing(key);
  for await (const chunk of stream) hash.update(chunk);
  return hash.digest('hex');
}

/** SHA-256 of the file as it comes to be. */
class RunningHash {
  #hash: Hash | undefined = createHash('sha256');

  /** Somebody else stored what came before. */
  unknown(): void {
    this.#hash = undefined;
  }

  async add(bytes: Buffer): Promise<void> {
    for (let from = 0; from < bytes.length && this.#hash !== undefined; from += HASHED_BYTES) {
      this.#hash.update(bytes.subarray(from, from + HASHED_BYTES));
      await new Promise(setImmediate);
    }
  }

  digest(): string | undefined {
    const hex = this.#hash?.digest('hex');
    this.#hash = undefined;
    return hex;
  }
}

function columnsOf(format: Format): readonly string[] {
  return format === 'csv' ? CSV_COLUMNS : [...CSV_COLUMNS, ...EVIDENCE_COLUMNS];
}

// --- The end of one that cannot be made ------------------------------------------------------------

async function clearUp(job: HeldJob, { store, log }: MakerDeps): Promise<void> {
  try {
    await removeObjects(store, keysOf(job.record).folder);
  } catch (error) {
    // What is left is removed with what has expired.
    log.warn({ err: error, export_id: job.record.id }, 'the parts of a failed export could not be removed');
  }
  await job.save({ status: 'failed', runner: null });
}

/** Everything under `folder`, some at a time. */
export async function removeObjects(store: ObjectStore, folder: string): Promise<void> {
  let keys: string[] = [];
  for await (const { key } of store.list(folder)) {
    keys.push(key);
    if (keys.length === REMOVED_AT_ONCE) {
      await store.remove(keys);
      keys = [];
    }
  }
  if (keys.length > 0) await store.remove(keys);
}

const REMOVED_AT_ONCE = 500;
