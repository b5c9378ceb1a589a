import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname } from 'node:path';

const HEARTBEAT_MS = 2_000;
/** A holder in another container cannot be asked whether it lives; one that is silent this long does not. */
const SILENT_MS = 20_000;
const LOOK_AGAIN_MS = 100;

/**
 * Runs `work` while no other process runs anything under the same lock file. A lock whose process has
 * died is taken over. `onWait` is called once if somebody else holds it.
 */
export async function withLock(path, work, onWait = () => {}) {
  mkdirSync(dirname(path), { recursive: true });
  const mine = `${hostname()} ${process.pid} ${randomUUID()}`;
  let told = false;
  while (!tryLock(path, mine)) {
    if (!told) onWait(readLock(path));
    told = true;
    breakIfDead(path);
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
  }
  const heartbeat = setInterval(() => touch(path), HEARTBEAT_MS);
  const release = () => {
    clearInterval(heartbeat);
    if (readLock(path) === mine) rmSync(path, { force: true });
  };
  process.once('exit', release);
  try {
    return await work();
  } finally {
    process.off('exit', release);
    release();
  }
}

function tryLock(path, content) {
  try {
    writeFileSync(path, content, { flag: 'wx' });
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  }
}

/** Moves a dead holder's lock away; if it turns out to be a newer one, puts it back. */
function breakIfDead(path) {
  const content = readLock(path);
  if (content === undefined || !isDead(path, content)) return;
  const aside = `${path}.${randomUUID()}`;
  try {
    renameSync(path, aside);
  } catch {
    return;
  }
  if (readLock(aside) !== content) {
    try {
      renameSync(aside, path);
      return;
    } catch {
      // Its owner released it meanwhile.
    }
  }
  rmSync(aside, { force: true });
}

function isDead(path, content) {
  const [host, pid] = content.split(' ');
  const silentMs = Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
  if (silentMs > SILENT_MS) return true;
  return host === hostname() && pid !== undefined && !isAlive(Number(pid));
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

function readLock(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function touch(path) {
  const now = new Date();
  try {
    utimesSync(path, now, now);
  } catch {
    // Gone: the folder was removed under us, and whoever did that must know.
  }
}
