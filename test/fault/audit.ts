import { setTimeout as sleep } from 'node:timers/promises';
import { checkLog } from '../check-log/check-log.ts';
import type { Stack } from '../support/stack.ts';
import type { Ledger, Target } from './client.ts';

const SETTLED_WITHIN_MS = 120_000;
const ANSWER_WITHIN_MS = 10_000;

/**
 * Waits until everything accepted so far is stored: one more event to each workspace, which stands behind
 * all the others of its partition.
 */
export async function untilSettled(targets: readonly Target[], ledger: Ledger): Promise<void> {
  for (const target of targets) {
    const id = await sendLast(target);
    ledger.acknowledged.set(id, { workspaceId: target.workspaceId, marker: 'last' });
    const isFound = async () => (await ask(target, `/events/${id}`)).status === 200;
    await eventually(isFound, `the last event of ${target.workspaceId} is stored`);
  }
}

/** What was promised and is not so, one sentence each; empty when all is well. Nothing may be under way. */
export async function brokenPromises(stack: Stack, ledger: Ledger): Promise<string[]> {
  const report = await checkLog({
    clickhouse: stack.clickhouseUrls.admin,
    nats: stack.natsUrl,
    acknowledged: ledger.acknowledged,
  });
  const problems = report.checks.flatMap(({ name, problems }) => problems.map((one) => `${name}: ${one}`));
  return [...ledger.wrong, ...problems];
}

async function sendLast(target: Target): Promise<string> {
  const event = { actor_id: 'auditor', action: 'fault.settled', idempotency_key: `last-${Date.now()}` };
  let id = '';
  const isTaken = async () => {
    const { status, json } = await ask(target, '/events', event);
    id = String(json.id);
    return status === 202;
  };
  await eventually(isTaken, `${target.workspaceId} takes an event`);
  return id;
}

async function ask(
  target: Target,
  path: string,
  body?: unknown,
): Promise<{ status: number; json: Record<string, unknown> }> {
  const response = await fetch(`${target.baseUrl()}/api/v1${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${target.apiKey}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
  });
  return { status: response.status, json: (await response.json()) as Record<string, unknown> };
}

async function eventually(holds: () => Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + SETTLED_WITHIN_MS;
  while (!(await holds().catch(() => false))) {
    if (performance.now() > deadline) throw new Error(`it did not happen that ${what}`);
    await sleep(50);
  }
}
