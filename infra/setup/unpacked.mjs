import { chmodSync, copyFileSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

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
