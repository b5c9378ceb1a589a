import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { SetupFailure } from './failure.mjs';
import { DIST, MODULES, ROOT } from './paths.mjs';
import { run } from './run.mjs';
import { filesBelow, fingerprint, readStamp, writeStamp } from './stamp.mjs';

/** What runs beside the compiled code and is not compiled. */
const COPIED = ['infra/clickhouse/migrations', 'anchor/contract'];
const SETTINGS = ['tsconfig.json', 'tsconfig.build.json', 'package-lock.json', 'infra/setup/compile.mjs'];

const STAMP = join(DIST, '.built-from');
const LINK = join(MODULES, '.bin', 'immutable');
const PROGRAM = join(DIST, 'cli', 'main.js');

/** TypeScript to `dist`, and the `npx immutable` command. */
export const compilation = {
  title: 'build',

  isDone() {
    return readStamp(STAMP) === presentState() && existsSync(LINK);
  },

  async make() {
    // Without a stamp, what an interrupted build leaves behind is never taken for complete.
    rmSync(STAMP, { force: true });
    const state = presentState();
    await compile();
    copyFiles();
    removeStale();
    linkCommand();
    writeStamp(STAMP, state);
  },
};

function presentState() {
  const isSource = (path) => path.endsWith('.ts') && !path.endsWith('.test.ts');
  return [
    fingerprint(ROOT, sourceFolders(), isSource),
    fingerprint(ROOT, COPIED, () => true),
    fingerprint(ROOT, SETTINGS, () => true),
  ].join('\n');
}

function sourceFolders() {
  return JSON.parse(readFileSync(join(ROOT, 'tsconfig.build.json'), 'utf8')).include;
}

async function compile() {
  const compiler = join(MODULES, 'typescript', 'bin', 'tsc');
  const { code, output } = await run(process.execPath, [compiler, '-p', 'tsconfig.build.json'], {
    cwd: ROOT,
  });
  if (code !== 0) throw new SetupFailure('The sources do not compile.', 'See above.', { output });
}

function copyFiles() {
  for (const folder of COPIED) {
    if (existsSync(join(ROOT, folder))) cpSync(join(ROOT, folder), join(DIST, folder), { recursive: true });
  }
}

/** Code whose source was removed must not be found by an import any more. */
function removeStale() {
  for (const path of filesBelow(ROOT, 'dist', (name) => /\.js(\.map)?$/.test(name))) {
    const source = path.replace(/^dist\//, '').replace(/\.js(\.map)?$/, '.ts');
    if (!existsSync(join(ROOT, source))) rmSync(join(ROOT, path));
  }
  for (const folder of COPIED) {
    for (const path of filesBelow(DIST, folder, () => true)) {
      if (!existsSync(join(ROOT, path))) rmSync(join(DIST, path));
    }
  }
}

function linkCommand() {
  if (!existsSync(PROGRAM)) return;
  chmodSync(PROGRAM, 0o755);
  mkdirSync(dirname(LINK), { recursive: true });
  rmSync(LINK, { force: true });
  symlinkSync(join('..', '..', 'dist', 'cli', 'main.js'), LINK);
}
