import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Role, startRole } from '../e2e/role.ts';
import { runProgram, type Stack, startStack } from '../support/stack.ts';
import { brokenPromises, untilSettled } from './audit.ts';
import { type Clients, createLedger, startClients, type Target } from './client.ts';
import { everythingDies, killAndAwait, pause, somethingBreaks, standStill, VICTIMS } from './faults.ts';
import { faultForm } from './form.ts';
import { createRandom } from './random.ts';

const { rounds, seed, isLong } = faultForm();
const random = createRandom(seed);
const CLIENTS = 8;
/** After so many rounds everything is held against what was promised, and the whole machine goes down once. */
const ROUNDS_A_CHECK = 12;
const ROUND_MS = 60_000;

const ledger = createLedger();
let stack: Stack;
const abandoned = new AbortController();
let targets: [Target, ...Target[]];

beforeAll(async () => {
  process.stdout.write(`fault suite: ${rounds} rounds, FAULT_SEED=${seed}\n`);
  stack = await startStack({ env: { IMMUTABLE_LOG_LEVEL: 'warn' } });
  targets = [
    { baseUrl: () => stack.baseUrl, workspaceId: stack.workspaceId, apiKey: stack.apiKey },
    await newTarget('second'),
    await newTarget('third'),
  ];
}, 120_000);

afterAll(async () => {
  abandoned.abort();
  const { requests, failures, acknowledged } = ledger;
  process.stdout.write(
    `fault suite: ${acknowledged.size} events acknowledged, ${failures} of ${requests} requests failed\n`,
  );
  await stack?.stop();
});

test(
  'whatever is killed, nothing acknowledged is missing or doubled',
  async () => {
    for (let done = 0; done < rounds; done += ROUNDS_A_CHECK) {
      const clients = sending(`kill-${done}`);
      for (const victim of done === 0 ? shuffled(VICTIMS) : []) await killAndAwait(stack, [victim], random);
      const left = Math.min(ROUNDS_A_CHECK, rounds - done) - 1;
      for (let round = done === 0 ? VICTIMS.length : 0; round < left; round += 1) {
        await somethingBreaks(stack, random);
      }
      await everythingDies(stack, random);
      await expectAllKept(clients);
    }
  },
  rounds * ROUND_MS,
);

test(
  'a chain process that is paused longer than its lease steps down from what another took over',
  async () => {
    const second = await startRole(stack, 'chain');
    const clients = sending('pause');
    await sleep(1_000);
    const paused = pause(pidOf('chain'));
    try {
      // Only the second one can store these.
      await untilSettled(targets, ledger);
    } finally {
      paused.resume();
    }
    await sleep(2_000);
    // One that is killed is only succeeded when its lease has run out.
    await (isLong ? second.kill9() : second.stop());
    await expectAllKept(clients);
  },
  5 * ROUND_MS,
);

test(
  'two chain processes, paused and killed in turns, extend one chain',
  async () => {
    const longestPauseMs = isLong ? 15_000 : 3_000;
    let second = await startRole(stack, 'chain');
    const clients = sending('both');
    for (let round = 0; round < Math.ceil(rounds / 5); round += 1) {
      await standStill(random.chance(0.5) ? pidOf('chain') : second.pid, random, longestPauseMs);
      second = await killOneOf(second);
    }
    await expectAllKept(clients);
    await second.stop();
  },
  rounds * ROUND_MS,
);

test(
  'two tree processes, paused and killed in turns, sign one history',
  async () => {
    const longestPauseMs = isLong ? 15_000 : 3_000;
    let second = await startRole(stack, 'tree');
    const clients = sending('tree');
    for (let round = 0; round < Math.ceil(rounds / 8); round += 1) {
      await standStill(random.chance(0.5) ? pidOf('tree') : second.pid, random, longestPauseMs);
      if (random.chance(0.5)) {
        await killAndAwait(stack, ['tree'], random);
      } else {
        await second.kill9();
        second = await startRole(stack, 'tree');
      }
    }
    await expectAllKept(clients);
    await second.stop();
  },
  rounds * ROUND_MS,
);

function sending(run: string): Clients {
  return startClients({
    targets,
    ledger,
    clients: CLIENTS,
    // Of their own: which client asks first is chance, and must not change what breaks next.
    random: createRandom(seed + 1),
    run,
    signal: abandoned.signal,
  });
}

/** Ends the sending, waits until all of it is stored, and holds what is stored against what was promised. */
async function expectAllKept(clients: Clients): Promise<void> {
  await clients.stop();
  await untilSettled(targets, ledger);
  expect(await brokenPromises(stack, ledger)).toEqual([]);
}

async function killOneOf(second: Role): Promise<Role> {
  if (random.chance(0.5)) {
    await killAndAwait(stack, ['chain'], random);
    return second;
  }
  await sleep(random.between(200, 1500));
  await second.kill9();
  return await startRole(stack, 'chain');
}

async function newTarget(name: string): Promise<Target> {
  const { stdout } = await runProgram(['workspace', 'create', name, '--json'], {
    IMMUTABLE_DATA_DIR: stack.directory.path,
  });
  const made = JSON.parse(stdout) as { workspace: { id: string }; api_key: string };
  return { baseUrl: () => stack.baseUrl, workspaceId: made.workspace.id, apiKey: made.api_key };
}

function pidOf(name: 'chain' | 'tree'): number {
  const pid = stack.pid(name);
  if (pid === undefined) throw new Error(`${name} is not running`);
  return pid;
}

function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, place: random.next() }))
    .sort((a, b) => a.place - b.place)
    .map(({ item }) => item);
}
