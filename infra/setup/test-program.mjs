import { copyFileSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { withUnpackedFromDebian } from './apt.mjs';
import { withLock } from './lock.mjs';
import { PRIVATE } from './paths.mjs';
import { run } from './run.mjs';
import { LOADERS } from './unpacked.mjs';

/**
 * Makes sure of a program that only tests use, of a Debian newer than the machine's own may be: taken from its packages with
 * every library it needs down to the C library, and started by its own dynamic loader (`ld.so`), it needs no root
 * and no change of the system. It is in its folder whole or not at all. Resolves to why there is none, or to undefined.
 *
 * `fill(unpacked, target)` copies what is loaded out of the unpacked packages, libraries into `target/lib`;
 * `trial(target)` gives the arguments of the loader for a start that does nothing.
 */
export async function ensureTestProgram({ name, title, what, suite, packages, fill, trial }, progress) {
  const folder = join(PRIVATE, name);
  const isInstalled = () => existsSync(join(folder, 'ORIGIN'));
  if (isInstalled()) return undefined;
  if (process.platform !== 'linux' || LOADERS[process.arch] === undefined)
    return `${what} is taken from Debian, for x64 and arm64 only`;

  async function install(unpacked, version) {
    const temporary = `${folder}.${process.pid}`;
    rmSync(temporary, { recursive: true, force: true });
    try {
      mkdirSync(join(temporary, 'lib'), { recursive: true });
      const loader = join(temporary, 'ld.so');
      copyFileSync(join(unpacked, LOADERS[process.arch]), loader);
      await fill(unpacked, temporary);
      const tried = await run(loader, trial(temporary));
      if (tried.code !== 0) return { reason: `${what} does not run on this system` };
      writeFileSync(join(temporary, 'ORIGIN'), `${what} ${version} of debian ${suite}\n`);
      rmSync(folder, { recursive: true, force: true });
      renameSync(temporary, folder);
      return 'installed';
    } finally {
      rmSync(temporary, { recursive: true, force: true });
    }
  }

  return await withLock(`${folder}.lock`, async () => {
    if (isInstalled()) return undefined;
    const outcome = await progress.step(title, () =>
      withUnpackedFromDebian({ suite, names: packages, progress }, install),
    );
    return outcome === 'installed' ? undefined : outcome.reason;
  });
}
