import { randomBytes } from 'node:crypto';
import { type Dirent, lstatSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';

/** No key can name it: `~` is not among the letters of a key. */
export const DRAFTS = '~drafts';
/** A writer that cannot be asked whether it lives is taken for dead when its file was silent for this long. */
const SILENT_MS = 3_600_000;

/** Tells this life of the process from an earlier one with the same number, as in a restarted container. */
const life = randomBytes(6).toString('hex');
let made = 0;

/** Where a file may be written that becomes an object once it is whole. */
export function newDraft(root: string): string {
  made += 1;
  return join(root, DRAFTS, `${process.pid}~${life}~${made}~${hostname()}`);
}

/**
 * Removes what writers left that died before their object was whole. What others still write stays:
 * several processes may have the folder open.
 */
export function removeDeadDrafts(root: string, nowMs: number): void {
  const folder = join(root, DRAFTS);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (lstatSync(folder).isSymbolicLink()) throw new Error(`${folder} is a symbolic link`);
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (isDead(folder, entry, nowMs)) rmSync(join(folder, entry.name), { force: true });
  }
}

function isDead(folder: string, entry: Dirent, nowMs: number): boolean {
  if (!entry.isFile()) return false;
  const [pid, itsLife, , ...host] = entry.name.split('~');
  if (host.join('~') === hostname()) {
    if (Number(pid) === process.pid) return itsLife !== life;
    if (!isAlive(Number(pid))) return true;
  }
  const { mtimeMs } = lstatSync(join(folder, entry.name), { throwIfNoEntry: false }) ?? { mtimeMs: nowMs };
  return nowMs - mtimeMs > SILENT_MS;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}
