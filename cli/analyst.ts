import { randomBytes } from 'node:crypto';
import { ImmutableError } from '../core/errors.ts';
import { generationsFolder, nextGeneration, readGeneration } from '../infra/chdb/generations.ts';
import { workspaceAnalystName, workspaceAnalystPassword } from '../infra/chdb/workspace-analyst.ts';
import { analystStatements } from '../infra/clickhouse/analyst.ts';
import { DATABASE } from '../infra/clickhouse/names.ts';
import type { Config } from '../infra/config.ts';
import { readCredentials } from './credentials.ts';
import { dataDirAt } from './data-dir.ts';
import { requireWorkspace, withBuckets } from './manage.ts';
import { readOrMakeSecrets } from './secrets.ts';
import type { Terminal } from './terminal.ts';

interface Analyst {
  url: string;
  user: string;
  password: string;
  database: string;
  /** What an administrator must run first, on a ClickHouse server. */
  statements: string[];
}

interface Wanted {
  workspace: string;
  json: boolean;
}

/** Shows how to read one workspace in SQL. Nothing is changed: a server's statements are for its administrator to run. */
export async function createAnalystCommand(
  config: Config,
  terminal: Terminal,
  wanted: Wanted,
): Promise<void> {
  await withWorkspace(config, wanted.workspace, (id) => {
    const { clickhouseUrl } = config;
    show(terminal, wanted, clickhouseUrl === undefined ? embedded(config, id) : onServer(clickhouseUrl, id));
  });
}

/** Ends the password there is, from the next request on, and shows another. */
export async function rotateAnalystCommand(
  config: Config,
  terminal: Terminal,
  wanted: Wanted,
): Promise<void> {
  await withWorkspace(config, wanted.workspace, (id) => {
    requireEmbedded(config, `ALTER USER ${workspaceAnalystName(id)} IDENTIFIED BY '…'`);
    nextGeneration(generationsOf(config), id, false);
    show(terminal, wanted, embedded(config, id));
  });
}

/** No password counts until it is rotated. */
export async function revokeAnalystCommand(
  config: Config,
  terminal: Terminal,
  wanted: Wanted,
): Promise<void> {
  await withWorkspace(config, wanted.workspace, (id) => {
    requireEmbedded(config, `DROP USER ${workspaceAnalystName(id)}`);
    nextGeneration(generationsOf(config), id, true);
    const user = workspaceAnalystName(id);
    terminal.result(wanted.json ? JSON.stringify({ user, revoked: true }) : `${user} is revoked.`);
  });
}

async function withWorkspace(config: Config, workspaceId: string, use: (id: string) => void): Promise<void> {
  await withBuckets(config, async ({ workspaces }) =>
    use((await requireWorkspace(workspaces, workspaceId)).id),
  );
}

function requireEmbedded({ clickhouseUrl }: Config, statement: string): void {
  if (clickhouseUrl === undefined) return;
  throw new ImmutableError('misconfigured', 'The users of a ClickHouse server are its own.', {
    nextStep: `As an administrator of the server, run: ${statement}`,
  });
}

function generationsOf(config: Config): string {
  return generationsFolder(readOrMakeSecrets(dataDirAt(config.dataDir).keys).clickhousePasswordsFile);
}

function show(terminal: Terminal, { json }: Wanted, analyst: Analyst): void {
  terminal.result(json ? JSON.stringify(analyst) : described(analyst));
}

function embedded(config: Config, workspaceId: string): Analyst {
  const directory = dataDirAt(config.dataDir);
  const credentials = readCredentials(directory.credentialsFile);
  if (credentials === undefined) {
    throw new ImmutableError('unavailable', `Immutable was never started on ${directory.path}.`, {
      nextStep: 'Start it with `npm start`, or set IMMUTABLE_DATA_DIR to its directory.',
    });
  }
  const { clickhousePasswords } = readOrMakeSecrets(directory.keys);
  const { generation, revoked } = readGeneration(generationsOf(config), workspaceId);
  if (revoked) {
    throw new ImmutableError('gone', `The analyst of ${workspaceId} is revoked.`, {
      nextStep: `\`immutable analyst rotate ${workspaceId}\` gives it a new password.`,
    });
  }
  return {
    url: credentials.clickhouse.url,
    user: workspaceAnalystName(workspaceId),
    password: workspaceAnalystPassword(workspaceId, clickhousePasswords.analyst, generation),
    database: DATABASE,
    statements: [],
  };
}

function onServer(url: string, workspaceId: string): Analyst {
  const name = workspaceAnalystName(workspaceId);
  const password = randomBytes(24).toString('base64url');
  return {
    url: new URL(url).origin,
    user: name,
    password,
    database: workspaceId,
    statements: analystStatements({ name, password, workspaceId }),
  };
}

function described({ url, user, password, database, statements }: Analyst): string {
  const lines = [`URL       ${url}`, `User      ${user}`, `Password  ${password}`, `Database  ${database}`];
  if (statements.length > 0) {
    const script = statements.map((statement) => `${statement};`).join('\n');
    return `${lines.join('\n')}\n\nThe user is there once an administrator of the server has run:\n\n${script}`;
  }
  const example = `curl -sS --user '${user}:${password}' ${url}/ --data-binary 'SELECT count() FROM audit_events'`;
  return `${lines.join('\n')}\n\n${example}`;
}
