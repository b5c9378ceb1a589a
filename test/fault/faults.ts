import { setTimeout as sleep } from 'node:timers/promises';
import type { Stack, StackProcess } from '../support/stack.ts';
import type { Random } from './random.ts';

/** What is killed in these suites: every process an event passes. */
export const VICTIMS = [
  'serve',
  'nats',
  'chain',
  'tree',
  'clickhouse',
] as const satisfies readonly StackProcess[];
export type Victim = (typeof VICTIMS)[number];

const LONGEST_PAUSE_MS = 3_000;

/** After a moment, kills each with no chance to react; resolves once all of them serve again. */
export async function killAndAwait(stack: Stack, victims: readonly Victim[], random: Random): Promise<void> {
  // Long enough to be at any point of their work.
  await sleep(random.between(200, 1500));
  const killed: { name: Victim; former: number }[] = [];
  // One between two lives is dead already; what is asked of it is that it comes back.
  for (const name of victims) {
    const pid = stack.pid(name);
    killed.push({ name, former: pid === undefined ? 0 : await stack.kill9(name) });
  }
  for (const { name, former } of killed) await stack.untilBack(name, former);
}

/** As when the machine loses its power and gets it back, except that what the kernel holds survives. */
export async function everythingDies(stack: Stack, random: Random): Promise<void> {
  await sleep(random.between(200, 1500));
  const children = VICTIMS.map((name) => stack.pid(name)).filter((pid) => pid !== undefined);
  await stack.kill9('up');
  for (const pid of children) killIfAlive(pid);
  await stack.restart();
}

function killIfAlive(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has noticed the loss of its supervisor already.
  }
}

/** Stops a process in the middle of whatever it is doing; `resume` lets it go on as if no time had passed. */
export function pause(pid: number): { resume(): void } {
  process.kill(pid, 'SIGSTOP');
  return { resume: () => process.kill(pid, 'SIGCONT') };
}

/** One or two of them are killed, or one stands still for a while, as a machine out of memory does. */
export async function somethingBreaks(stack: Stack, random: Random): Promise<void> {
  const victims = new Set([random.oneOf(VICTIMS)]);
  if (random.chance(0.2)) victims.add(random.oneOf(VICTIMS));
  const paused = random.chance(0.25) ? stack.pid(random.oneOf(VICTIMS)) : undefined;
  if (paused === undefined) await killAndAwait(stack, [...victims], random);
  else await standStill(paused, random, LONGEST_PAUSE_MS);
}

/** Lets a process stand still for half a second to `longestMs`, after a moment. */
export async function standStill(pid: number, random: Random, longestMs: number): Promise<void> {
  await sleep(random.between(200, 1000));
  const paused = pause(pid);
  await sleep(random.between(500, longestMs));
  paused.resume();
}
