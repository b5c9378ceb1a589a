import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { withUnpackedFromDebian } from './apt.mjs';
import { withLock } from './lock.mjs';
import { PRIVATE } from './paths.mjs';
import { run } from './run.mjs';
import { LIBRARIES, LOADERS, loadedFiles } from './unpacked.mjs';

/** How `npm test` tells test/support/requirements.ts why there is none. */
export const NO_SPREADSHEET_VARIABLE = 'TEST_NO_SPREADSHEET';

/** LibreOffice 25.2. */
const SUITE = 'trixie';
const PACKAGES = ['libreoffice-calc-nogui'];
const OFFICE = 'usr/lib/libreoffice';
const FOLDER = join(PRIVATE, 'libreoffice');
const LOCK = join(PRIVATE, 'libreoffice.lock');

/**
 * Makes sure there is a spreadsheet program for the test that opens an export: LibreOffice Calc without a
 * surface, with every library it needs down to the C library. Started by its own dynamic loader, it needs no
 * root and no change of the system.
 * Resolves to why there is none, or to undefined.
 */
export async function ensureLibreOffice(progress) {
  if (isInstalled()) return undefined;
  if (process.platform !== 'linux' || LOADERS[process.arch] === undefined)
    return 'LibreOffice is taken from Debian, for x64 and arm64 only';
  return await withLock(LOCK, async () => {
    if (isInstalled()) return undefined;
    const outcome = await progress.step('spreadsheet program for the tests', () =>
      withUnpackedFromDebian({ suite: SUITE, names: PACKAGES, progress }, install),
    );
    return outcome === 'installed' ? undefined : outcome.reason;
  });
}

function isInstalled() {
  return existsSync(join(FOLDER, 'ORIGIN'));
}

/** There whole or not at all. */
async function install(unpacked, version) {
  const temporary = `${FOLDER}.${process.pid}`;
  rmSync(temporary, { recursive: true, force: true });
  try {
    mkdirSync(join(temporary, 'lib'), { recursive: true });
    copyFileSync(join(unpacked, LOADERS[process.arch]), join(temporary, 'ld.so'));
    for (const folder of ['presets', 'program', 'share'])
      cpSync(join(unpacked, OFFICE, folder), join(temporary, folder), {
        recursive: true,
        verbatimSymlinks: true,
      });
    await copyLibraries(unpacked, temporary);
    makeMovable(temporary);
    const trial = await run(join(temporary, 'ld.so'), [
      '--library-path',
      `${join(temporary, 'program')}:${join(temporary, 'lib')}`,
      join(temporary, 'program', 'soffice.bin'),
      '--version',
    ]);
    if (trial.code !== 0) return { reason: 'LibreOffice does not run on this system' };
    writeFileSync(join(temporary, 'ORIGIN'), `LibreOffice ${version} of debian ${SUITE}\n`);
    rmSync(FOLDER, { recursive: true, force: true });
    renameSync(temporary, FOLDER);
    return 'installed';
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

/** Of the system's libraries those that the program, or a part of it that is loaded by name, is linked with. */
async function copyLibraries(unpacked, target) {
  const program = join(unpacked, OFFICE, 'program');
  const searched = `${program}:${join(unpacked, LIBRARIES[process.arch])}`;
  const loaded = new Set();
  for (const name of readdirSync(program).filter((file) => /\.so(\.|$)|^soffice\.bin$/.test(file))) {
    const listing = await run(join(unpacked, LOADERS[process.arch]), [
      '--library-path',
      searched,
      '--list',
      join(program, name),
    ]);
    for (const file of loadedFiles(listing.stdout)) loaded.add(file);
  }
  for (const file of loaded)
    if (!file.startsWith(program)) copyFileSync(file, join(target, 'lib', basename(file)));
}

/** Debian's package knows where it stands, and has its settings in /etc, put there when it is installed. */
function makeMovable(folder) {
  const settings = join(folder, 'program', 'fundamentalrc');
  const text = readFileSync(settings, 'utf8');
  // biome-ignore lint/suspicious/noTemplateCurlyInString: LibreOffice's own placeholder, which stands for the file's folder
  writeFileSync(settings, text.replace(/^BRAND_BASE_DIR=.*$/m, 'BRAND_BASE_DIR=${ORIGIN}/..'));
  const registry = join(folder, 'share', 'registry', 'main.xcd');
  rmSync(registry);
  copyFileSync(join(folder, 'share', '.registry', 'main.xcd'), registry);
}
