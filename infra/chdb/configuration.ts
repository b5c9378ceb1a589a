import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { usersXml } from './users-xml.ts';

/**
 * A folder for one process's configuration, pipes and files on their way into a table. Beside the data
 * directory: not within it, since that is backed up and pipes cannot be copied, and not among the system's
 * temporary files, which others clean up.
 */
export function makeScratch(dataPath: string): string {
  const folder = scratchFolder(dataPath);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return mkdtempSync(join(folder, 'process-'));
}

/** Removes what processes that were killed left behind. Call it while holding the data directory. */
export function removeOtherScratch(dataPath: string, own: string): void {
  const folder = scratchFolder(dataPath);
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder)) {
    if (join(folder, name) !== own) rmSync(join(folder, name), { recursive: true, force: true });
  }
  if (readdirSync(folder).length === 0) rmSync(folder, { recursive: true, force: true });
}

function scratchFolder(dataPath: string): string {
  return `${dataPath}-scratch`;
}

/** What a server would have in config.xml. Caches are sized for a small machine that runs more than this. */
export function writeConfiguration(folder: string): string {
  const usersFile = join(folder, 'users.xml');
  const configFile = join(folder, 'config.xml');
  writeFileSync(usersFile, usersXml(), { mode: 0o600 });
  const caches = Object.entries(CACHE_MIB).map(([name, size]) => `<${name}>${size * 1024 * 1024}</${name}>`);
  writeFileSync(
    configFile,
    `<clickhouse>
  <timezone>UTC</timezone>
  <users_config>${usersFile}</users_config>
  <user_directories><users_xml><path>${usersFile}</path></users_xml></user_directories>
  <access_control_improvements>
    <select_from_system_db_requires_grant>true</select_from_system_db_requires_grant>
    <select_from_information_schema_requires_grant>true</select_from_information_schema_requires_grant>
  </access_control_improvements>
  <max_server_memory_usage_to_ram_ratio>0.5</max_server_memory_usage_to_ram_ratio>
  ${caches.join('\n  ')}
</clickhouse>`,
    { mode: 0o600 },
  );
  return configFile;
}

const CACHE_MIB = {
  mark_cache_size: 256,
  primary_index_cache_size: 256,
  index_mark_cache_size: 128,
  text_index_tokens_cache_size: 64,
  text_index_header_cache_size: 64,
  text_index_postings_cache_size: 128,
  vector_similarity_index_cache_size: 1,
  compiled_expression_cache_size: 32,
  query_condition_cache_size: 64,
};
