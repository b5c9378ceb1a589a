import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Install } from '../control/install.ts';
import type { Config, SettingEnvironment } from '../infra/config.ts';
import { createLifecycle, untilAskedToStop } from '../infra/lifecycle.ts';
import { createLogger, type Logger, toFile } from '../infra/log.ts';
import { connectNats } from '../infra/nats/connect.ts';
import { chainSettings } from './anchor-ledger.ts';
import { banner } from './banner.ts';
import { baseUrl } from './base-url.ts';
import { type Children, createChildren, endOrphans, PROGRAM, roleSpec } from './children.ts';
import { readCredentials } from './credentials.ts';
import { runDaily } from './daily.ts';
import { type DataDir, prepareDataDir } from './data-dir.ts';
import {
  type ClickHouseAccess,
  externalClickHouse,
  externalNats,
  type NatsAccess,
  startEmbeddedClickHouse,
  startEmbeddedNats,
} from './embedded.ts';
import { establishFirstKeys, type FirstKeys } from './first-keys.ts';
import type { LocalChain } from './local-chain.ts';
import { freePort, requirePort } from './ports.ts';
import { claimRunFile, type RunFile } from './run-file.ts';
import { readOrMakeSecrets, type Secrets } from './secrets.ts';
import { type ControlBuckets, prepareClickHouse, prepareNats } from './stores.ts';
import type { Terminal } from './terminal.ts';

/**
 * The whole product on one machine, until it is asked to stop: NATS, ClickHouse and every role as
 * children of this process. Throws with everything it started ended again.
 */
export async function up(
  config: Config,
  terminal: Terminal,
  options: { localChain: boolean; json: boolean },
): Promise<void> {
  const stopping = new AbortController();
  const asked = untilAskedToStop().then((why) => stopping.abort(new Error(why)));
  const directory = prepareDataDir(config.dataDir);
  const log = createLogger('up', config.logLevel, toFile(join(directory.logs, 'up.log')));
  const lifecycle = createLifecycle(log);
  try {
    const run = await claimRunFile(directory.runFile);
    lifecycle.onStop('run file', () => run.release());
    const children = createChildren({
      run,
      lifecycle,
      log,
      logsFolder: directory.logs,
      tell: terminal.say,
      signal: stopping.signal,
    });
    const starting = start({
      config,
      directory,
      run,
      children,
      terminal,
      log,
      localChain: options.localChain,
    });
    // A start that is interrupted ends by itself at its next step; one that hangs there is left behind.
    const started = await Promise.race([starting, asked.then(() => sleep(WIND_UP_MS))]);
    if (started === undefined) return;
    const { first, chain } = started;
    const daily = retainDaily(config, log, stopping.signal);
    lifecycle.onStop('retention', () => daily);
    terminal.result(options.json ? JSON.stringify(first.credentials) : banner(first, directory, chain));
    await asked;
    run.update({ state: 'draining' });
  } catch (error) {
    if (!stopping.signal.aborted) throw error;
  } finally {
    if (stopping.signal.aborted) terminal.say('Draining…');
    await lifecycle.stop();
    if (stopping.signal.aborted) terminal.say('Stopped.');
  }
}

/** The account that pays, and the addresses of the chain with the keys in them, are the affair of one role. */
const NO_CHAIN: SettingEnvironment = {
  IMMUTABLE_ANCHOR_RPC_URL: '',
  IMMUTABLE_ANCHOR_RPC_URL_FILE: '',
  IMMUTABLE_ANCHOR_PRIVATE_KEY: '',
  IMMUTABLE_ANCHOR_PRIVATE_KEY_FILE: '',
};

const WIND_UP_MS = 2_000;
const RETENTION_HOUR_UTC = 3;

/** In a process of its own, which has the right to remove events for only as long as it lasts. */
async function retainDaily(config: Config, log: Logger, signal: AbortSignal): Promise<void> {
  if (config.clickhouseUrl !== undefined && config.clickhouseRetentionUrl === undefined) return;
  await runDaily({
    hourUtc: RETENTION_HOUR_UTC,
    signal,
    work: async (whileRunning) => {
      const args = [PROGRAM, 'retention', 'run', '--json'];
      const env = { ...process.env, ...NO_CHAIN };
      const { stdout } = await execute(process.execPath, args, { signal: whileRunning, env });
      log.info({ result: stdout.trim() }, 'the retention has run');
    },
    onFailed: (error) => log.error({ err: error }, 'the retention did not run to its end'),
  });
}

const execute = promisify(execFile);

interface Start {
  config: Config;
  directory: DataDir;
  run: RunFile;
  children: Children;
  terminal: Terminal;
  log: Logger;
  localChain: boolean;
}

