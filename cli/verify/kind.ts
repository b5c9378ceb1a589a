import { existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { ARCHIVE_FORMAT } from '../../core/archive.ts';
import { utf8Decode } from '../../core/bytes.ts';
import { ImmutableError } from '../../core/errors.ts';
import { EXPORT_MANIFEST_VERSION } from '../../core/export.ts';
import { hasTwins, isJsonObject, type JsonObject } from '../../core/json.ts';

/** What a file turned out to be, by what is in it. */
export type Found =
  | { kind: 'evidence'; evidence: JsonObject; hasTwins: boolean }
  | { kind: 'export'; manifest: string; file: string }
  | { kind: 'archive'; manifest: string; file: string };

/** Evidence and manifests are far smaller; what is larger is looked at as rows. */
const MAX_DOCUMENT_BYTES = 16 * 1024 * 1024;
const GZIP = '1f8b';
const EVIDENCE = /^imk-evidence\//;

/**
 * Finds out what the caller gave: evidence, or an export or archive by its file or its manifest. The two stand in
 * one folder, unless `manifestPath` names the latter. Throws `misconfigured` for a file that is not there, or
 * whose other half is not.
 */
export async function findKind(path: string, manifestPath: string | undefined): Promise<Found> {
  const beginning = await readBeginning(path, MAX_DOCUMENT_BYTES + 1);
  if (beginning.subarray(0, 2).toString('hex') === GZIP) {
    const manifest = manifestPath ?? path.replace(/(\.jsonl)?\.gz$/, '.manifest.json');
    return { kind: 'archive', manifest: requireBeside(manifest, path), file: path };
  }
  const document = beginning.length <= MAX_DOCUMENT_BYTES ? parseObject(beginning) : undefined;
  if (typeof document?.format === 'string' && EVIDENCE.test(document.format)) {
    return { kind: 'evidence', evidence: document, hasTwins: hasTwins(beginning.toString('utf8'), document) };
  }
  if (document?.version === EXPORT_MANIFEST_VERSION) {
    return { kind: 'export', manifest: path, file: requireNamed(path, document.file_name) };
  }
  if (document?.format === ARCHIVE_FORMAT) {
    const file = path.replace(/\.manifest\.json$/, '.jsonl.gz');
    return { kind: 'archive', manifest: path, file: requireBeside(file, path) };
  }
  return { kind: 'export', manifest: manifestPath ?? manifestOf(path), file: path };
}

async function readBeginning(path: string, bytes: number): Promise<Buffer> {
  try {
    const file = await open(path, 'r');
    try {
      const { size } = await file.stat();
      const { buffer, bytesRead } = await file.read(Buffer.alloc(Math.min(bytes, size)), 0, undefined, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (cause) {
    const why =
      cause instanceof Error && 'code' in cause && cause.code === 'ENOENT'
        ? 'is not there'
        : 'cannot be read';
    throw new ImmutableError('misconfigured', `The file ${path} ${why}.`, { cause });
  }
}

function parseObject(data: Uint8Array): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(utf8Decode(data) ?? '');
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** A manifest names its file, but not where that stands. */
function requireNamed(manifestPath: string, name: unknown): string {
  const file = typeof name === 'string' ? basename(name) : '';
  return requireBeside(join(dirname(manifestPath), file), manifestPath);
}

function requireBeside(path: string, other: string): string {
  if (existsSync(path)) return path;
  throw new ImmutableError('misconfigured', `${path} is not there, which belongs to ${other}.`, {
    nextStep: 'Put both in one folder, or name the manifest with --manifest.',
  });
}

/** Of a file of rows: beside it, under the name that the download gives it or that of the file. */
function manifestOf(path: string): string {
  const names = [
    `${path}.manifest.json`,
    path.replace(/\.\w+$/, '.manifest.json'),
    join(dirname(path), 'manifest.json'),
  ];
  const found = names.find((name) => name !== path && existsSync(name));
  if (found !== undefined) return found;
  throw new ImmutableError(
    'misconfigured',
    `${path} is no evidence and no manifest. If it is the file of an export, its manifest is missing.`,
    { nextStep: 'Fetch it from the manifest_url of the export, and name it with --manifest.' },
  );
}
