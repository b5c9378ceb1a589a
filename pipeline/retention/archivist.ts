import { createHash } from 'node:crypto';
import { isDeepStrictEqual, promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { ARCHIVE_FORMAT, type ArchivedEvent, type ArchiveManifest, archiveLine } from '../../core/archive.ts';
import { ImmutableError } from '../../core/errors.ts';
import { type Micros, parseTimestamp } from '../../core/time.ts';
import type { ObjectStore } from '../../infra/object-store/types.ts';
import { type ArchiveName, archiveKeys, checkArchive, readManifest } from './archives.ts';
import { isSignedEvent, type SignedLog, type SignedPlace } from './signed-log.ts';
import type { RetentionStore, SeqRange } from './store.ts';

const compress = promisify(gzip);

/** What is held in memory at a time, uncompressed. */
export interface ArchiveLimits {
  rows: number;
  bytes: number;
}

export const ARCHIVE_LIMITS: ArchiveLimits = { rows: 50_000, bytes: 64 * 1024 * 1024 };

/** Where a chain was left: the next event must follow it. */
export interface ChainEnd {
  seq: number;
  hash: string;
}

export interface ArchivistOptions {
  store: Pick<RetentionStore, 'events'>;
  objects: ObjectStore;
  signed: SignedLog;
  limits?: ArchiveLimits | undefined;
  onArchive?: ((manifest: ArchiveManifest) => void) | undefined;
}

/**
 * Writes a range of a workspace's events as archives, each with the signed checkpoint of its last event, and reads each back. What is in them has then been
 * recomputed from the bytes in the object store: hashes, links, numbers. Every event of the range must be
 * there, the first following `before`; otherwise `stream_mismatch`, and whatever was written stands for nothing.
 */
export async function archiveRange(
  options: ArchivistOptions,
  range: SeqRange,
  before: ChainEnd,
): Promise<ArchiveManifest[]> {
  const { store, limits = ARCHIVE_LIMITS } = options;
  const manifests: ArchiveManifest[] = [];
  let end = before;
  let after: Micros | undefined;
  while (end.seq < range.last) {
    const events = await readSome(store.events({ ...range, first: end.seq + 1 }, after, limits.rows), limits);
    const manifest = await archive(options, range, end, events);
    manifests.push(manifest);
    options.onArchive?.(manifest);
    end = { seq: manifest.last_seq, hash: manifest.event_hash };
    after = parseTimestamp(manifest.last_created_at) ?? undefined;
  }
  return manifests;
}

async function readSome(events: AsyncIterable<ArchivedEvent>, limits: ArchiveLimits) {
  const read: ArchivedEvent[] = [];
  let bytes = 0;
  for await (const event of events) {
    read.push(event);
    bytes += event.body.length + event.private.length;
    if (read.length >= limits.rows || bytes >= limits.bytes) break;
  }
  return read;
}

async function archive(
  { objects, signed }: ArchivistOptions,
  range: SeqRange,
  before: ChainEnd,
  events: readonly ArchivedEvent[],
): Promise<ArchiveManifest> {
  const [first, last] = [events[0], events.at(-1)];
  if (first === undefined || last === undefined) {
    throw broken(range, `event ${before.seq + 1} is missing`);
  }
  const place = await signedPlaceOf(signed, range, last);
  const file = await compress(`${events.map(archiveLine).join('\n')}\n`);
  const manifest: ArchiveManifest = {
    format: ARCHIVE_FORMAT,
    workspace_id: range.workspaceId,
    first_seq: before.seq + 1,
    last_seq: last.seq,
    rows: events.length,
    first_created_at: first.created_at,
    last_created_at: last.created_at,
    previous_event_hash: before.hash,
    event_hash: last.event_hash,
    file_bytes: file.length,
    file_sha256: createHash('sha256').update(file).digest('hex'),
    ...place,
  };
  const keys = archiveKeys(nameOf(manifest));
  await objects.put(keys.events, file);
  await objects.put(keys.manifest, Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`));
  await requireSound(objects, nameOf(manifest), manifest);
  return manifest;
}

/**
 * An archive outlives the events, and with them whatever could tell that they were changed before: what leaves the
 * store must be what was signed. By its links the last event speaks for all of them.
 */
async function signedPlaceOf(signed: SignedLog, range: SeqRange, last: ArchivedEvent): Promise<SignedPlace> {
  const place = await signed.placeOf(range.workspaceId, last.seq);
  if (place === null) {
    throw new ImmutableError(
      'stream_mismatch',
      `Events ${range.first} to ${range.last} of ${range.workspaceId} are not archived: no checkpoint has event ${last.seq} yet.`,
      { nextStep: 'See whether the tree stage runs and has no alarm.', details: { ...range } },
    );
  }
  if (isSignedEvent(signed, range.workspaceId, last, place)) return place;
  throw broken(range, `event ${last.seq} is not the one that was signed in its place`);
}

/** Reads an archive and its manifest from where they are kept now; the manifest must be `expected`, if told. */
export async function requireSound(
  objects: ObjectStore,
  name: ArchiveName,
  expected?: ArchiveManifest,
): Promise<ArchiveManifest> {
  const manifest = await readManifest(objects, name);
  const key = archiveKeys(name).events;
  const content = await objects.read(key);
  const range = { workspaceId: name.workspaceId, first: name.first, last: name.last };
  if (content === undefined) throw broken(range, `${key} is not in the object store`);
  const { valid, problems } = await checkArchive(content, manifest);
  if (expected !== undefined && !isDeepStrictEqual(manifest, expected)) {
    throw broken(range, 'the manifest was changed while it was written');
  }
  if (valid) return manifest;
  const [problem] = problems;
  const where = problem?.seq === undefined ? '' : ` at event ${problem.seq}`;
  throw broken(range, `the check "${problem?.check}" fails${where}: ${problem?.detail}`);
}

function nameOf(manifest: ArchiveManifest): ArchiveName {
  return { workspaceId: manifest.workspace_id, first: manifest.first_seq, last: manifest.last_seq };
}

function broken({ workspaceId, first, last }: SeqRange, why: string): ImmutableError {
  return new ImmutableError(
    'stream_mismatch',
    `Events ${first} to ${last} of ${workspaceId} cannot be archived: ${why}. Nothing of them was removed.`,
    {
      nextStep: 'Run `GET /verify` for this workspace: stored events were changed or are missing.',
      details: { workspaceId },
    },
  );
}
