import {
  createKey,
  type KeyRecord,
  listKeys,
  revokeKey,
  SCOPES,
  type Scope,
  WORKSPACE_SCOPES,
} from '../control/keys.ts';
import type { Plan } from '../control/plans.ts';
import { type Retention, retentionOf } from '../control/retention.ts';
import {
  changeWorkspace,
  createWorkspace,
  getWorkspace,
  listWorkspaces,
  type Workspace,
} from '../control/workspaces.ts';
import { ImmutableError } from '../core/errors.ts';
import type { Config } from '../infra/config.ts';
import { createLogger } from '../infra/log.ts';
import { connectNats } from '../infra/nats/connect.ts';
import { dataDirAt } from './data-dir.ts';
import { externalStoreLimit } from './embedded.ts';
import { findRunning } from './run-file.ts';
import { type ControlBuckets, openControlBuckets, prepareClickHouse, prepareNats } from './stores.ts';
import { type Terminal, table } from './terminal.ts';

interface Output {
  json: boolean;
}

export async function createWorkspaceCommand(
  config: Config,
  terminal: Terminal,
  { name, plan, json }: Output & { name: string; plan: Plan },
): Promise<void> {
  await withBuckets(config, async ({ workspaces, keys }) => {
    const workspace = await createWorkspace(workspaces, { name, plan });
    const { token } = await createKey(keys, {
      workspaceId: workspace.id,
      scopes: WORKSPACE_SCOPES,
      label: 'made with the workspace',
    });
    terminal.result(
      json
        ? JSON.stringify({ workspace, api_key: token })
        : `Workspace  ${workspace.id} (${workspace.name})\nAPI key    ${token}\nThe key is not shown again.`,
    );
  });
}

export async function listWorkspacesCommand(
  config: Config,
  terminal: Terminal,
  { json }: Output,
): Promise<void> {
  await withBuckets(config, async ({ workspaces }) => {
    const all = await listWorkspaces(workspaces);
    const headings = ['ID', 'NAME', 'PLAN', 'KEEPS EVENTS', 'CREATED'];
    const withRetention = () => all.map((one) => ({ ...one, retention: retentionOf(one) }));
    terminal.result(json ? JSON.stringify(withRetention()) : table(headings, all.map(workspaceRow)));
  });
}

export async function createKeyCommand(
  config: Config,
  terminal: Terminal,
  wanted: Output & { workspace: string; scope: string[]; label: string; expires?: string },
): Promise<void> {
  await withBuckets(config, async ({ workspaces, keys }) => {
    const workspace = await requireWorkspace(workspaces, wanted.workspace);
    const { token, key } = await createKey(keys, {
      workspaceId: workspace.id,
      scopes: wanted.scope.flatMap((text) => text.split(',')).map(parseScope),
      label: wanted.label,
      expiresAt: wanted.expires ?? null,
    });
    terminal.result(
      wanted.json
        ? JSON.stringify({ ...key, api_key: token })
        : `API key    ${token}\nID         ${key.id}\nScopes     ${key.scopes.join(', ')}\nThe key is not shown again.`,
    );
  });
}

export async function listKeysCommand(
  config: Config,
  terminal: Terminal,
  { workspace, json }: Output & { workspace: string | undefined },
): Promise<void> {
  await withBuckets(config, async ({ workspaces, keys }) => {
    if (workspace !== undefined) await requireWorkspace(workspaces, workspace);
    const all = await listKeys(keys, workspace);
    const headings = ['ID', 'WORKSPACE', 'PREFIX', 'SCOPES', 'STATE', 'LABEL'];
    terminal.result(json ? JSON.stringify(all) : table(headings, all.map(keyRow)));
  });
}

export async function revokeKeyCommand(
  config: Config,
  terminal: Terminal,
  { id, json }: Output & { id: string },
): Promise<void> {
  await withBuckets(config, async ({ keys }) => {
    const key = await revokeKey(keys, id);
    terminal.result(
      json ? JSON.stringify(key) : `${key.id} (${key.prefix}…) is revoked since ${key.revoked_at}.`,
    );
  });
}

