import { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { withUnpackedFromDebian } from './apt.mjs';
import { withLock } from './lock.mjs';
import { PRIVATE } from './paths.mjs';
import { run } from './run.mjs';
import { LIBRARIES, LOADERS, loadedFiles } from './unpacked.mjs';

/** How `npm test` tells test/support/requirements.ts why there is none. */
export const NO_S3_SERVER_VARIABLE = 'TEST_NO_S3_SERVER';

/** Ceph 18.2. */
const SUITE = 'trixie';
const PACKAGES = ['radosgw', 'ceph-mon', 'ceph-osd'];
const PROGRAMS = ['radosgw', 'radosgw-admin', 'ceph-mon', 'ceph-osd', 'monmaptool', 'osdmaptool'];
/** What the storage server loads by name: the operations that the gateway asks it for. */
const CLASSES = 'rados-classes';
const FOLDER = join(PRIVATE, 'radosgw');
const LOCK = join(PRIVATE, 'radosgw.lock');

/**
 * Makes sure there is an S3 server for the tests of the object store: Ceph's gateway and the storage below
 * it, with every library they need down to the C library, so that they run on a Debian older than their own.
 * Started by their own dynamic loader, they need no root and no change of the system.
 * Resolves to why there is none, or to undefined.
 */
export async function ensureRadosgw(progress) {
  if (isInstalled()) return undefined;
  if (process.platform !== 'linux' || LOADERS[process.arch] === undefined)
    return 'Ceph is taken from Debian, for x64 and arm64 only';
  return await withLock(LOCK, async () => {
    if (isInstalled()) return undefined;
    const outcome = await progress.step('S3 server for the tests', () =>
      withUnpackedFromDebian({ suite: SUITE, names: PACKAGES, progress }, install),
    );
    return outcome === 'installed' ? undefined : outcome.reason;
  });
}

function isInstalled() {
  return existsSync(join(FOLDER, 'ORIGIN'));
}

/** Of the packages only what is loaded: a third of them, there whole or not at all. */
async function install(unpacked, version) {
  const temporary = `${FOLDER}.${process.pid}`;
  rmSync(temporary, { recursive: true, force: true });
  try {
    for (const folder of ['lib', CLASSES]) mkdirSync(join(temporary, folder), { recursive: true });
    copyFileSync(join(unpacked, LOADERS[process.arch]), join(temporary, 'ld.so'));
    for (const name of PROGRAMS)
      await copyWithLibraries(unpacked, join(unpacked, 'usr/bin', name), temporary, name);
    for (const path of classesIn(join(unpacked, LIBRARIES[process.arch], CLASSES)))
      await copyWithLibraries(unpacked, path, temporary, join(CLASSES, basename(path)));
    const [loader, libraries] = [join(temporary, 'ld.so'), join(temporary, 'lib')];
    const trial = await run(loader, ['--library-path', libraries, join(temporary, 'radosgw'), '--version']);
    if (trial.code !== 0) return { reason: 'radosgw does not run on this system' };
    writeFileSync(join(temporary, 'ORIGIN'), `radosgw ${version} of debian ${SUITE}\n`);
    rmSync(FOLDER, { recursive: true, force: true });
    renameSync(temporary, FOLDER);
    return 'installed';
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

/** The plain names; beside each stand links to it with its version. */
function classesIn(folder) {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.so'))
    .map((name) => join(folder, name));
}

async function copyWithLibraries(unpacked, path, target, name) {
  const library = join(unpacked, LIBRARIES[process.arch]);
  const loader = join(unpacked, LOADERS[process.arch]);
  const searched = `${library}:${join(library, 'ceph')}`;
  const { stdout } = await run(loader, ['--library-path', searched, '--list', path]);
  copyFileSync(path, join(target, name));
  for (const file of loadedFiles(stdout)) copyFileSync(file, join(target, 'lib', basename(file)));
}
