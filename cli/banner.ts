import type { DataDir } from './data-dir.ts';
import type { FirstKeys } from './first-keys.ts';
import type { LocalChain } from './local-chain.ts';

/** What a new user needs to send the first event. */
export function banner(
  { credentials, workspace, key }: FirstKeys,
  directory: DataDir,
  chain?: LocalChain,
): string {
  const revoked =
    key.revoked_at === null
      ? ''
      : `\n               revoked at ${key.revoked_at}; make another: npx immutable key create ${workspace.id}`;
  return `
Immutable is running.

  Base URL     ${credentials.base_url}
  Workspace    ${workspace.id} (${workspace.name})
  API key      ${credentials.api_key}${revoked}
  Data         ${directory.path} (keys in credentials.json, logs in logs/)${chain === undefined ? '' : rehearsal(chain)}

Send an event, read it back and verify the chain:

  ${tryLine(credentials.base_url, credentials.api_key)}

Some thousand realistic events: npx immutable demo. Ctrl-C stops everything; nothing accepted is lost.
`;
}

function rehearsal({ shown }: LocalChain): string {
  return `
  Local chain  ${shown.rpc_url}, chain ${shown.chain_id}: a rehearsal on this machine, which proves nothing
  Contract     ${shown.contract}`;
}

/** One line for any POSIX shell. */
export function tryLine(baseUrl: string, apiKey: string): string {
  const curl = `curl -sS -w '\\n' -H 'Authorization: Bearer ${apiKey}'`;
  const event = `{"actor_id":"you","action":"document.read","resource":"document","resource_id":"1"}`;
  return [
    `${curl} -H 'Content-Type: application/json' -d '${event}' ${baseUrl}/api/v1/events`,
    'sleep 1',
    `${curl} '${baseUrl}/api/v1/events?limit=1'`,
    `${curl} ${baseUrl}/api/v1/verify`,
  ].join(' && ');
}
