import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { downloadFromApt } from './apt.mjs';
import { SetupFailure } from './failure.mjs';
import { atLeast } from './node-version.mjs';
import { PRIVATE } from './paths.mjs';
import { downloadRelease } from './release.mjs';
import { run } from './run.mjs';

/** The oldest server that stores an atomic batch with about one fsync; older ones ignore batches in silence. */
export const MINIMUM_NATS = '2.15.0';

const FOLDER = join(PRIVATE, 'nats-server');
const INSTALLED = join(FOLDER, 'nats-server');

/** A NATS server: one that is there, else from a newer Debian or Ubuntu suite, else the official release. */
export const natsServer = {
  title: 'NATS server',

  async isDone() {
    const named = process.env.IMMUTABLE_NATS_SERVER_BIN;
    if (named !== undefined && named !== '') return await requireNewEnough(named);
    for (const path of [...onPath(process.env.PATH), INSTALLED].filter((candidate) =>
      existsSync(candidate),
    )) {
      const version = await versionOf(path);
      if (version !== undefined && atLeast(version, MINIMUM_NATS)) return true;
    }
    return false;
  },

  async make(progress) {
    const reasons = [];
    for (const source of [downloadFromApt, downloadRelease]) {
      const outcome = await source({ folder: FOLDER, minimum: MINIMUM_NATS, versionOf, progress });
      if (outcome === 'installed') return;
      reasons.push(outcome.reason);
    }
    throw new SetupFailure(
      `No NATS server ${MINIMUM_NATS} or newer is here, and none could be installed:\n${reasons.map((reason) => `  - ${reason}`).join('\n')}`,
      HOW_TO_GET_ONE,
    );
  },
};

const HOW_TO_GET_ONE = `Do one of these, then start again:
  - macOS or Linux with Homebrew:  brew install nats-server
  - any system: unpack a release of https://github.com/nats-io/nats-server/releases and put it on PATH, or set IMMUTABLE_NATS_SERVER_BIN to its path
  - use a server that runs elsewhere, also in a container, with \`jetstream { sync_interval: always }\`: set IMMUTABLE_NATS_URL and IMMUTABLE_NATS_MONITOR_URL`;

/** `x.y.z`, or undefined when the program does not run here. */
export async function versionOf(path) {
  const { code, stdout } = await run(path, ['--version']);
  return code === 0 ? parseVersion(stdout) : undefined;
}

/** Pure: `nats-server: v2.15.1-RC.2` → `2.15.1`. Also reads the version of a Debian package. */
export function parseVersion(text) {
  return /(\d+\.\d+\.\d+)/.exec(text)?.[1];
}

function onPath(path = '') {
  return path
    .split(delimiter)
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, 'nats-server'));
}

async function requireNewEnough(path) {
  const version = await versionOf(path);
  if (version === undefined)
    throw new SetupFailure(
      `IMMUTABLE_NATS_SERVER_BIN: ${path} does not run as a NATS server.`,
      'Correct the setting, or unset it and start again.',
    );
  if (!atLeast(version, MINIMUM_NATS)) {
    throw new SetupFailure(
      `IMMUTABLE_NATS_SERVER_BIN: ${path} is version ${version}; ${MINIMUM_NATS} or newer is needed.`,
      'Name a newer one, or unset the setting and start again.',
    );
  }
  return true;
}
