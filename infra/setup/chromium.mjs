import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { DIST } from './paths.mjs';
import { run } from './run.mjs';

/**
 * Makes sure there is a browser for the browser suite. Debian's is installed when this runs as root, as in a
 * container; anybody else is not asked for their password: the suite is then skipped.
 * Resolves to why there is none, or to undefined.
 */
export async function ensureChromium(progress) {
  const { findChromium } = await import(pathToFileURL(join(DIST, 'test/support/chromium.js')).href);
  if (findChromium() !== undefined) return undefined;
  if (!existsSync('/etc/debian_version'))
    return 'no chromium on PATH; install one or set IMMUTABLE_CHROMIUM_BIN';
  if (process.getuid?.() !== 0)
    return 'no chromium on PATH, and only root can install it (apt-get install chromium)';
  const installed = await progress.step('chromium', installChromium);
  return installed && findChromium() !== undefined ? undefined : 'apt-get could not install chromium';
}

async function installChromium() {
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  const install = () => run('apt-get', ['install', '--yes', '--no-install-recommends', 'chromium'], { env });
  if ((await install()).code === 0) return true;
  await run('apt-get', ['update'], { env });
  return (await install()).code === 0;
}
