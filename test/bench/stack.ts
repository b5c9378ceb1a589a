import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { readOrMakeSecrets } from '../../cli/secrets.ts';
import { cursorKeyFrom } from '../../cli/serve.ts';
import { createKey, WORKSPACE_SCOPES } from '../../control/keys.ts';
import { createWorkspace } from '../../control/workspaces.ts';
import { hexEncode } from '../../core/bytes.ts';
import { checkpointText, signNote } from '../../core/checkpoint.ts';
import type { EventInput } from '../../core/event.ts';
import { formatTimestamp } from '../../core/time.ts';
import { createTreeBuilder } from '../../core/tree-builder.ts';
import { connectClickHouse } from '../../infra/clickhouse/client.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import { nativeHasher } from '../../infra/hash.ts';
import type { Logger } from '../../infra/log.ts';
import { connectNats } from '../../infra/nats/connect.ts';
import { openBucket } from '../../infra/nats/kv.ts';
import { BUCKETS } from '../../infra/nats/names.ts';
import { clickHouseTreeStore } from '../../pipeline/tree/clickhouse-store.ts';
import { chained, insertSeeded } from '../support/seed.ts';
import { type Stack, type StackProcess, startStack } from '../support/stack.ts';
import { documentEventInput } from './event.ts';
import type { ObservedProcess } from './memory.ts';
import { type Query, runSql } from './sql.ts';

/** The real stack, with what a case needs of it. */
export interface BenchStack {
  baseUrl: string;
  address: { host: string; port: number };
  /** Every process of the product, the supervisor included; the load generator is not one of them. */
  processes(): ObservedProcess[];
  /** New workspaces with a key each, known to the edge when this resolves. */
  workspaces(count: number): Promise<BenchWorkspace[]>;
  workspace(): Promise<BenchWorkspace>;
  /** Lets the chain stage stand still until the function it returns is called. */
  pauseChain(): () => void;
  /** Events stored and countable by now, of every workspace. */
  storedEvents(): Promise<number>;
  /** Stores a valid chain of that many events in an empty workspace, past edge and stream. */
  seed(workspace: BenchWorkspace, events: number): Promise<void>;
  /** Stores the tree of a workspace's events, and a checkpoint of all, for events that the tree stage has not seen. */
  sign(workspace: BenchWorkspace): Promise<void>;
  /** Resolves when ClickHouse has no merges under way, which would take their share of what is measured next. */
  untilQuiet(): Promise<void>;
  /** Asks ClickHouse as the user that may do everything; the answer is what its FORMAT gives. */
  sql(query: string, options?: Query): Promise<Buffer>;
  /** Where the user that answers queries asks. */
  readerUrl: string;
  /** Signs the cursors of this stack. */
  cursorKey: Uint8Array;
}

export interface BenchWorkspace {
  id: string;
  apiKey: string;
}

const PROCESSES: readonly StackProcess[] = ['up', 'nats', 'clickhouse', 'chain', 'tree', 'anchor', 'serve'];
/** All in one month, as far as 10 million go. */
const SEED_STEP_MICROS = 100_000;
const QUIET_WITHIN_MS = 60_000;
const KEYS_KNOWN_WITHIN_MS = 5000;

/** A stack of its own for one case, on an empty directory, ended and removed whatever happens; one on `dataDir` is kept. */
export async function withStack<T>(
  { progress, log, dataDir }: { progress(text: string): void; log: Logger; dataDir?: string | undefined },
  use: (stack: BenchStack) => Promise<T>,
): Promise<T> {
  progress('starting the stack');
  const stack = await startStack({
    ...(dataDir === undefined ? {} : { dataDir }),
    env: { IMMUTABLE_LOG_LEVEL: 'warn' },
  });
  try {
    return await use(benchStack(stack, log));
  } finally {
    await stack.stop();
  }
}

