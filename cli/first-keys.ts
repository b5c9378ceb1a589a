import type { Install } from '../control/install.ts';
import { ensureKey, type KeyRecord, newToken, WORKSPACE_SCOPES } from '../control/keys.ts';
import { ensureWorkspace, listWorkspaces, newWorkspaceId, type Workspace } from '../control/workspaces.ts';
import { type Credentials, writeCredentials } from './credentials.ts';
import type { ControlBuckets } from './stores.ts';

export interface FirstKeys {
  credentials: Credentials;
  workspace: Workspace;
  key: KeyRecord;
}

/**
 * The workspace and keys that `credentials.json` names. The file is written before the records are made,
 * so that a start that was cut short in between is completed by the next one, with the same keys. A key
 * that was revoked stays so.
 */
export async function establishFirstKeys(
  buckets: ControlBuckets,
  install: Install,
  file: string,
  written: Credentials | undefined,
  addresses: { base_url: string; clickhouseOf: (workspaceId: string) => Credentials['clickhouse'] },
): Promise<FirstKeys> {
  const given = written ?? (await newCredentials(buckets, install));
  const credentials: Credentials = {
    ...given,
    base_url: addresses.base_url,
    clickhouse: addresses.clickhouseOf(given.workspace_id),
  };
  if (JSON.stringify(credentials) !== JSON.stringify(written)) writeCredentials(file, credentials);

  const workspaceId = credentials.workspace_id;
  const workspace = await ensureWorkspace(buckets.workspaces, { id: workspaceId, name: 'Default' });
  const key = await ensureKey(buckets.keys, {
    token: credentials.api_key,
    workspaceId,
    scopes: WORKSPACE_SCOPES,
    label: 'made at the first start',
  });
  await ensureKey(buckets.keys, {
    token: credentials.operator_key,
    workspaceId: null,
    scopes: ['operator'],
    label: 'operator, made at the first start',
  });
  return { credentials, workspace, key };
}

/** Where the file was deleted, new keys for the workspace that is there. */
async function newCredentials(
  buckets: ControlBuckets,
  install: Install,
): Promise<Omit<Credentials, 'base_url' | 'clickhouse'>> {
  const present = (await listWorkspaces(buckets.workspaces)).find(
    ({ id }) => id !== install.operator_workspace_id,
  );
  return {
    workspace_id: present?.id ?? newWorkspaceId(),
    api_key: newToken(),
    operator_key: newToken(),
    setup_url: null,
  };
}
