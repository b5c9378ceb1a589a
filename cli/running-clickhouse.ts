import type { User } from '../infra/clickhouse/names.ts';
import type { Config } from '../infra/config.ts';
import { dataDirAt } from './data-dir.ts';
import { findRunning } from './run-file.ts';
import { readOrMakeSecrets } from './secrets.ts';

/** The address of the running stack's embedded ClickHouse, as one of its users; undefined where none runs. */
export function runningClickHouseUrl(config: Config, user: User): string | undefined {
  if (config.clickhouseUrl !== undefined) return undefined;
  const directory = dataDirAt(config.dataDir);
  const adminUrl = findRunning(directory.runFile)?.clickhouse_admin_url;
  if (typeof adminUrl !== 'string') return undefined;
  const url = new URL(adminUrl);
  url.username = user;
  url.password = readOrMakeSecrets(directory.keys).clickhousePasswords[user];
  return url.href;
}
