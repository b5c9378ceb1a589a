import { copyFileSync, cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { run } from './run.mjs';
import { ensureTestProgram } from './test-program.mjs';
import { LIBRARIES, LOADERS, loadedFiles } from './unpacked.mjs';

/** How `npm test` tells test/support/requirements.ts why there is none. */
export const NO_SPREADSHEET_VARIABLE = 'TEST_NO_SPREADSHEET';

const OFFICE = 'usr/lib/libreoffice';

/** The spreadsheet program for the test that opens an export: LibreOffice Calc 25.2 without a surface. */
export function ensureLibreOffice(progress) {
  return ensureTestProgram(
    {
      name: 'libreoffice',
      title: 'spreadsheet program for the tests',
      what: 'LibreOffice',
      suite: 'trixie',
      packages: ['libreoffice-calc-nogui'],
      fill: copyOffice,
      trial: (folder) => [
        '--library-path',
        `${join(folder, 'program')}:${join(folder, 'lib')}`,
        join(folder, 'program', 'soffice.bin'),
        '--version',
      ],
    },
    progress,
  );
}

async function copyOffice(unpacked, target) {
  for (const folder of ['presets', 'program', 'share'])
    cpSync(join(unpacked, OFFICE, folder), join(target, folder), {
      recursive: true,
      verbatimSymlinks: true,
    });
  await copyLibraries(unpacked, target);
  makeMovable(target);
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
