import { setTimeout as sleep } from 'node:timers/promises';
import type { Stack, StackProcess } from '../support/stack.ts';
import type { Random } from './random.ts';

/** What is killed in these suites: every process an event passes. */
export const VICTIMS = ['serve', 'nats', 'chain', 'clickhouse'] as const satisfies readonly StackProcess[];
export type Victim = (typeof VICTIMS)[number];

/** Kills each with no chance to react, and resolves once all of them serve again. */
export async function killAndAwait(stack: Stack, victims: readonly Victim[]): Promise<void> {
  const killed: { name: Victim; former: number }[] = [];
  // One between two lives is dead already; what is asked of it is that it comes back.
  for (const name of victims) {
    const pid = stack.pid(name);
    killed.push({ name, former: pid === undefined ? 0 : await stack.kill9(name) });
  }
  for (const { name, former } of killed) await stack.untilBack(name, former);
}

/** Stops a process in the middle of whatever it is doing; `resume` lets it go on as if no time had passed. */
export function pause(pid: number): { resume(): void } {
  process.kill(pid, 'SIGSTOP');
  return { resume: () => process.kill(pid, 'SIGCONT') };
}

/** One victim, sometimes two at once, after a moment that leaves it at any point of its work. */
export async function somethingBreaks(stack: Stack, random: Random): Promise<string> {
  const victim = random.oneOf(VICTIMS);
  const other = random.oneOf(VICTIMS);
  const victims = random.chance(0.2) && other !== victim ? [victim, other] : [victim];
  await sleep(random.between(200, 1500));
  await killAndAwait(stack, victims);
  return victims.join(' and ');
}
