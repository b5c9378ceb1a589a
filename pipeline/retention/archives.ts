import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { finished } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import {
  type ArchivedEvent,
  type ArchiveManifest,
  type ArchiveReport,
  createArchiveChecker,
  parseArchiveManifest,
} from '../../core/archive.ts';
import { ImmutableError } from '../../core/errors.ts';
import { nativeHasher } from '../../infra/hash.ts';
import type { ObjectStore } from '../../infra/object-store/types.ts';

const FOLDER = 'archives';
const EVENTS = '.jsonl.gz';
const MANIFEST = '.manifest.json';
const DIGITS = 15;

/** An archive in the object store, by what its name says. */
export interface ArchiveName {
  workspaceId: string;
  first: number;
  last: number;
}

/** The objects of an archive. Names sort in the order of the chain. */
export function archiveKeys({ workspaceId, first, last }: ArchiveName): { events: string; manifest: string } {
  const [from, to] = [first, last].map((seq) => String(seq).padStart(DIGITS, '0'));
  const name = `${FOLDER}/${workspaceId}/${from}-${to}`;
  return { events: `${name}${EVENTS}`, manifest: `${name}${MANIFEST}` };
}

const MANIFEST_KEY = /^archives\/(ws_[0-9a-f]{16})\/(\d+)-(\d+)\.manifest\.json$/;

/** Archives that have a manifest, in the order of the chain; of every workspace unless one is named. */
export async function listArchives(objects: ObjectStore, workspaceId?: string): Promise<ArchiveName[]> {
  const found: ArchiveName[] = [];
  const prefix = workspaceId === undefined ? `${FOLDER}/` : `${FOLDER}/${workspaceId}/`;
  for await (const { key } of objects.list(prefix)) {
    const match = MANIFEST_KEY.exec(key);
    if (match === null) continue;
    const [, workspace = '', first, last] = match;
    found.push({ workspaceId: workspace, first: Number(first), last: Number(last) });
  }
  return found.sort(byPlace);
}

function byPlace(a: ArchiveName, b: ArchiveName): number {
  if (a.workspaceId !== b.workspaceId) return a.workspaceId < b.workspaceId ? -1 : 1;
  return a.first - b.first;
}

/** Throws `not_found` for an archive without a manifest, `validation_failed` for one that cannot be read. */
export async function readManifest(objects: ObjectStore, name: ArchiveName): Promise<ArchiveManifest> {
  const key = archiveKeys(name).manifest;
  const content = await objects.read(key);
  if (content === undefined) throw new ImmutableError('not_found', `There is no archive ${key}.`);
  return parseArchiveManifest(await text(content));
}

/**
 * Reads an archive from its bytes, event by event, and compares all of it with its manifest. `onEvent` hears of
 * an event before the whole was found to be sound.
 */
export async function checkArchive(
  content: Readable,
  manifest: ArchiveManifest,
  onEvent: (event: ArchivedEvent) => void | Promise<void> = () => {},
): Promise<ArchiveReport> {
  const checker = createArchiveChecker(manifest, nativeHasher);
  const digest = createHash('sha256');
  let bytes = 0;
  content.on('data', (chunk: Buffer) => {
    digest.update(chunk);
    bytes += chunk.length;
  });
  const unzipped = createGunzip();
  content.once('error', (error) => unzipped.destroy(error));
  content.pipe(unzipped);
  let damage: string | undefined;
  let lines = 0;
  try {
    for await (const line of linesOf(unzipped)) {
      lines += 1;
      if (lines > manifest.rows + MAX_SURPLUS_LINES)
        throw new TooMuch('there are far more lines than events');
      const event = checker.line(line);
      if (event !== undefined) await onEvent(event);
    }
  } catch (error) {
    if (!isDamage(error)) throw error;
    damage = error.message;
    unzipped.destroy();
    // To its end, for its size and digest.
    if (!content.readableEnded) await finished(content.resume());
  } finally {
    content.destroy();
  }
  const report = checker.end({ bytes, sha256: digest.digest('hex') });
  if (damage === undefined) return report;
  const problem = { check: 'file' as const, detail: `it cannot be unpacked: ${damage}` };
  const failed = [...new Set([...report.failed, problem.check])];
  return { ...report, valid: false, failed, problems: [...report.problems, problem] };
}

/** An event takes 256 KiB of text; escaped and with all around it, far less than this. */
const MAX_LINE_BYTES = 8 * 1024 * 1024;

/** So many more than the manifest says are still told one by one. */
const MAX_SURPLUS_LINES = 1000;

/** A few compressed bytes can stand for any number of others. */
class TooMuch extends Error {}

/** Lines end with a line feed alone: an event's text may hold other things that elsewhere end a line. */
async function* linesOf(stream: Readable): AsyncGenerator<string> {
  let rest: Buffer[] = [];
  let restBytes = 0;
  for await (const chunk of stream) {
    if (!Buffer.isBuffer(chunk)) continue;
    let from = 0;
    for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, from)) {
      yield Buffer.concat([...rest, chunk.subarray(from, at)]).toString('utf8');
      rest = [];
      restBytes = 0;
      from = at + 1;
    }
    if (from < chunk.length) rest.push(chunk.subarray(from));
    restBytes += chunk.length - from;
    if (restBytes > MAX_LINE_BYTES) throw new TooMuch('a line is longer than any event');
  }
  if (rest.length > 0) yield Buffer.concat(rest).toString('utf8');
}

/** What zlib says of bytes that are no gzip, or not all of it. */
function isDamage(error: unknown): error is Error {
  if (error instanceof TooMuch) return true;
  return error instanceof Error && 'code' in error && String(error.code).startsWith('Z_');
}
