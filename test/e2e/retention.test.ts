import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readOrMakeSecrets } from '../../cli/secrets.ts';
import { readOrCreateInstall } from '../../control/install.ts';
import {
  logNameOf,
  openSigningSeeds,
  readSigningKeys,
  SIGNING_KEY_PURPOSE,
  SIGNING_KEYS,
} from '../../control/signing-keys.ts';
import { connectClickHouse } from '../../infra/clickhouse/client.ts';
import { createLogger } from '../../infra/log.ts';
import { connectNats } from '../../infra/nats/connect.ts';
import { openBucket } from '../../infra/nats/kv.ts';
import { BUCKETS } from '../../infra/nats/names.ts';
import { streamEpoch } from '../../infra/nats/streams.ts';
import { createSealer } from '../../infra/seal.ts';
import { chainEvents, insertSeeded } from '../support/seed.ts';
import { type Ended, runProgram, type Stack, startStack, until } from '../support/stack.ts';
import { storeTree, type TestLog } from '../support/tree.ts';

const DAY_MS = 24 * 3600 * 1000;
const DAYS = 40;

let stack: Stack;
let workspaceId: string;
let key: string;
let analyst: { url: string; user: string; password: string } | undefined;

beforeAll(async () => {
  stack = await startStack();
  const { workspace, api_key } = JSON.parse((await immutable('workspace', 'create', 'Old', '--json')).stdout);
  workspaceId = workspace.id;
  key = api_key;
  const inputs = Array.from({ length: DAYS }, (_, day) => ({
    actor_id: 'user_1',
    action: 'document.read',
    metadata: { day },
  }));
  // Half a day ago, and each day before that.
  const events = chainEvents(workspaceId, inputs, {
    startMicros: (Date.now() - (DAYS - 0.5) * DAY_MS) * 1000,
    stepMicros: DAY_MS * 1000,
  });
  const writer = connectClickHouse(stack.clickhouseUrls.writer);
  await insertSeeded(writer, events, { epoch: await epochOf(stack.natsUrl), partition: 99 });
  await storeTree(writer, await logOf(stack, workspaceId), events);
  await writer.close();
  // What is seeded stands in nobody's way, also at the next start.
  await stack.untilBack('chain', await stack.kill9('chain'));
});
afterAll(() => stack?.stop());

async function epochOf(natsUrl: string): Promise<string> {
  const nc = await connectNats({ url: natsUrl, name: 'test', log: createLogger('test', 'silent') });
  const epoch = await streamEpoch(nc);
  await nc.close();
  return epoch;
}

/** The log that the stack itself would sign: these events came past its tree stage. */
async function logOf({ natsUrl, directory }: Stack, workspaceId: string): Promise<TestLog> {
  const nc = await connectNats({ url: natsUrl, name: 'test', log: createLogger('test', 'silent') });
  const signing = await (await openBucket(nc, BUCKETS.signing)).get(SIGNING_KEYS);
  const { log_origin } = await readOrCreateInstall(await openBucket(nc, BUCKETS.install), {});
  await nc.close();
  const sealer = createSealer(readOrMakeSecrets(directory.keys).secretKey, SIGNING_KEY_PURPOSE);
  const [seed = new Uint8Array()] = openSigningSeeds(readSigningKeys(signing?.value), sealer, Date.now());
  const name = logNameOf(log_origin, workspaceId);
  return { workspaceId, name, key: { name, seed } };
}

function immutable(...args: string[]): Promise<Ended> {
  return runProgram(args, { IMMUTABLE_DATA_DIR: stack.directory.path });
}

async function get(path: string): Promise<{ status: number; json: unknown }> {
  const response = await fetch(`${stack.baseUrl}/api/v1${path}`, {
    headers: { authorization: `Bearer ${key}` },
  });
  return { status: response.status, json: await response.json() };
}

async function total(): Promise<unknown> {
  const { json } = await get('/events?limit=1');
  return json;
}

/** What the operator's chain says was archived. */
async function archivedByOperator(): Promise<string[]> {
  return (
    await select<{ resource_id: string }>(
      "SELECT resource_id FROM immutable.events WHERE action = 'immutable.events_archived'",
    )
  ).map((row) => row.resource_id);
}

/** What the workspace's analyst counts. */
async function analystCount(): Promise<string> {
  analyst ??= JSON.parse((await immutable('analyst', 'create', '--workspace', workspaceId, '--json')).stdout);
  const { url = '', user = '', password = '' } = analyst ?? {};
  const headers = { 'X-ClickHouse-User': user, 'X-ClickHouse-Key': password };
  const response = await fetch(url, { method: 'POST', headers, body: 'SELECT count() FROM audit_events' });
  return await response.text();
}

async function select<Row>(query: string): Promise<Row[]> {
  const reader = connectClickHouse(stack.clickhouseUrls.reader);
  const result = await reader.query({ query, format: 'JSONEachRow' });
  const rows = await result.json<Row>();
  await reader.close();
  return rows;
}

interface Listed {
  id: string;
  plan: string;
  retention: unknown;
}

async function listed(): Promise<Listed | undefined> {
  const all: Listed[] = JSON.parse((await immutable('workspace', 'list', '--json')).stdout);
  return all.find(({ id }) => id === workspaceId);
}

