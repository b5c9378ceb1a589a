import { constants, mkdirSync, realpathSync } from 'node:fs';
import {
  type FileHandle,
  lstat,
  mkdir,
  open,
  readdir,
  realpath,
  rename,
  rmdir,
  unlink,
} from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { ImmutableError } from '../../core/errors.ts';
import { DRAFTS, newDraft, removeDeadDrafts } from './drafts.ts';
import { checkKey, checkPrefix, checkRange, isSegment } from './keys.ts';
import type { ObjectStore } from './types.ts';

const COPY_BUFFER_BYTES = 1024 ** 2;
const READ_BUFFER_BYTES = 256 * 1024;
/** How often a folder may vanish, because a `remove` emptied it, before the file is in it. */
const MAX_FOLDER_ATTEMPTS = 20;

type StoredObject = { key: string; bytes: number; modifiedAtMs: number };

/**
 * Objects as files below `folder`, which is made if it is not there; only this user may read them. An object
 * is written elsewhere first and then moved to its place, so a crash leaves the old one or the new one, and
 * at most a draft that the next opening removes. Symbolic links below `folder` are neither followed nor
 * listed. A key cannot be both an object and a folder of others: the second comer is refused (`conflict`).
 *
 * Throws `misconfigured` when the folder cannot be used.
 */
export function directoryStore(folder: string): ObjectStore {
  const root = openRoot(folder);
  return {
    put: (key, bytes) => translated(() => put(root, key, bytes)),
    compose: (key, sources) => translated(() => compose(root, key, sources)),
    read: (key, range) => translated(() => read(root, key, range)),
    stat: (key) => translated(() => stat(root, key)),
    remove: (keys) => translated(() => remove(root, keys)),
    list: (prefix) => list(root, prefix),
    presignedUrl: async (key) => {
      checkKey(key);
      return undefined;
    },
  };
}

function openRoot(folder: string): string {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const root = realpathSync(folder);
    removeDeadDrafts(root, Date.now());
    return root;
  } catch (cause) {
    throw new ImmutableError('misconfigured', `The folder of the object store, ${folder}, cannot be used.`, {
      nextStep: 'Make it a folder that this user may write to.',
      cause,
    });
  }
}

async function put(root: string, key: string, bytes: Uint8Array): Promise<void> {
  checkKey(key);
  await store(root, key, (file) => file.writeFile(bytes));
}

async function compose(root: string, key: string, sources: readonly string[]): Promise<void> {
  checkKey(key);
  for (const source of sources) checkKey(source);
  await store(root, key, async (file) => {
    const buffer = Buffer.allocUnsafe(COPY_BUFFER_BYTES);
    for (const source of sources) await append(root, source, file, buffer);
  });
}

/** The steps that make an object durable, and there whole or not at all. */
async function store(root: string, key: string, write: (file: FileHandle) => Promise<void>): Promise<void> {
  const draft = newDraft(root);
  try {
    await writeDraft(draft, write);
    await moveIntoPlace(root, draft, key);
  } catch (error) {
    await unlink(draft).catch(ignoreMissing);
    throw error;
  }
  await syncFoldersUpTo(root, dirname(join(root, key)));
}

async function writeDraft(draft: string, write: (file: FileHandle) => Promise<void>): Promise<void> {
  const file = await open(draft, 'wx', 0o600);
  try {
    await write(file);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function moveIntoPlace(root: string, draft: string, key: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await makeFoldersFor(root, key);
      // Replaces a symbolic link rather than following it.
      return await rename(draft, join(root, key));
    } catch (error) {
      if (codeOf(error) !== 'ENOENT' || attempt === MAX_FOLDER_ATTEMPTS) throw error;
    }
  }
}

async function makeFoldersFor(root: string, key: string): Promise<void> {
  let path = root;
  for (const segment of key.split('/').slice(0, -1)) {
    path = join(path, segment);
    await mkdir(path, { mode: 0o700 }).catch((error: unknown) => {
      if (codeOf(error) !== 'EEXIST') throw error;
    });
    const found = await lstat(path);
    if (found.isSymbolicLink()) throw linkRefused(path);
    if (!found.isDirectory()) throw conflict();
  }
}

/** All of them each time: a process that died may have made one and not come to syncing it. */
async function syncFoldersUpTo(root: string, folder: string): Promise<void> {
  for (let path = folder; path !== root; path = dirname(path)) await syncFolder(path);
  await syncFolder(root);
}

/** A folder that is gone was emptied by a `remove`, which came after and syncs its own doing. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r').catch(ignoreMissing);
  try {
    await folder?.sync();
  } finally {
    await folder?.close();
  }
}

async function append(root: string, source: string, target: FileHandle, buffer: Buffer): Promise<void> {
  const file = await openObject(root, source);
  if (file === undefined) {
    throw new ImmutableError('not_found', `The object ${source} is not there, so nothing can be made of it.`);
  }
  try {
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, null);
      if (bytesRead === 0) return;
      await target.writeFile(buffer.subarray(0, bytesRead));
    }
  } finally {
    await file.close();
  }
}

async function read(
  root: string,
  key: string,
  range: { start: number; end?: number } | undefined,
): Promise<Readable | undefined> {
  checkKey(key);
  checkRange(range);
  const file = await openObject(root, key);
  if (file === undefined) return undefined;
  return streamOf(file, range?.start ?? 0, range?.end ?? Number.POSITIVE_INFINITY);
}

function streamOf(file: FileHandle, start: number, end: number): Readable {
  let position = start;
  async function nextChunk(): Promise<Buffer | null> {
    const wanted = Math.min(READ_BUFFER_BYTES, end - position);
    if (wanted === 0) return null;
    const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(wanted), 0, wanted, position);
    position += bytesRead;
    return bytesRead === 0 ? null : buffer.subarray(0, bytesRead);
  }
  return new Readable({
    highWaterMark: READ_BUFFER_BYTES,
    read() {
      nextChunk().then(
        (chunk) => this.push(chunk),
        (error: unknown) => this.destroy(asError(translate(error))),
      );
    },
    destroy(error, done) {
      file.close().then(() => done(error), done);
    },
  });
}

/** Undefined when there is none. The caller closes it. */
async function openObject(root: string, key: string): Promise<FileHandle | undefined> {
  const path = join(root, key);
  return await unlessMissing(root, async () => {
    await refuseLinkedFolder(dirname(path));
    const found = await lstat(path);
    if (found.isSymbolicLink()) throw linkRefused(path);
    // Anything else could be waited for without end, such as a pipe.
    return found.isFile() ? await open(path, constants.O_RDONLY | constants.O_NOFOLLOW) : undefined;
  });
}

