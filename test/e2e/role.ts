import { join } from 'node:path';
import { freePort } from '../../cli/ports.ts';
import { type Program, type Stack, startProgram } from '../support/stack.ts';

const READY_WITHIN_MS = 30_000;

/** A further process of one role beside those of a stack, as a second machine would run it. */
export interface Role {
  /** Where it serves its routes, for a role that has any. */
  baseUrl: string;
  readonly pid: number;
  kill9(): Promise<void>;
  stop(): Promise<void>;
}

type RoleName = 'ingest' | 'query' | 'chain' | 'tree' | 'anchor';
const WRITERS: ReadonlySet<RoleName> = new Set(['chain', 'tree', 'anchor']);

/** Resolves once it is ready. It shares nothing with the stack's own processes but NATS and ClickHouse. */
export async function startRole(stack: Stack, role: RoleName): Promise<Role> {
  const [port, healthPort] = [await freePort(), await freePort()];
  const program = startProgram([role], {
    IMMUTABLE_NATS_URL: stack.natsUrl,
    IMMUTABLE_NATS_MONITOR_URL: stack.natsMonitorUrl,
    IMMUTABLE_CLICKHOUSE_URL: stack.clickhouseUrls[WRITERS.has(role) ? 'writer' : 'reader'],
    IMMUTABLE_SECRET_KEY_FILE: join(stack.directory.keys, 'secret.key'),
    IMMUTABLE_PORT: String(port),
    IMMUTABLE_HEALTH_PORT: String(healthPort),
    IMMUTABLE_LOG_LEVEL: 'warn',
  });
  await program.until(() => isReady(`http://127.0.0.1:${healthPort}/readyz`), READY_WITHIN_MS);
  return {
    baseUrl: `http://127.0.0.1:${port}`,
    pid: pidOf(program),
    kill9: async () => {
      await program.stop('SIGKILL');
    },
    stop: async () => {
      await program.stop('SIGTERM');
    },
  };
}

function pidOf({ pid }: Program): number {
  if (pid === undefined) throw new Error('a process that is ready has an id');
  return pid;
}

async function isReady(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(1_000) });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
}