function benchStack(stack: Stack, log: Logger): BenchStack {
  const { hostname, port } = new URL(stack.baseUrl);
  const sql = (query: string, options?: Query) => runSql(stack.clickhouseUrls.admin, query, options);
  const workspaces = async (count: number) => {
    const made = await makeWorkspaces(stack.natsUrl, count, log);
    for (const { apiKey } of made) await untilKnown(stack.baseUrl, apiKey);
    return made;
  };
  return {
    baseUrl: stack.baseUrl,
    address: { host: hostname, port: Number(port) },
    processes: () =>
      PROCESSES.flatMap((name) => {
        const pid = stack.pid(name);
        return pid === undefined ? [] : [{ name, pid }];
      }),
    workspaces,
    async workspace() {
      const [only] = await workspaces(1);
      if (only === undefined) throw new Error('no workspace was made');
      return only;
    },
    seed: (workspace, events) => seedChain(stack.clickhouseUrls.admin, workspace, events),
    sign: (workspace) => signLog(stack.clickhouseUrls.admin, sql, workspace),
    pauseChain() {
      const pid = stack.pid('chain');
      if (pid === undefined) throw new Error('the chain stage does not run');
      process.kill(pid, 'SIGSTOP');
      return () => process.kill(pid, 'SIGCONT');
    },
    storedEvents: async () => Number(await sql(`SELECT count() FROM ${TABLES.events}`)),
    untilQuiet: async () => {
      const deadline = performance.now() + QUIET_WITHIN_MS;
      while (Number(await sql('SELECT count() FROM system.merges')) > 0 && performance.now() < deadline) {
        await sleep(200);
      }
    },
    sql,
    readerUrl: stack.clickhouseUrls.reader,
    cursorKey: cursorKeyOf(stack),
  };
}

function cursorKeyOf(stack: Stack): Uint8Array {
  const { secretKeyFile } = readOrMakeSecrets(stack.directory.keys);
  return cursorKeyFrom(readFileSync(secretKeyFile, 'utf8').trim(), 'bench');
}

async function makeWorkspaces(natsUrl: string, count: number, log: Logger): Promise<BenchWorkspace[]> {
  const nc = await connectNats({ url: natsUrl, name: 'bench', log });
  try {
    const [workspaces, keys] = [await openBucket(nc, BUCKETS.workspaces), await openBucket(nc, BUCKETS.keys)];
    const made: BenchWorkspace[] = [];
    for (let index = 0; index < count; index += 1) {
      const { id } = await createWorkspace(workspaces, { name: `Bench ${index}` });
      const { token } = await createKey(keys, { workspaceId: id, scopes: WORKSPACE_SCOPES, label: 'bench' });
      made.push({ id, apiKey: token });
    }
    return made;
  } finally {
    await nc.close();
  }
}

async function seedChain(clickhouseUrl: string, workspace: BenchWorkspace, events: number): Promise<void> {
  const clickhouse = connectClickHouse(clickhouseUrl);
  try {
    await insertSeeded(
      clickhouse,
      chained(workspace.id, documentEvents(events), { stepMicros: SEED_STEP_MICROS }),
    );
  } finally {
    await clickhouse.close();
  }
}

const HASH_BYTES = 32;
const TILES_AT_ONCE = 1000;

async function signLog(
  clickhouseUrl: string,
  sql: BenchStack['sql'],
  { id: workspaceId }: BenchWorkspace,
): Promise<void> {
  const clickhouse = connectClickHouse(clickhouseUrl);
  try {
    const store = clickHouseTreeStore(clickhouse);
    const leaves = await sql(`SELECT SHA256(concat(unhex('00'), event_hash)) FROM ${TABLES.events}
      WHERE workspace_id = '${workspaceId}' ORDER BY created_at FORMAT RowBinary`);
    const builder = createTreeBuilder(0, new Map(), nativeHasher);
    for (let at = 0; at < leaves.length; at += HASH_BYTES)
      builder.append(leaves.subarray(at, at + HASH_BYTES));
    const tiles = [...builder.takeFullTiles(), ...builder.partialTiles()];
    for (let from = 0; from < tiles.length; from += TILES_AT_ONCE) {
      const some = tiles.slice(from, from + TILES_AT_ONCE);
      await store.writeTiles(some.map((tile) => ({ ...tile, workspaceId })));
    }
    const signer = { name: `bench.test/${workspaceId}`, seed: new Uint8Array(HASH_BYTES) };
    const { size } = builder;
    const root = builder.root();
    const note = signNote(checkpointText(signer.name, size, root), signer, nativeHasher);
    const signedAt = formatTimestamp(Date.now() * 1000);
    await store.writeCheckpoints([
      { workspaceId, size, root: hexEncode(root), note, cosignatures: 0, isWitnessed: false, signedAt },
    ]);
  } finally {
    await clickhouse.close();
  }
}

function* documentEvents(count: number): Generator<EventInput> {
  for (let variant = 0; variant < count; variant += 1) yield documentEventInput(variant);
}

async function untilKnown(baseUrl: string, apiKey: string): Promise<void> {
  const deadline = performance.now() + KEYS_KNOWN_WITHIN_MS;
  for (;;) {
    const response = await fetch(`${baseUrl}/api/v1/events?limit=1`, {
      headers: { authorization: `Bearer ${apiKey}` },
    });
    await response.arrayBuffer();
    if (response.status === 200) return;
    if (performance.now() > deadline) throw new Error(`a new key is answered ${response.status}`);
  }
}