describe('a workspace that keeps its events for as long as its plan says', () => {
  const shown = async (count: number) =>
    await until(async () => JSON.stringify(await total()).includes(`"total":${count},`), 5_000);

  it('hides what is older at once when the plan is a shorter one, and shows it on a longer', async () => {
    expect(await listed()).toMatchObject({ plan: 'enterprise', retention: { days: null, because: 'plan' } });
    const plan = await immutable('workspace', 'plan', workspaceId, 'free');
    expect(plan.stdout).toBe(`${workspaceId} keeps its events for 30 days (plan free).\n`);
    await shown(30);
    expect(await listed()).toMatchObject({ plan: 'free', retention: { days: 30, because: 'plan' } });
    await immutable('workspace', 'plan', workspaceId, 'starter');
    await shown(DAYS);
  });

  it('has a setting of its own before that, until it is left to the plan', async () => {
    await immutable('workspace', 'plan', workspaceId, 'free');
    await immutable('workspace', 'retention', workspaceId, 'unlimited');
    await shown(DAYS);
    expect((await immutable('workspace', 'list')).stdout).toMatch(/free +for ever \(own setting\)/);
    await immutable('workspace', 'retention', workspaceId, 'plan');
    await shown(30);
    expect((await immutable('workspace', 'list')).stdout).toMatch(/free +30 days \(plan\)/);
    await immutable('workspace', 'plan', workspaceId, 'enterprise');
    await shown(DAYS);
  });

  it('is made with a plan, and never with one that does not exist', async () => {
    const made = JSON.parse(
      (await immutable('workspace', 'create', 'Pro', '--plan', 'pro', '--json')).stdout,
    );
    expect(made.workspace).toMatchObject({ plan: 'pro' });
    for (const wrong of [
      ['workspace', 'create', 'Gold', '--plan', 'gold'],
      ['workspace', 'plan', workspaceId, 'gold'],
      ['workspace', 'retention', workspaceId, 'gold'],
    ]) {
      expect((await immutable(...wrong)).code).toBe(2);
    }
  });
});

describe('a workspace that keeps its events for ten days', () => {
  it('hides what is older at once, and shows it again under a legal hold', async () => {
    expect(await total()).toMatchObject({ pagination: { total: DAYS } });
    const oldest = await get('/events?order=asc&limit=1');
    expect(oldest.json).toMatchObject({ data: [{ integrity: { seq: 1 } }] });
    const id = JSON.parse(JSON.stringify(oldest.json)).data[0].id;
    expect((await get(`/events/${id}`)).status).toBe(200);

    expect((await immutable('workspace', 'retention', workspaceId, '10')).stdout).toContain('for 10 days');
    await until(async () => (await get(`/events/${id}`)).status === 404, 5_000);
    expect(await total()).toMatchObject({ pagination: { total: 10 } });
    expect((await get(`/events?to=${new Date(Date.now() - 20 * DAY_MS).toISOString()}`)).json).toMatchObject({
      data: [],
      pagination: { total: 0 },
    });

    await until(async () => (await analystCount()) === '10\n', 5_000);
    expect((await get('/verify')).json).toMatchObject({ data: { valid: true, events_checked: DAYS } });

    await immutable('workspace', 'hold', workspaceId, '--reason', 'case 7');
    await until(async () => (await analystCount()) === `${DAYS}\n`, 5_000);
    await until(async () => (await get(`/events/${id}`)).status === 200, 5_000);
    expect((await immutable('retention', 'run')).stdout).toBe('Nothing is past its retention.\n');
    await immutable('workspace', 'hold', workspaceId, '--release');
    await until(async () => (await get(`/events/${id}`)).status === 404, 5_000);
  });

  it('has the rest archived and removed, and says so in the chain of the operator', async () => {
    const run = await immutable('retention', 'run', '--json');
    expect(run.code).toBe(0);
    const last = DAYS - 10;
    expect(JSON.parse(run.stdout)).toMatchObject({
      removals: [{ workspace_id: workspaceId, first_seq: 1, last_seq: last, archives: 1 }],
      refused: [],
    });
    expect((await get('/verify')).json).toMatchObject({
      data: { valid: true, complete: true, from_seq: last + 1, to_seq: DAYS },
    });
    await until(async () => (await archivedByOperator()).includes(`${workspaceId}:1-${last}`), 10_000);
    expect((await immutable('retention', 'run')).stdout).toBe('Nothing is past its retention.\n');
  });

  it('has archives that are checked offline, and come back for reading', async () => {
    const [manifest] = JSON.parse((await immutable('archive', 'list', workspaceId, '--json')).stdout);
    expect(manifest).toMatchObject({ workspace_id: workspaceId, first_seq: 1, rows: DAYS - 10 });
    const { stdout: listed } = await immutable('archive', 'list', workspaceId);
    const object = /archives\/\S+\.jsonl\.gz/.exec(listed)?.[0] ?? '';
    expect((await immutable('archive', 'verify', object)).stdout).toContain('✓ 30 events');

    const folder = stack.directory.path;
    const [file, copy] = [join(folder, 'objects', object), join(folder, 'copy.jsonl.gz')];
    copyFileSync(file, copy);
    const beside = file.replace('.jsonl.gz', '.manifest.json');
    const alone = await immutable('archive', 'verify', copy);
    expect(alone.code).toBe(1);
    expect(alone.output).toContain('--manifest');
    expect((await immutable('archive', 'verify', copy, '--manifest', beside)).code).toBe(0);
    const bytes = readFileSync(copy);
    bytes[100] = (bytes[100] ?? 0) ^ 1;
    writeFileSync(copy, bytes);
    const damaged = await immutable('archive', 'verify', copy, '--manifest', beside, '--json');
    expect(damaged.code).toBe(1);
    expect(JSON.parse(damaged.stdout)).toMatchObject({ valid: false });

    expect((await immutable('archive', 'restore', object)).stdout).toContain('immutable.restored_events');
    expect(
      await select('SELECT count() AS count, min(seq) AS first FROM immutable.restored_events FINAL'),
    ).toEqual([{ count: DAYS - 10, first: 1 }]);
  });
});
