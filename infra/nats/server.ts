import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { ImmutableError } from '../../core/errors.ts';
import { type ChildSpec, ENGINE_ENVIRONMENT } from '../process/spec.ts';
import { EMBEDDED_USER } from './names.ts';
import { atLeastVersion, MINIMUM_NATS_VERSION, natsVersion } from './version.ts';

const run = promisify(execFile);

/** Well above a message of EVENTS (512 KiB) with its headers. */
const MAX_PAYLOAD_BYTES = 2 * 1024 * 1024;

/**
 * The streams' own limits add up to less than the store limit. The server compares each single change of a
 * limit with what the others reserve at that moment, so it needs room to take a lower one at all.
 */
const STORE_HEADROOM = 8;
const DEFAULT_STORE_LIMIT_BYTES = 64 * 1024 ** 3;

export interface NatsServerBinary {
  path: string;
  /** `x.y.z` */
  version: string;
}

/**
 * The NATS server program to run: the one the setting names, else the first on PATH that is new enough,
 * else the one the set-up put into the project's folder. Throws `misconfigured` saying what was found.
 */
export async function findNatsServer(
  config: { natsServerBin?: string | undefined } = {},
): Promise<NatsServerBinary> {
  if (config.natsServerBin !== undefined) {
    return requireNewEnough(config.natsServerBin, await versionOf(config.natsServerBin));
  }
  const tooOld: string[] = [];
  for (const path of candidates()) {
    const version = await versionOf(path);
    if (version !== undefined && atLeastVersion(version, MINIMUM_NATS_VERSION)) return { path, version };
    tooOld.push(`${path} is ${version ?? 'of an unknown version'}`);
  }
  throw new ImmutableError(
    'misconfigured',
    `There is no NATS server ${MINIMUM_NATS_VERSION} or newer here${listed(tooOld)}.`,
    {
      nextStep: 'Run `npm run setup`, or set IMMUTABLE_NATS_SERVER_BIN to the path of a newer one.',
    },
  );
}

/**
 * The embedded server: one user with a password, listening on loopback only, acknowledging nothing before
 * it is synced to disk. Writes its configuration (mode 0600, since it holds the password) into `storeDir`.
 * `storeLimitBytes` is what all streams together may reserve on disk.
 */
/** Beside everything else on a small machine: its collector works harder before it takes more than this. */
const GOMEMLIMIT = '512MiB';

export function natsServerSpec(options: {
  bin: string;
  storeDir: string;
  port: number;
  monitorPort: number;
  password: string;
  logFile?: string;
  storeLimitBytes?: number;
}): ChildSpec {
  mkdirSync(options.storeDir, { recursive: true, mode: 0o700 });
  const configFile = join(options.storeDir, 'nats-server.conf');
  writeFileSync(configFile, natsServerConfig(options), { mode: 0o600 });
  return {
    name: 'nats',
    command: options.bin,
    args: ['-c', configFile],
    env: { GOMEMLIMIT },
    inheritedEnv: ENGINE_ENVIRONMENT,
    ready: () => answersHealthy(options.monitorPort),
    readyTimeoutMs: 30_000,
    stopTimeoutMs: 8_000,
  };
}

export function natsUrl(port: number, password: string): string {
  return `nats://${EMBEDDED_USER}:${encodeURIComponent(password)}@127.0.0.1:${port}`;
}

export function natsMonitorUrl(monitorPort: number): string {
  return `http://127.0.0.1:${monitorPort}`;
}

/** Pure: the text of the configuration file. JSON is a subset of the server's format. */
export function natsServerConfig(options: {
  storeDir: string;
  port: number;
  monitorPort: number;
  password: string;
  logFile?: string;
  storeLimitBytes?: number;
}): string {
  const config = {
    server_name: 'immutable',
    host: '127.0.0.1',
    port: options.port,
    http: `127.0.0.1:${options.monitorPort}`,
    max_payload: MAX_PAYLOAD_BYTES,
    authorization: { user: EMBEDDED_USER, password: options.password },
    jetstream: {
      store_dir: options.storeDir,
      sync_interval: 'always',
      max_memory_store: 64 * 1024 * 1024,
      max_file_store: STORE_HEADROOM * (options.storeLimitBytes ?? DEFAULT_STORE_LIMIT_BYTES),
    },
    ...(options.logFile === undefined
      ? {}
      : { log_file: options.logFile, log_size_limit: 16 * 1024 * 1024, log_max_num: 3 }),
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}

function candidates(): string[] {
  const onPath = (process.env.PATH ?? '')
    .split(delimiter)
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, 'nats-server'));
  const fromSetup = join(projectFolder(), '.immutable', 'nats-server', 'nats-server');
  return [...onPath, fromSetup].filter((path) => existsSync(path));
}

/** The folder with package.json above this file, which runs from the sources and from `dist`. */
function projectFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json')) && dirname(folder) !== folder) folder = dirname(folder);
  return folder;
}

async function versionOf(path: string): Promise<string | undefined> {
  try {
    return natsVersion((await run(path, ['--version'], { timeout: 10_000 })).stdout);
  } catch {
    return undefined;
  }
}

function requireNewEnough(path: string, version: string | undefined): NatsServerBinary {
  if (version === undefined) {
    throw new ImmutableError(
      'misconfigured',
      `IMMUTABLE_NATS_SERVER_BIN: ${path} does not run as a NATS server.`,
      {
        nextStep: `Let it name a nats-server program of version ${MINIMUM_NATS_VERSION} or newer.`,
      },
    );
  }
  if (!atLeastVersion(version, MINIMUM_NATS_VERSION)) {
    throw new ImmutableError(
      'misconfigured',
      `IMMUTABLE_NATS_SERVER_BIN: ${path} is version ${version}; ${MINIMUM_NATS_VERSION} or newer is needed.`,
      {
        nextStep:
          'Older servers silently ignore atomic batches. Name a newer one, or unset the setting and run `npm run setup`.',
      },
    );
  }
  return { path, version };
}

function listed(found: string[]): string {
  return found.length === 0 ? '' : ` (${found.join(', ')})`;
}

/** Also false while the server is still reading its streams from disk. */
async function answersHealthy(monitorPort: number): Promise<boolean> {
  try {
    const response = await fetch(`${natsMonitorUrl(monitorPort)}/healthz`, {
      signal: AbortSignal.timeout(1_000),
    });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}
