import { copyFileSync, mkdirSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { run } from './run.mjs';
import { ensureTestProgram } from './test-program.mjs';
import { LIBRARIES, LOADERS, loadedFiles } from './unpacked.mjs';

/** How `npm test` tells test/support/requirements.ts why there is none. */
export const NO_S3_SERVER_VARIABLE = 'TEST_NO_S3_SERVER';

const PROGRAMS = ['radosgw', 'radosgw-admin', 'ceph-mon', 'ceph-osd', 'monmaptool', 'osdmaptool'];
/** What the storage server loads by name: the operations that the gateway asks it for. */
const CLASSES = 'rados-classes';

/** The S3 server for the tests of the object store: Ceph's gateway and the storage below it, 18.2. */
export function ensureRadosgw(progress) {
  return ensureTestProgram(
    {
      name: 'radosgw',
      title: 'S3 server for the tests',
      what: 'Ceph',
      suite: 'trixie',
      packages: ['radosgw', 'ceph-mon', 'ceph-osd'],
      fill: copyCeph,
      trial: (folder) => ['--library-path', join(folder, 'lib'), join(folder, 'radosgw'), '--version'],
    },
    progress,
  );
}

/** Of the packages only what is loaded: a third of them. */
async function copyCeph(unpacked, target) {
  mkdirSync(join(target, CLASSES), { recursive: true });
  for (const name of PROGRAMS)
    await copyWithLibraries(unpacked, join(unpacked, 'usr/bin', name), target, name);
  for (const path of classesIn(join(unpacked, LIBRARIES[process.arch], CLASSES)))
    await copyWithLibraries(unpacked, path, target, join(CLASSES, basename(path)));
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