interface Started {
  first: FirstKeys;
  chain: LocalChain | undefined;
}

async function start(options: Start): Promise<Started> {
  const { config, directory, run, children, terminal } = options;
  const { step } = terminal;
  // The role would say so too, but only once everything else runs.
  if (!options.localChain) chainSettings(config);
  const written = readCredentials(directory.credentialsFile);
  const secrets = readOrMakeSecrets(directory.keys);
  if (run.orphans.length > 0) {
    await step('ending what an interrupted run left behind', () => endOrphans(run.orphans));
  }
  run.update({ children: {} });
  const port = await requirePort(config.host, config.port, 'IMMUTABLE_PORT');
  if (config.clickhouseUrl === undefined) {
    await requirePort('127.0.0.1', config.clickhousePort, 'IMMUTABLE_CLICKHOUSE_PORT');
  }

  const nats =
    config.natsUrl === undefined
      ? await step('NATS server', () => startEmbeddedNats(config, directory, secrets, children))
      : await externalNats(config, config.natsUrl);
  const clickhouse =
    config.clickhouseUrl === undefined
      ? await step('ClickHouse', () => startEmbeddedClickHouse(config, directory, secrets, children))
      : externalClickHouse(config, config.clickhouseUrl);
  run.update({
    base_url: baseUrl(config, port),
    nats_url: nats.url,
    nats_monitor_url: nats.monitorUrls?.join(',') ?? null,
    clickhouse_admin_url: clickhouse.adminUrl,
  });

  await step('tables', () => prepareClickHouse(clickhouse.adminUrl, clickhouse.kind));
  const first = await step('streams, workspace and keys', () =>
    withBuckets(config, nats, (buckets, install) =>
      establishFirstKeys(buckets, install, directory.credentialsFile, written, {
        base_url: baseUrl(config, port),
        clickhouseOf: clickhouse.shown,
      }),
    ),
  );
  const chain = options.localChain ? await step('local chain', () => withLocalChain(options)) : undefined;
  run.update({ local_chain: chain?.shown ?? null });
  const health = await startRoles({ config, secrets, nats, clickhouse, chain, port, children, terminal });
  run.update({ state: 'ready', health });
  return { first, chain };
}

/** What it is made of is loaded only where it is wanted. */
async function withLocalChain({ terminal, ...options }: Start): Promise<LocalChain> {
  const { startLocalChain } = await import('./local-chain.ts');
  return await startLocalChain({ ...options, tell: terminal.say });
}

async function withBuckets<T>(
  config: Config,
  nats: NatsAccess,
  use: (buckets: ControlBuckets, install: Install) => Promise<T>,
): Promise<T> {
  const log = createLogger('up', 'silent');
  const nc = await connectNats({ url: nats.url, name: 'immutable up', log });
  try {
    const { buckets, install } = await prepareNats(nc, config, nats.storeLimitBytes);
    return await use(buckets, install);
  } finally {
    await nc.close();
  }
}

/** What accepts events starts last, when everything they pass through runs. */
async function startRoles(options: {
  config: Config;
  secrets: Secrets;
  nats: NatsAccess;
  clickhouse: ClickHouseAccess;
  chain: LocalChain | undefined;
  port: number;
  children: Children;
  terminal: Terminal;
}): Promise<Record<string, string>> {
  const { config, secrets, nats, clickhouse, chain, port, children, terminal } = options;
  const common = {
    ...nats.env,
    ...chain?.readerEnv,
    ...(config.instanceId === undefined ? { IMMUTABLE_INSTANCE_ID: secrets.instanceId } : {}),
  };
  const secret = config.secretKey === undefined ? { IMMUTABLE_SECRET_KEY_FILE: secrets.secretKeyFile } : {};
  const roles = [
    { role: 'chain', title: 'chain', env: { ...common, ...clickhouse.writerEnv, ...NO_CHAIN } },
    { role: 'tree', title: 'tree', env: { ...common, ...clickhouse.writerEnv, ...secret, ...NO_CHAIN } },
    { role: 'anchor', title: 'anchor', env: { ...common, ...clickhouse.writerEnv, ...chain?.signerEnv } },
    {
      role: 'serve',
      title: 'API',
      env: {
        ...common,
        ...clickhouse.readerEnv,
        ...secret,
        ...NO_CHAIN,
        IMMUTABLE_PORT: String(port),
      },
    },
  ];
  const health: Record<string, string> = {};
  for (const { role, title, env } of roles) {
    const healthPort = await freePort();
    await terminal.step(title, () => children.start(roleSpec(role, healthPort, env)));
    health[role] = `http://127.0.0.1:${healthPort}`;
  }
  return health;
}
