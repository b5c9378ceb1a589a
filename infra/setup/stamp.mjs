import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * A stamp is a small file that says from what something was made; it is written last, so that what was
 * interrupted has none and is made again.
 */
export function readStamp(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

export function writeStamp(path, content) {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}`;
  writeFileSync(temporary, content);
  renameSync(temporary, path);
}

/**
 * A fingerprint of files: their names, sizes and times of change. Reads no contents, so that a thousand
 * files take a few milliseconds.
 */
export function fingerprint(root, names, isWanted) {
  const hash = createHash('sha256');
  for (const path of names.flatMap((name) => filesBelow(root, name, isWanted)).sort()) {
    const { size, mtimeMs } = statSync(join(root, path));
    hash.update(`${path}\t${size}\t${mtimeMs}\n`);
  }
  return hash.digest('hex');
}

/** Paths, relative to `root`, of the file `name` or of all wanted files in the folder `name`. */
export function filesBelow(root, name, isWanted) {
  const kind = statSync(join(root, name), { throwIfNoEntry: false });
  if (kind === undefined) return [];
  if (kind.isFile()) return isWanted(name) ? [name] : [];
  return readdirSync(join(root, name), { withFileTypes: true }).flatMap((entry) => {
    const path = `${name}/${entry.name}`;
    if (entry.isDirectory()) return filesBelow(root, path, isWanted);
    return entry.isFile() && isWanted(path) ? [path] : [];
  });
}
