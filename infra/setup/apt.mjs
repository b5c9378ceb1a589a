import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseVersion } from './nats-server.mjs';
import { atLeast } from './node-version.mjs';
import { run } from './run.mjs';
import { installProgram } from './unpacked.mjs';

const PACKAGE = 'nats-server';
const PROGRAM = 'usr/sbin/nats-server';
const KEYRINGS = '/usr/share/keyrings';
const ALLOW_EXPIRED = 'IMMUTABLE_ALLOW_EXPIRED_APT_INDEX';

/**
 * Takes the server from a newer suite of the distribution this machine runs, without root and without
 * changing the system: apt works on lists and a cache of its own in a temporary folder, with the mirror
 * and the signing keys the machine already uses, and the package is unpacked, not installed.
 * Resolves to 'installed' or `{ reason }`.
 */
export async function downloadFromApt({ folder, minimum, versionOf, progress }) {
  const system = readOsRelease();
  const suites = newerSuites(system.ID);
  if (suites.length === 0)
    return { reason: 'this is neither Debian nor Ubuntu, whose package could be used' };
  const archive = archiveOf(await indexTargets(), system.VERSION_CODENAME);
  if (archive === undefined) return { reason: 'apt names no mirror of this distribution' };

  const workspace = mkdtempSync(join(tmpdir(), 'immutable-apt-'));
  // apt downloads as a user of its own, who must be able to reach the folders inside.
  chmodSync(workspace, 0o755);
  try {
    const reasons = [];
    for (const suite of suites) {
      const outcome = await downloadFromSuite({ suite, archive, system, workspace, minimum, progress });
      if (outcome.reason !== undefined) {
        reasons.push(`${suite}: ${outcome.reason}`);
        continue;
      }
      if ((await versionOf(outcome.program)) === undefined) {
        reasons.push(`${suite}: its program does not run on this system`);
        continue;
      }
      installProgram(
        folder,
        PACKAGE,
        outcome.program,
        `${PACKAGE} ${outcome.version} of ${system.ID} ${suite}`,
      );
      return 'installed';
    }
    return { reason: `the newer suites of ${system.ID} do not help (${reasons.join('; ')})` };
  } finally {
    rmSync(workspace, { recursive: true, force: true });
  }
}

/** Pure: suites that may have a newer package than the one the machine runs, best first. */
export function newerSuites(distribution) {
  if (distribution === 'debian') return ['sid', 'testing', 'stable'];
  if (distribution === 'ubuntu') return ['devel'];
  return [];
}

/** What `apt-get indextargets` is asked to print for `archiveOf`. */
export const TARGET_FORMAT = '$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(SIGNED_BY)';

/** Pure: the mirror the machine takes its own release from, and the keys it trusts for it, if it says. */
export function archiveOf(targets, codename) {
  for (const line of targets.split('\n')) {
    const [uri, release, , signedBy] = line.split('|');
    // apt leaves a field it knows nothing about as it is.
    if (codename !== undefined && release === codename)
      return { uri, signedBy: signedBy?.startsWith('/') ? signedBy : undefined };
  }
  return undefined;
}

/** Pure: the one line of the private sources.list. */
export function sourcesLine({ uri, keyrings, suite, component, allowExpired }) {
  const options = [`signed-by=${keyrings.join(',')}`, ...(allowExpired ? ['check-valid-until=no'] : [])];
  return `deb [${options.join(' ')}] ${uri} ${suite} ${component}\n`;
}

/**
 * Pure: an apt configuration that replaces the machine's. Whatever that switches off, signatures and dates
 * are checked here. `inherited` are the lines that say how to reach the network.
 */
