import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from './run.mjs';
import { installProgram } from './unpacked.mjs';

const VERSION = '2.15.1';
const RELEASES = 'https://github.com/nats-io/nats-server/releases/download';
const TIMEOUT_MS = 300_000;

/**
 * SHA-256 of the official archives `nats-server-v<VERSION>-<platform>.tar.gz`, each checked by a person
 * against a second source before it is entered here. The list of checksums that lies beside the archives is
 * no such source: whoever could change one could change the other. A platform without an entry is not
 * downloaded.
 */
const CHECKSUMS = {};

/** Takes the server from the official release. Resolves to 'installed' or `{ reason }`. */
export async function downloadRelease({ folder, versionOf, checksums = CHECKSUMS, releases = RELEASES }) {
  const platform = platformName(process.platform, process.arch);
  const expected = checksums[platform];
  if (expected === undefined) {
    return {
      reason: `the official release is not downloaded for ${platform}: no checksum is pinned for it in infra/setup/release.mjs`,
    };
  }
  const name = `nats-server-v${VERSION}-${platform}`;
  const archive = await fetchArchive(`${releases}/v${VERSION}/${name}.tar.gz`);
  if (archive.reason !== undefined) return archive;
  const actual = createHash('sha256').update(archive.bytes).digest('hex');
  if (actual !== expected)
    return {
      reason: `the official release ${name} has the checksum ${actual} instead of ${expected}, so it was thrown away`,
    };
  return await unpack(archive.bytes, name, folder, versionOf);
}

/** Pure: as the release names it. */
export function platformName(platform, arch) {
  return `${platform}-${{ x64: 'amd64', arm: 'arm7', ia32: '386' }[arch] ?? arch}`;
}

async function fetchArchive(url) {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (!response.ok) return { reason: `the official release answers ${response.status}` };
    return { bytes: new Uint8Array(await response.arrayBuffer()) };
  } catch (error) {
    return { reason: `the official release cannot be downloaded (${error.cause?.message ?? error.message})` };
  }
}

async function unpack(bytes, name, folder, versionOf) {
  const workspace = mkdtempSync(join(tmpdir(), 'immutable-release-'));
  try {
    writeFileSync(join(workspace, 'archive.tar.gz'), bytes);
    const { code } = await run('tar', ['-xzf', 'archive.tar.gz'], { cwd: workspace });
    const program = join(workspace, name, 'nats-server');
    if (code !== 0 || (await versionOf(program)) === undefined)
      return { reason: 'the official release does not run on this system' };
    installProgram(folder, 'nats-server', program, `${name} of the official release`);
    return 'installed';
  } finally {
    rmSync(workspace, { recursive: true, force: true });
  }
}
