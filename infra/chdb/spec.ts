import { join } from 'node:path';
import { type ChildSpec, ENGINE_ENVIRONMENT } from '../process/spec.ts';
import { readPasswords } from './authenticate.ts';
import { RUNNING_QUERIES } from './users.ts';

/** How `chdbSpec` tells the process what to serve. */
export const CHDB_ENVIRONMENT = {
  path: 'IMMUTABLE_CHDB_PATH',
  host: 'IMMUTABLE_CHDB_HOST',
  port: 'IMMUTABLE_CHDB_PORT',
  passwordsFile: 'IMMUTABLE_CHDB_PASSWORDS_FILE',
} as const;

/** Threads beside those that run queries: files, look-ups, compression. */
const OTHER_THREADS = 8;

/**
 * The embedded ClickHouse as a child process: `node <program> chdb`, by default the built command line.
 * `passwordsFile` holds `{"admin":"…","writer":"…","reader":"…","analyst":"…"}`, mode 0600.
 */
export function chdbSpec(options: {
  path: string;
  port: number;
  passwordsFile: string;
  host?: string;
  program?: string[];
}): ChildSpec {
  const host = options.host ?? '127.0.0.1';
  return {
    name: 'clickhouse',
    command: process.execPath,
    args: options.program ?? [join(import.meta.dirname, '..', '..', 'cli', 'main.js'), 'chdb'],
    env: {
      UV_THREADPOOL_SIZE: String(RUNNING_QUERIES + OTHER_THREADS),
      [CHDB_ENVIRONMENT.path]: options.path,
      [CHDB_ENVIRONMENT.host]: host,
      [CHDB_ENVIRONMENT.port]: String(options.port),
      [CHDB_ENVIRONMENT.passwordsFile]: options.passwordsFile,
    },
    inheritedEnv: [...ENGINE_ENVIRONMENT, 'IMMUTABLE_LOG_LEVEL', 'NODE_OPTIONS'],
    ready: () => answersQueries(`http://${host}:${options.port}/`, options.passwordsFile),
    readyTimeoutMs: 60_000,
    stopTimeoutMs: 9_000,
  };
}

/** Not `/ping`, which says only that something listens. */
async function answersQueries(url: string, passwordsFile: string): Promise<boolean> {
  const { reader = '' } = readPasswords(passwordsFile);
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'X-ClickHouse-User': 'reader', 'X-ClickHouse-Key': reader },
    body: 'SELECT 1',
    signal: AbortSignal.timeout(2_000),
  });
  return (await response.text()) === '1\n' && response.ok;
}
