import { TABLES } from '../../../infra/clickhouse/names.ts';
import type { BenchCase } from '../case.ts';
import { amount } from '../report.ts';
import { type BenchStack, type BenchWorkspace, withStack } from '../stack.ts';

const GOAL_PER_SECOND = 2_000_000;
const ROUNDS = 3;
const SHORT_EVENTS = 1_000_000;
const FULL_EVENTS = 10_000_000;

/** GET /verify over one whole chain. */
export const verify: BenchCase = {
  name: 'verify',
  about: `a whole chain of ${amount(SHORT_EVENTS)} events (${amount(FULL_EVENTS)} with --full) through GET /verify`,
  async run({ full, progress, log }) {
    const events = full ? FULL_EVENTS : SHORT_EVENTS;
    return await withStack({ progress, log }, async (stack) => {
      const workspace = await stack.workspace();
      progress(`making a chain of ${amount(events)} events`);
      await stack.seed(workspace, events);
      await stack.untilQuiet();
      progress(`verifying ${amount(events)} events, ${ROUNDS} times`);
      const verifyMs = await median(ROUNDS, () => timeOf(() => verifyAll(stack, workspace, events)));
      const hashMs = await median(ROUNDS, () => timeOf(() => hashAll(stack, workspace)));

      const value = (events * 1000) / verifyMs;
      return [
        {
          name: 'verify',
          value,
          unit: 'events/s',
          goal: { text: `≥ ${GOAL_PER_SECOND.toLocaleString('en-US')} /s`, met: value >= GOAL_PER_SECOND },
          limit: { name: 'SHA-256 of the same bytes in SQL', value: (events * 1000) / hashMs },
          remarks: [`${amount(events)} events in ${amount(verifyMs)} ms, median of ${ROUNDS}`],
        },
      ];
    });
  },
};

async function verifyAll(stack: BenchStack, workspace: BenchWorkspace, events: number): Promise<void> {
  const response = await fetch(`${stack.baseUrl}/api/v1/verify?limit=${events}`, {
    headers: { authorization: `Bearer ${workspace.apiKey}` },
  });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`/verify was answered ${response.status}: ${text}`);
  const { data } = JSON.parse(text) as { data: { valid: boolean; events_checked: number } };
  if (!data.valid || data.events_checked !== events) throw new Error(`/verify says ${text.slice(0, 1000)}`);
}

/** Both texts of every event, each hashed once: what no verification can leave out. */
async function hashAll(stack: BenchStack, workspace: BenchWorkspace): Promise<void> {
  await stack.sql(
    `SELECT countIf(SHA256(body) = SHA256(concat(salt, '\\n', private))) FROM ${TABLES.events} WHERE workspace_id = '${workspace.id}'`,
  );
}

async function timeOf(action: () => Promise<void>): Promise<number> {
  const from = performance.now();
  await action();
  return performance.now() - from;
}

async function median(rounds: number, measure: () => Promise<number>): Promise<number> {
  const measured: number[] = [];
  for (let round = 0; round < rounds; round += 1) measured.push(await measure());
  return measured.sort((a, b) => a - b)[Math.floor(rounds / 2)] ?? 0;
}
