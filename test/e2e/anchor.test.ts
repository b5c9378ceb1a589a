import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { anvil, describeNeeding } from '../support/requirements.ts';
import {
  type Ended,
  runProgram,
  type Stack,
  type StackProcess,
  startStack,
  until,
} from '../support/stack.ts';
import { startRole } from './role.ts';

interface ShownBatch {
  number: number;
  status: string;
  reason: string | null;
  workspaces: number;
  tx_hash: string | null;
}

function anchor(stack: Stack, ...args: string[]): Promise<Ended> {
  return runProgram(['anchor', ...args, '--json'], { IMMUTABLE_DATA_DIR: stack.directory.path });
}

function batchesIn({ stdout, code, output }: Ended): ShownBatch[] {
  expect(code, output).toBe(0);
  return JSON.parse(stdout).batches;
}

async function sendSigned(stack: Stack): Promise<void> {
  const call = (path: string, body?: object) =>
    fetch(`${stack.baseUrl}/api/v1${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { authorization: `Bearer ${stack.apiKey}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  const accepted = await call('/events', { actor_id: 'tester', action: 'thing.done' });
  const { id }: { id: string } = JSON.parse(await accepted.text());
  await until(async () => (await call(`/events/${id}/proof`)).ok, 30_000);
}

describe('a stack without a chain', () => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack();
  });
  afterAll(() => stack?.stop());

  it('has an anchor job that is ready, and metrics of it', async () => {
    const health = stack.healthUrls.anchor;
    expect((await fetch(`${health}/readyz`)).status).toBe(200);
    const metrics = await (await fetch(`${health}/metrics`)).text();
    expect(metrics).toContain('immutable_anchor_batches{status="pending",role="anchor"}');
    expect(batchesIn(await anchor(stack, 'list'))).toEqual([]);
  });

  it('makes anchors on demand, which wait and say for what', async () => {
    expect(batchesIn(await anchor(stack, 'run', '--now'))).toEqual([]);
    await sendSigned(stack);
    const made = batchesIn(await anchor(stack, 'run', '--now'));
    expect(made).toMatchObject([
      {
        number: 1,
        status: 'pending',
        workspaces: 1,
        tx_hash: null,
        reason: expect.stringContaining('IMMUTABLE_ANCHOR_RPC_URL'),
      },
    ]);
    expect(batchesIn(await anchor(stack, 'list'))).toEqual(made);
  });

  it('refuses a day that is not over, with a sentence', async () => {
    const today = new Date().toISOString().slice(0, 10);
    const ended = await runProgram(['anchor', 'run', '--period', today], {
      IMMUTABLE_DATA_DIR: stack.directory.path,
    });
    expect(ended).toMatchObject({ code: 1, output: expect.stringContaining('cannot be anchored before') });
  });

  it('has room for a second job, which stands by', async () => {
    const second = await startRole(stack, 'anchor');
    await second.stop();
  });
});

await describeNeeding(anvil, 'a stack with a local chain', () => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack({ args: ['--local-chain'] });
  });
  afterAll(() => stack?.stop());

  it('gives the key of the account, and the address of the chain, to no process but the one that anchors', () => {
    const knows = (name: StackProcess) => {
      const environment = readFileSync(`/proc/${stack.pid(name)}/environ`, 'utf8');
      return ['IMMUTABLE_ANCHOR_PRIVATE_KEY', 'IMMUTABLE_ANCHOR_RPC_URL'].map((setting) =>
        new RegExp(`${setting}=[^\\0]`).test(environment),
      );
    };
    expect(knows('anchor')).toEqual([true, true]);
    for (const name of ['nats', 'clickhouse', 'chain', 'tree', 'serve'] as const) {
      expect(knows(name), name).toEqual([false, false]);
    }
  });

  it('brings onto it what is anchored on demand, also when the job is killed meanwhile', async () => {
    await sendSigned(stack);
    const running = anchor(stack, 'run', '--now');
    await stack.kill9('anchor');
    expect(batchesIn(await running)).toMatchObject([{ number: 1, status: 'confirmed', reason: null }]);
  });
});

describe('settings that contradict each other', () => {
  const KEY = `0x${'1'.repeat(64)}`;

  it.each([
    [
      { IMMUTABLE_ANCHOR_RPC_URL: 'https://chain.example.com/v2/s3cret' },
      ['IMMUTABLE_ANCHOR_CONTRACT', 'IMMUTABLE_ANCHOR_PRIVATE_KEY'],
    ],
    [{ IMMUTABLE_ANCHOR_PRIVATE_KEY: KEY }, ['IMMUTABLE_ANCHOR_RPC_URL']],
  ])('are named at the start, all at once: %j', async (settings, named) => {
    const ended = await runProgram(['anchor'], {
      ...settings,
      IMMUTABLE_NATS_URL: 'nats://127.0.0.1:1',
      IMMUTABLE_CLICKHOUSE_URL: 'http://127.0.0.1:1',
    } as Record<string, string>);
    expect(ended.code).toBe(1);
    for (const name of named) expect(ended.output).toContain(name);
    expect(ended.output).not.toContain('s3cret');
    expect(ended.output).not.toContain('1111');
  });
});
