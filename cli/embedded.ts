import { generationsFolder, readGeneration } from '../infra/chdb/generations.ts';
import { chdbSpec } from '../infra/chdb/spec.ts';
import { workspaceAnalystName, workspaceAnalystPassword } from '../infra/chdb/workspace-analyst.ts';
import type { ServerKind } from '../infra/clickhouse/migrate.ts';
import type { User } from '../infra/clickhouse/names.ts';
import type { Config, SettingEnvironment } from '../infra/config.ts';
import { findNatsServer, natsMonitorUrl, natsServerSpec, natsUrl } from '../infra/nats/server.ts';
import { smallestStoreBytes } from '../infra/nats/sync-check.ts';
import type { Children } from './children.ts';
import type { Credentials } from './credentials.ts';
import { type DataDir, diskBytes, GIB } from './data-dir.ts';
import { freePort } from './ports.ts';
import type { Secrets } from './secrets.ts';

/** How to reach NATS, and what roles must be told. */
export interface NatsAccess {
  url: string;
  monitorUrls: readonly string[] | undefined;
  /** What all streams together may reserve. */
  storeLimitBytes: number;
  env: SettingEnvironment;
}

/** How to reach ClickHouse, by whom. */
export interface ClickHouseAccess {
  kind: ServerKind;
  adminUrl: string;
  writerEnv: SettingEnvironment;
  readerEnv: SettingEnvironment;
  /** What `credentials.json` shows: the analyst of its workspace. */
  shown(workspaceId: string): Credentials['clickhouse'];
}

export async function startEmbeddedNats(
  config: Config,
  directory: DataDir,
  secrets: Secrets,
  children: Children,
): Promise<NatsAccess> {
  const { path } = await findNatsServer(config);
  const [port, monitorPort] = [await freePort(), await freePort()];
  const password = secrets.natsPassword;
  const storeLimitBytes = embeddedStoreLimit(config, directory);
  await children.start(
    natsServerSpec({ bin: path, storeDir: directory.nats, port, monitorPort, password, storeLimitBytes }),
  );
  const [url, monitorUrl] = [natsUrl(port, password), natsMonitorUrl(monitorPort)];
  return {
    url,
    monitorUrls: [monitorUrl],
    storeLimitBytes,
    env: { IMMUTABLE_NATS_URL: url, IMMUTABLE_NATS_MONITOR_URL: monitorUrl },
  };
}

/** Roles read the settings that name it themselves. */
export async function externalNats(config: Config, url: string): Promise<NatsAccess> {
  const monitorUrls = config.natsMonitorUrl;
  return { url, monitorUrls, storeLimitBytes: await externalStoreLimit(config), env: {} };
}

export async function startEmbeddedClickHouse(
  config: Config,
  directory: DataDir,
  secrets: Secrets,
  children: Children,
): Promise<ClickHouseAccess> {
  const port = config.clickhousePort === 0 ? await freePort() : config.clickhousePort;
  const passwordsFile = secrets.clickhousePasswordsFile;
  await children.start(chdbSpec({ path: directory.clickhouse, port, passwordsFile }));
  const password = (user: User) => secrets.clickhousePasswords[user];
  const url = (user: User) => `http://${user}:${password(user)}@127.0.0.1:${port}`;
  return {
    kind: 'chdb',
    adminUrl: url('admin'),
    writerEnv: { IMMUTABLE_CLICKHOUSE_URL: url('writer') },
    readerEnv: { IMMUTABLE_CLICKHOUSE_URL: url('reader') },
    shown: (workspaceId) => {
      const { generation, revoked } = readGeneration(generationsFolder(passwordsFile), workspaceId);
      const current = workspaceAnalystPassword(workspaceId, password('analyst'), generation);
      return {
        url: `http://127.0.0.1:${port}`,
        user: workspaceAnalystName(workspaceId),
        password: revoked ? '' : current,
      };
    },
  };
}

export function externalClickHouse(config: Config, url: string): ClickHouseAccess {
  return {
    kind: 'server',
    adminUrl: config.clickhouseAdminUrl ?? url,
    writerEnv: {},
    readerEnv: {},
    // Whose rights that user has is the operator's affair: nothing is copied.
    shown: () => ({ url: new URL(url).origin, user: '', password: '' }),
  };
}

const LARGEST_EMBEDDED_STORE_BYTES = 64 * GIB;
const ASSUMED_EXTERNAL_STORE_BYTES = 16 * GIB;

/** A quarter of the disk, whatever is free at this start: limits that move with every start help nobody. */
function embeddedStoreLimit(config: Config, directory: DataDir): number {
  if (config.streamLimitGib !== undefined) return config.streamLimitGib * GIB;
  const quarter = Math.floor(diskBytes(directory.path) / 4 / GIB) * GIB;
  return Math.min(Math.max(quarter, GIB), LARGEST_EMBEDDED_STORE_BYTES);
}

/** What the smallest server may store; an assumption where no monitoring address is given. */
export async function externalStoreLimit(
  config: Pick<Config, 'streamLimitGib' | 'natsMonitorUrl'>,
): Promise<number> {
  if (config.streamLimitGib !== undefined) return config.streamLimitGib * GIB;
  if (config.natsMonitorUrl !== undefined) return await smallestStoreBytes(config.natsMonitorUrl);
  return ASSUMED_EXTERNAL_STORE_BYTES;
}