export function aptConfig(workspace, inherited) {
  const settings = {
    'Dir::Etc::main': '/dev/null',
    'Dir::Etc::parts': '/dev/null',
    'Dir::Etc::sourcelist': `${workspace}/sources.list`,
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::Etc::preferences': '/dev/null',
    'Dir::Etc::preferencesparts': '/dev/null',
    'Dir::State': `${workspace}/state`,
    'Dir::State::lists': `${workspace}/lists`,
    'Dir::State::status': `${workspace}/status`,
    'Dir::Cache': `${workspace}/cache`,
    'Acquire::Languages': 'none',
    'Acquire::Check-Valid-Until': 'true',
    'Acquire::Check-Date': 'true',
    'Acquire::AllowInsecureRepositories': 'false',
    'Acquire::AllowWeakRepositories': 'false',
    'Acquire::AllowDowngradeToInsecureRepositories': 'false',
    'APT::Get::AllowUnauthenticated': 'false',
  };
  return [...inherited, ...Object.entries(settings).map(([name, value]) => `${name} "${value}";`), ''].join(
    '\n',
  );
}

/** Pure: those lines of `apt-config dump` that say how to reach the network. */
export function networkSettings(dump) {
  return dump.split('\n').filter((line) => /^Acquire::(https?|Retries)\b.*";$/i.test(line));
}

async function downloadFromSuite({ suite, archive, system, workspace, minimum, progress }) {
  const apt = await prepareApt(workspace);
  const line = {
    uri: archive.uri,
    keyrings: keyrings(archive.signedBy),
    suite,
    component: system.ID === 'ubuntu' ? 'universe' : 'main',
    allowExpired: false,
  };
  if (line.keyrings.length === 0) return { reason: `no signing keys in ${KEYRINGS}` };
  const refused = await updateLists(apt, workspace, line, progress);
  if (refused !== undefined) return { reason: refused };

  const version = parseVersion(
    (await apt('apt-cache', ['show', '--no-all-versions', PACKAGE])).stdout.match(/^Version: (.*)$/m)?.[1] ??
      '',
  );
  if (version === undefined) return { reason: `it has no package ${PACKAGE}` };
  if (!atLeast(version, minimum)) return { reason: `it has ${version}` };
  return await downloadPackage(apt, workspace, version);
}

/**
 * Downloads packages of Debian's `suite` and all that they need, and unpacks them, in the same way and as
 * carefully. `use` is called with the folder of their files, which is gone once it has resolved, and with the
 * version of the first. Resolves to what `use` resolves to, or to `{ reason }`.
 */
export async function withUnpackedFromDebian({ suite, names, progress }, use) {
  const system = readOsRelease();
  if (system.ID !== 'debian') return { reason: 'this is not Debian, whose packages could be used' };
  const archive = archiveOf(await indexTargets(), system.VERSION_CODENAME);
  if (archive === undefined) return { reason: 'apt names no mirror of this distribution' };
  const workspace = mkdtempSync(join(tmpdir(), 'immutable-apt-'));
  chmodSync(workspace, 0o755);
  try {
    const apt = await prepareApt(workspace);
    const line = { uri: archive.uri, keyrings: keyrings(archive.signedBy), suite, component: 'main' };
    if (line.keyrings.length === 0) return { reason: `no signing keys in ${KEYRINGS}` };
    const refused = await updateLists(apt, workspace, line, progress);
    if (refused !== undefined) return { reason: refused };
    return await unpackWithDependencies(apt, workspace, names, use);
  } finally {
    rmSync(workspace, { recursive: true, force: true });
  }
}

async function unpackWithDependencies(apt, workspace, names, use) {
  // No package counts as installed here, so that all they need is downloaded, the C library included.
  const options = ['--yes', '--download-only', '--no-install-recommends'];
  const download = await apt('apt-get', ['install', ...options, ...names]);
  if (download.code !== 0) return { reason: lastLine(download.output) };
  const archives = join(workspace, 'cache/archives');
  const files = readdirSync(archives).filter((file) => file.endsWith('.deb'));
  const unpacked = join(workspace, 'unpacked');
  for (const file of files) {
    const unpack = await run('dpkg-deb', ['--extract', join(archives, file), unpacked]);
    if (unpack.code !== 0) return { reason: lastLine(unpack.output) };
  }
  const version =
    files.find((file) => file.startsWith(`${names[0]}_`))?.split('_')[1] ?? 'of unknown version';
  return await use(unpacked, decodeURIComponent(version));
}

async function prepareApt(workspace) {
  for (const name of ['state', 'lists/partial', 'cache/archives/partial'])
    mkdirSync(join(workspace, name), { recursive: true });
  writeFileSync(join(workspace, 'status'), '');
  const config = join(workspace, 'apt.conf');
  const inherited = networkSettings((await run('apt-config', ['dump'])).stdout);
  writeFileSync(config, aptConfig(workspace, inherited));
  return (command, args, options = {}) =>
    run(command, args, { cwd: workspace, env: { APT_CONFIG: config, LC_ALL: 'C' }, ...options });
}

/** Resolves to why the suite's index cannot be used, or to undefined. */
async function updateLists(apt, workspace, line, progress) {
  const update = async (allowExpired) => {
    writeFileSync(join(workspace, 'sources.list'), sourcesLine({ ...line, allowExpired }));
    return await apt('apt-get', ['update', '--error-on=any']);
  };
  const strict = await update(false);
  if (strict.code === 0) return undefined;
  if (!isExpired(strict.output)) return lastLine(strict.output);
  if (process.env[ALLOW_EXPIRED] !== '1') {
    return `its package index is past its date, so it may hide security updates; ${ALLOW_EXPIRED}=1 accepts it for this download`;
  }
  progress.note(
    `Warning: the package index of ${line.suite} is past its date; used all the same because of ${ALLOW_EXPIRED}=1.`,
  );
  const relaxed = await update(true);
  return relaxed.code === 0 ? undefined : lastLine(relaxed.output);
}

/** Pure. */
export function isExpired(aptOutput) {
  return /Release file for .* is expired/.test(aptOutput);
}

async function downloadPackage(apt, workspace, version) {
  const download = await apt('apt-get', ['download', PACKAGE]);
  const file = readdirSync(workspace).find((name) => name.startsWith(`${PACKAGE}_`) && name.endsWith('.deb'));
  if (download.code !== 0 || file === undefined) return { reason: lastLine(download.output) };
  const unpacked = join(workspace, 'unpacked');
  const unpack = await run('dpkg-deb', ['--extract', join(workspace, file), unpacked]);
  if (unpack.code !== 0) return { reason: lastLine(unpack.output) };
  return { program: join(unpacked, PROGRAM), version };
}

async function indexTargets() {
  // Without --no-release-info apt is silent where its lists were deleted, as in container images.
  return (await run('apt-get', ['indextargets', '--no-release-info', '--format', TARGET_FORMAT])).stdout;
}

/** The keys named for the mirror, and the distribution's own: a newer suite may be signed with a newer one. */
function keyrings(signedBy) {
  const present = existsSync(KEYRINGS) ? readdirSync(KEYRINGS) : [];
  const own = present
    .filter((name) => /^(debian|ubuntu)-archive-((?!removed).)*\.(gpg|pgp)$/.test(name))
    .map((name) => join(KEYRINGS, name));
  return [...new Set([...(signedBy?.split(',') ?? []), ...own])];
}

function readOsRelease() {
  try {
    return parseOsRelease(readFileSync('/etc/os-release', 'utf8'));
  } catch {
    return {};
  }
}

/** Pure: `/etc/os-release` as an object. */
export function parseOsRelease(text) {
  return Object.fromEntries(
    text
      .split('\n')
      .filter((line) => line.includes('='))
      .map((line) => [
        line.slice(0, line.indexOf('=')),
        line.slice(line.indexOf('=') + 1).replace(/^"|"$/g, ''),
      ]),
  );
}

function lastLine(output) {
  return (
    output
      .trim()
      .split('\n')
      .findLast((line) => /^(E|W):/.test(line)) ??
    output.trim().split('\n').at(-1) ??
    'apt failed'
  );
}