/** Tables and streams of external servers; `up` does this by itself. */
export async function migrateStores(config: Config, terminal: Terminal, { json }: Output): Promise<void> {
  const clickhouseUrl = config.clickhouseAdminUrl ?? config.clickhouseUrl;
  if (clickhouseUrl === undefined || config.natsUrl === undefined) {
    throw new ImmutableError('misconfigured', 'There are no external servers to prepare.', {
      nextStep:
        'Set IMMUTABLE_NATS_URL and IMMUTABLE_CLICKHOUSE_ADMIN_URL; the embedded ones are prepared by `immutable up`.',
    });
  }
  await terminal.step('tables', () => prepareClickHouse(clickhouseUrl, 'server'));
  const nc = await connectNats({ url: config.natsUrl, name: 'immutable migrate', log: quiet() });
  try {
    const limit = await externalStoreLimit(config);
    const { install } = await terminal.step('streams', () => prepareNats(nc, config, limit));
    terminal.result(json ? JSON.stringify(install) : `Ready, with ${install.partitions} partitions.`);
  } finally {
    await nc.close();
  }
}

export async function withBuckets(
  config: Config,
  use: (buckets: ControlBuckets) => Promise<void>,
): Promise<void> {
  const nc = await connectNats({
    url: natsUrlFor(config),
    name: 'immutable',
    log: quiet(),
    firstConnectMs: 5_000,
  });
  try {
    await use(await openControlBuckets(nc));
  } finally {
    await nc.close();
  }
}

/** Of the servers that the settings name, or else of the stack that runs on the data directory. */
export function natsUrlFor(config: Config): string {
  const url = config.natsUrl ?? findRunning(dataDirAt(config.dataDir).runFile)?.nats_url;
  if (typeof url === 'string') return url;
  throw new ImmutableError('unavailable', `Immutable does not run on the data directory ${config.dataDir}.`, {
    nextStep:
      'Start it with `npm start`, set IMMUTABLE_DATA_DIR to its directory, or IMMUTABLE_NATS_URL to its NATS.',
  });
}

export async function publicLogCommand(
  config: Config,
  terminal: Terminal,
  { workspace, isPublic, json }: Output & { workspace: string; isPublic: boolean },
): Promise<void> {
  await withBuckets(config, async ({ workspaces }) => {
    const { id } = await requireWorkspace(workspaces, workspace);
    const changed = await changeWorkspace(workspaces, id, (one) => ({ ...one, public_log: isPublic }));
    terminal.result(json ? JSON.stringify(changed) : described(changed));
  });

  function described({ id, name }: Workspace): string {
    return isPublic
      ? `${id} (${name}): its checkpoint and tiles are read by everybody, below /api/v1/public/logs/${id}/`
      : `${id} (${name}): its checkpoint and tiles are read with its keys alone`;
  }
}

export async function requireWorkspace(bucket: ControlBuckets['workspaces'], id: string): Promise<Workspace> {
  const workspace = /^ws_[0-9a-f]{16}$/.test(id) ? await getWorkspace(bucket, id) : undefined;
  if (workspace !== undefined) return workspace;
  throw new ImmutableError('not_found', `There is no workspace ${id}.`, {
    nextStep: '`immutable workspace list` shows all.',
  });
}

function parseScope(text: string): Scope {
  const scope = SCOPES.find((known) => known === text.trim());
  if (scope !== undefined) return scope;
  throw new ImmutableError(
    'validation_failed',
    `"${text}" is not a scope; there are ${WORKSPACE_SCOPES.join(', ')}.`,
  );
}

function workspaceRow(workspace: Workspace): string[] {
  const { id, name, plan, created_at } = workspace;
  return [id, name, plan, describeRetention(retentionOf(workspace)), created_at];
}

function describeRetention({ days, because }: Retention): string {
  if (because === 'legal_hold') return 'for ever (legal hold)';
  const kept = days === null ? 'for ever' : `${days} ${days === 1 ? 'day' : 'days'}`;
  return because === 'plan' ? `${kept} (plan)` : `${kept} (own setting)`;
}

function keyRow(key: KeyRecord): string[] {
  const state =
    key.revoked_at !== null
      ? `revoked ${key.revoked_at}`
      : key.expires_at === null
        ? 'active'
        : `until ${key.expires_at}`;
  return [key.id, key.workspace_id ?? '–', `${key.prefix}…`, key.scopes.join(','), state, key.label];
}

function quiet() {
  return createLogger('immutable', 'silent');
}
