import { randomBytes } from 'node:crypto';
import { ImmutableError } from '../core/errors.ts';
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

/** Shows how to read one workspace in SQL. Nothing is changed: a server's statements are for its administrator to run. */
export async function createAnalystCommand(
  config: Config,
  terminal: Terminal,
  { workspace, json }: { workspace: string; json: boolean },
): Promise<void> {
  await withBuckets(config, async ({ workspaces }) => {
    const { id } = await requireWorkspace(workspaces, workspace);
    const { clickhouseUrl } = config;
    const analyst = clickhouseUrl === undefined ? embedded(config, id) : onServer(clickhouseUrl, id);
    terminal.result(json ? JSON.stringify(analyst) : described(analyst));
  });
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
  return {
    url: credentials.clickhouse.url,
    user: workspaceAnalystName(workspaceId),
    password: workspaceAnalystPassword(workspaceId, clickhousePasswords.analyst),
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
