import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { DIST } from './paths.mjs';

/** Runs a compiled program in this process, with `args` as its command line. */
export async function runProgram(path, args) {
  const file = join(DIST, path);
  process.argv = [process.argv[0], file, ...args];
  await import(pathToFileURL(file).href);
}
