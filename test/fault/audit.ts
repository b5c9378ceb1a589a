import { setTimeout as sleep } from 'node:timers/promises';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import type { Stack } from '../support/stack.ts';
import type { Ledger, Target } from './client.ts';

const SETTLED_WITHIN_MS = 120_000;

/**
 * Waits until everything accepted so far is stored: one more event to each workspace, which stands behind
 * all the others of its partition.
 */
export async function untilSettled(targets: readonly Target[], ledger: Ledger): Promise<void> {
  for (const target of targets) {
    const id = await sendLast(target);
    ledger.acknowledged.set(id, { workspaceId: target.workspaceId, marker: 'last', key: undefined });
    const found = () => get(target, `/events/${id}`).then(({ status }) => status === 200);
    await eventually(found, `the last event of ${target.workspaceId} is stored`);
  }
}

/** What was promised and is not so, one sentence each; empty when all is well. */
export async function brokenPromises(stack: Stack, ledger: Ledger): Promise<string[]> {
  const clickhouse = connectClickHouse(stack.clickhouseUrls.reader);
  try {
    return [...ledger.wrong, ...missingOrDoubled(ledger, await storedEvents(clickhouse))];
  } finally {
    await clickhouse.close();
  }
}

export interface StoredEvent {
  workspace_id: string;
  id: string;
  resource_id: string;
  idempotency_key: string;
}

async function storedEvents(clickhouse: ClickHouseClient): Promise<StoredEvent[]> {
  const result = await clickhouse.query({
    query: `SELECT workspace_id, id, resource_id, idempotency_key FROM ${TABLES.events}`,
    format: 'JSONEachRow',
  });
  return await result.json<StoredEvent>();
}

/** Pure: what the ledger says against what is stored. */
export function missingOrDoubled(ledger: Ledger, stored: StoredEvent[]): string[] {
  const broken: string[] = [];
  const rowsOf = new Map<string, number>();
  const idOfKey = new Map<string, string>();
  for (const { workspace_id, id, idempotency_key } of stored) {
    rowsOf.set(id, (rowsOf.get(id) ?? 0) + 1);
    if (idempotency_key === '') continue;
    const key = `${workspace_id} ${idempotency_key}`;
    if (idOfKey.has(key)) broken.push(`the key ${key} has more than one record`);
    idOfKey.set(key, id);
  }
  for (const [id, rows] of rowsOf) if (rows > 1) broken.push(`${id} is stored ${rows} times`);
  for (const [id, { marker }] of ledger.acknowledged) {
    if (!rowsOf.has(id)) broken.push(`${id} (${marker}) was acknowledged and is not stored`);
  }
  return broken;
}

async function sendLast(target: Target): Promise<string> {
  const event = { actor_id: 'auditor', action: 'fault.settled', idempotency_key: `last-${Date.now()}` };
  let id = '';
  await eventually(async () => {
    const { status, json } = await get(target, '/events', event);
    id = String(json.id);
    return status === 202;
  }, `${target.workspaceId} takes an event`);
  return id;
}

async function get(
  target: Target,
  path: string,
  body?: unknown,
): Promise<{ status: number; json: Record<string, unknown> }> {
  const response = await fetch(`${target.baseUrl()}/api/v1${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${target.apiKey}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(10_000),
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
