import { readFileSync, unlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { ImmutableError } from '../core/errors.ts';
import { writePrivateFile } from '../infra/private-file.ts';
import { isSameProcess, processIdentity } from '../infra/process/identity.ts';

const processSchema = z.object({ pid: z.int(), identity: z.string() });

const schema = processSchema.extend({
  started_at: z.string(),
  state: z.enum(['starting', 'ready', 'draining']),
  base_url: z.string().nullable(),
  nats_url: z.string().nullable(),
  nats_monitor_url: z.string().nullable(),
  /** Of the user that may do everything. */
  clickhouse_admin_url: z.string().nullable(),
  /** Where roots are anchored for practice. */
  local_chain: z
    .object({ rpc_url: z.string(), chain_id: z.int(), contract: z.string() })
    .nullable()
    .default(null),
  /** Where each role serves /healthz, /readyz and /metrics. */
  health: z.record(z.string(), z.string()),
  /** The process of each child. */
  children: z.record(z.string(), processSchema),
});

/**
 * What a running stack tells the commands beside it, and the start after it: `run.json` in the data
 * directory, readable by its owner alone. It is also the lock of that directory.
 */
export type RunState = z.infer<typeof schema>;

export interface RunFile {
  /** Processes that a killed supervisor left running. */
  readonly orphans: Orphan[];
  update(changes: Partial<RunState>): void;
  /** Writes down which process a child is in now; `undefined` between two lives. */
  recordChild(name: string, pid: number | undefined): void;
  release(): void;
}

export interface Orphan {
  name: string;
  pid: number;
  identity: string;
}

/** Long enough for a start at the same moment to have written its own claim over ours. */
const SETTLE_MS = 100;

/**
 * Makes this process the one that runs on the directory. Throws `misconfigured` if another one does.
 * A file whose process is gone, after a power cut or a kill, is taken over.
 */
export async function claimRunFile(path: string): Promise<RunFile> {
  const before = readRunState(path);
  if (before !== undefined && isRunning(before)) throw alreadyRunning(before, path);
  let state: RunState = { ...thisProcess(), ...NOTHING_YET, children: before?.children ?? {} };
  const write = () => writePrivateFile(path, `${JSON.stringify(state, null, 2)}\n`);
  write();
  await sleep(SETTLE_MS);
  const now = readRunState(path);
  if (now !== undefined && now.pid !== process.pid) throw alreadyRunning(now, path);

  return {
    orphans: Object.entries(state.children)
      .map(([name, child]) => ({ name, ...child }))
      .filter(isRunning),
    update(changes) {
      state = { ...state, ...changes };
      write();
    },
    recordChild(name, pid) {
      const { [name]: _, ...others } = state.children;
      const identity = pid === undefined ? undefined : processIdentity(pid);
      const children =
        pid === undefined || identity === undefined ? others : { ...others, [name]: { pid, identity } };
      state = { ...state, children };
      write();
    },
    release() {
      unlinkSync(path);
    },
  };
}

/** The state of the stack that runs on this directory, or undefined if none does. */
export function findRunning(path: string): RunState | undefined {
  const state = readRunState(path);
  return state !== undefined && isRunning(state) ? state : undefined;
}

/** A file that cannot be read tells nothing: it was cut short together with whoever wrote it. */
function readRunState(path: string): RunState | undefined {
  try {
    return schema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch {
    return undefined;
  }
}

function isRunning({ pid, identity }: { pid: number; identity: string }): boolean {
  return isSameProcess(pid, identity);
}

function thisProcess(): Pick<RunState, 'pid' | 'identity' | 'started_at'> {
  return {
    pid: process.pid,
    identity: processIdentity(process.pid) ?? '',
    started_at: new Date().toISOString(),
  };
}

const NOTHING_YET = {
  state: 'starting' as const,
  base_url: null,
  nats_url: null,
  nats_monitor_url: null,
  clickhouse_admin_url: null,
  local_chain: null,
  health: {},
};

function alreadyRunning(other: RunState, path: string): ImmutableError {
  const where = other.base_url === null ? '' : ` at ${other.base_url}`;
  return new ImmutableError(
    'misconfigured',
    `Immutable already runs on this data directory${where} (process ${other.pid}, ${path}).`,
    { nextStep: `Stop it first (kill ${other.pid}), or set IMMUTABLE_DATA_DIR to another directory.` },
  );
}
