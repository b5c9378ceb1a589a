import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { cpus, loadavg, platform, release, totalmem } from 'node:os';
import { findNatsServer } from '../../infra/nats/server.ts';

/** What a figure depends on beside the code. */
export interface Machine {
  cpu: string;
  cores: number;
  memoryGiB: number;
  system: string;
  /** Of the minute before the run: what else the machine was doing. */
  loadBefore: number;
}

export interface Versions {
  immutable: string;
  node: string;
  nats: string;
  chdb: string;
}

export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 1024 ** 3),
    system: `${platform()} ${release()}`,
    loadBefore: loadavg()[0] ?? 0,
  };
}

export async function describeVersions(): Promise<Versions> {
  return {
    immutable: gitVersion(),
    node: process.versions.node,
    nats: (await findNatsServer({ natsServerBin: process.env.IMMUTABLE_NATS_SERVER_BIN })).version,
    chdb: packageVersion('chdb'),
  };
}

/** `--dirty`: a figure of uncommitted code must say so. */
function gitVersion(): string {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty', '--tags'], { encoding: 'utf8' }).trim();
  } catch {
    return 'unknown';
  }
}

function packageVersion(name: string): string {
  const manifest: unknown = createRequire(import.meta.url)(`${name}/package.json`);
  const version =
    typeof manifest === 'object' && manifest !== null && 'version' in manifest && manifest.version;
  return typeof version === 'string' ? version : 'unknown';
}
