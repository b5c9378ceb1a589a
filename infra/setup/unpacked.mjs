import { chmodSync, copyFileSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The dynamic loader of Debian's C library and where its libraries are, by Node's name of the processor. */
export const LOADERS = { x64: 'usr/lib64/ld-linux-x86-64.so.2', arm64: 'usr/lib/ld-linux-aarch64.so.1' };
export const LIBRARIES = { x64: 'usr/lib/x86_64-linux-gnu', arm64: 'usr/lib/aarch64-linux-gnu' };

/** Pure: the files in a listing of the dynamic loader: `libz.so.1 => /usr/lib/libz.so.1 (0x7f…)`. */
export function loadedFiles(listing) {
  return [...listing.matchAll(/ => (\/.+) \(0x[0-9a-f]+\)$/gm)].map((match) => match[1]);
}

/**
 * Puts a program into `folder` as `name` with a note of where it came from, all at once: it is either there
 * whole or not at all.
 */
export function installProgram(folder, name, program, origin) {
  const temporary = `${folder}.${process.pid}`;
  rmSync(temporary, { recursive: true, force: true });
  mkdirSync(temporary, { recursive: true });
  copyFileSync(program, join(temporary, name));
  chmodSync(join(temporary, name), 0o755);
  writeFileSync(join(temporary, 'ORIGIN'), `${origin}\n`);
  mkdirSync(dirname(folder), { recursive: true });
  rmSync(folder, { recursive: true, force: true });
  renameSync(temporary, folder);
}
