import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { SetupFailure } from './failure.mjs';
import { MODULES, ROOT } from './paths.mjs';
import { run } from './run.mjs';
import { readStamp, writeStamp } from './stamp.mjs';

/** Which Node the packages were installed for: some bring a binary for exactly that. */
const STAMP = join(MODULES, '.immutable-installed-for');
const RUNTIME = `${process.platform}-${process.arch}-node${process.versions.modules}`;

/** npm packages, exactly those of package-lock.json. */
export const packages = {
  title: 'npm packages',

  isDone() {
    const installedFor = readStamp(STAMP);
    if (installedFor !== undefined && installedFor !== RUNTIME) return false;
    return installsEverything(
      readJson(join(ROOT, 'package-lock.json')),
      readJson(join(MODULES, '.package-lock.json')),
    );
  },

  async make() {
    const [command, ...prefix] = npmCommand(process.env);
    // NODE_ENV=production would leave out the compiler.
    const { code, output } = await run(
      command,
      [...prefix, 'ci', '--include=dev', '--no-audit', '--no-fund'],
      { cwd: ROOT },
    );
    if (code === 127) {
      throw new SetupFailure(
        'npm was not found.',
        'Install it (it comes with Node from https://nodejs.org), then start again.',
      );
    }
    if (code !== 0) {
      throw new SetupFailure(
        'npm could not install the packages.',
        'See above; a missing network or a full disk are the usual causes. Then start again.',
        { output },
      );
    }
    writeStamp(STAMP, RUNTIME);
  },
};

/**
 * Pure: true when every package that the lock file requires is installed in its version, going by the
 * record npm keeps of what it installed. Optional ones depend on the machine and are not counted.
 */
export function installsEverything(lock, installed) {
  if (lock === undefined || installed === undefined) return false;
  return Object.entries(lock.packages).every(
    ([path, wanted]) =>
      path === '' ||
      wanted.optional === true ||
      wanted.devOptional === true ||
      installed.packages[path]?.version === wanted.version,
  );
}

/** Under `npm start` npm says where it is; else it is on PATH. */
export function npmCommand(env) {
  const running = env.npm_execpath;
  return running !== undefined && basename(running) === 'npm-cli.js' ? [process.execPath, running] : ['npm'];
}

function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}