async function stat(root: string, key: string): Promise<{ bytes: number } | undefined> {
  checkKey(key);
  const path = join(root, key);
  return await unlessMissing(root, async () => {
    await refuseLinkedFolder(dirname(path));
    const found = await lstat(path);
    return found.isFile() ? { bytes: found.size } : undefined;
  });
}

async function remove(root: string, keys: readonly string[]): Promise<void> {
  for (const key of keys) checkKey(key);
  for (const key of keys) await removeOne(root, join(root, key));
  const folders = new Set(keys.map((key) => dirname(join(root, key))));
  for (const folder of folders) await syncFolder(await removeEmptyFolders(root, folder));
}

async function removeOne(root: string, path: string): Promise<void> {
  await unlessMissing(root, async () => {
    await refuseLinkedFolder(dirname(path));
    if ((await lstat(path)).isFile()) await unlink(path);
  });
}

/** Resolves to the lowest folder that stays. */
async function removeEmptyFolders(root: string, folder: string): Promise<string> {
  for (let path = folder; path !== root; path = dirname(path)) {
    try {
      await rmdir(path);
    } catch (error) {
      if (!isMissing(error)) return path;
    }
  }
  return root;
}

async function* list(root: string, prefix: string): AsyncGenerator<StoredObject> {
  checkPrefix(prefix);
  try {
    yield* listFolder(root, prefix.slice(0, prefix.lastIndexOf('/') + 1), prefix);
  } catch (error) {
    throw translate(error);
  }
}

/** In the order of the keys' bytes, as S3 lists. `folder` is empty or ends with a slash. */
async function* listFolder(root: string, folder: string, prefix: string): AsyncGenerator<StoredObject> {
  for (const name of await sortedEntries(root, folder)) {
    const key = `${folder}${name}`;
    // Of a folder, the key it is compared by ends with a slash.
    if (!key.startsWith(prefix.slice(0, key.length))) continue;
    if (key.endsWith('/')) {
      yield* listFolder(root, key, prefix);
    } else if (key.startsWith(prefix)) {
      const found = await lstat(join(root, key)).catch(ignoreMissing);
      if (found?.isFile()) yield { key, bytes: found.size, modifiedAtMs: found.mtimeMs };
    }
  }
}

/** Names of files, and of folders with a slash, which is what orders them among the files. */
async function sortedEntries(root: string, folder: string): Promise<string[]> {
  const path = resolve(root, folder);
  const entries = await unlessMissing(root, async () => {
    await refuseLinkedFolder(path);
    return await readdir(path, { withFileTypes: true });
  });
  return (entries ?? [])
    .filter((entry) => (entry.isFile() || entry.isDirectory()) && isSegment(entry.name))
    .map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name))
    .sort((a, b) => (a < b ? -1 : 1));
}

/**
 * Undefined where `work` finds no such file. The folder of drafts is there as long as the store is: without
 * it the disk is probably not mounted, and nothing can be said of any object.
 */
async function unlessMissing<T>(root: string, work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (!isMissing(error)) throw error;
    await lstat(join(root, DRAFTS));
    return undefined;
  }
}

/** A link inside the store could lead anywhere on the disk. */
async function refuseLinkedFolder(folder: string): Promise<void> {
  if ((await realpath(folder)) !== folder) throw linkRefused(folder);
}

function linkRefused(path: string): ImmutableError {
  return new ImmutableError(
    'misconfigured',
    `${path} is, or is reached through, a symbolic link, which the object store does not follow.`,
    { nextStep: 'Put a folder or file in its place.' },
  );
}

function conflict(cause?: unknown): ImmutableError {
  return new ImmutableError('conflict', 'One key of the object store cannot be a folder of another.', {
    cause,
  });
}

async function translated<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw translate(error);
  }
}

function translate(error: unknown): unknown {
  const code = codeOf(error);
  switch (code) {
    case undefined:
      return error;
    case 'EISDIR':
    case 'ENOTDIR':
    case 'ENOTEMPTY':
    case 'EEXIST':
      return conflict(error);
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new ImmutableError(
        'misconfigured',
        `The object store's folder cannot be written or read (${code}).`,
        {
          nextStep: 'Give this user the right to read and write it.',
          cause: error,
        },
      );
    case 'ENOSPC':
    case 'EDQUOT':
      return new ImmutableError('unavailable', 'The disk of the object store is full.', {
        nextStep: 'Free some space.',
        cause: error,
      });
    default:
      return new ImmutableError('unavailable', `The object store's folder failed (${code}).`, {
        cause: error,
      });
  }
}

function ignoreMissing(error: unknown): undefined {
  if (!isMissing(error)) throw error;
}

function isMissing(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'ENOENT' || code === 'ENOTDIR';
}

/** Of an error of the operating system; what else is thrown here is ours. */
function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('syscall' in error) || !('code' in error)) return undefined;
  return String(error.code);
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
