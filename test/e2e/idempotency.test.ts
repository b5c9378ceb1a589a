import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { keyedEventId } from '../../core/id.ts';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import { nativeHasher } from '../../infra/hash.ts';
import { type Stack, startStack } from '../support/stack.ts';
import { type Role, startRole } from './role.ts';

const KEYS = 10_000;
/** So many of the keys go one to a request, the others 100. */
const SINGLE_KEYS = 1_000;
const REQUESTS_AT_A_TIME = 16;
const STORED_WITHIN_MS = 60_000;

interface Sent {
  id: string;
  status: 'queued' | 'duplicate';
}

let stack: Stack;
let second: Role;
let clickhouse: ClickHouseClient;

beforeAll(async () => {
  stack = await startStack();
  second = await startRole(stack, 'ingest');
  clickhouse = connectClickHouse(stack.clickhouseUrls.reader);
}, 120_000);

afterAll(async () => {
  await clickhouse?.close();
  await second?.stop();
  await stack?.stop();
});

test('ten thousand keys sent to two edges at once make one record each, under the id that the key names', async () => {
  const keys = Array.from({ length: KEYS }, (_, index) => `order-${index}`);
  const expected = keys.map((key) => keyedEventId(stack.workspaceId, key, nativeHasher));

  const [first, again] = await Promise.all([
    sendKeys(stack.baseUrl, keys),
    sendKeys(second.baseUrl, keys.toReversed()),
  ]);
  expect(first.map(({ id }) => id)).toEqual(expected);
  expect(again.map(({ id }) => id)).toEqual(expected.toReversed());
  await untilStored(KEYS);
  expect(await stored()).toEqual({ rows: KEYS, ids: KEYS });
});

test('a key repeated after it was stored is called a duplicate by the edge that took it, and adds nothing', async () => {
  const keys = Array.from({ length: 1_000 }, (_, index) => `order-${index * 10}`);
  const repeated = [...(await sendKeys(stack.baseUrl, keys)), ...(await sendKeys(second.baseUrl, keys))];
  expect(new Set(repeated.map(({ id }) => id)).size).toBe(keys.length);
  // The word is best effort, by a look-up that is cut off when ClickHouse is slow; the record is not.
  expect(repeated.filter(({ status }) => status === 'duplicate').length).toBeGreaterThan(keys.length);

  // What comes after them in the stream is stored, so they have been dealt with.
  await sendKeys(stack.baseUrl, ['last']);
  await untilStored(KEYS + 1);
  expect(await stored()).toEqual({ rows: KEYS + 1, ids: KEYS + 1 });
});

test('the chain of those records verifies', async () => {
  const response = await fetch(`${stack.baseUrl}/api/v1/verify?limit=${KEYS * 2}`, { headers: headers() });
  expect(await response.json()).toMatchObject({
    data: { valid: true, events_checked: KEYS + 1, breaks: [] },
  });
});

function headers(): Record<string, string> {
  return { authorization: `Bearer ${stack.apiKey}`, 'content-type': 'application/json' };
}

/** What each key was answered, in the order of `keys`. */
async function sendKeys(baseUrl: string, keys: string[]): Promise<Sent[]> {
  const singles = keys.slice(0, SINGLE_KEYS).map((key) => [key]);
  const batches = Array.from({ length: Math.ceil((keys.length - singles.length) / 100) }, (_, index) =>
    keys.slice(SINGLE_KEYS + index * 100, SINGLE_KEYS + (index + 1) * 100),
  );
  const requests = [...singles, ...batches];
  const answers: Sent[][] = [];
  let next = 0;
  const worker = async () => {
    for (let index = next++; index < requests.length; index = next++) {
      answers[index] = await send(baseUrl, requests[index]!);
    }
  };
  await Promise.all(Array.from({ length: REQUESTS_AT_A_TIME }, worker));
  return answers.flat();
}

async function send(baseUrl: string, keys: string[]): Promise<Sent[]> {
  const events = keys.map((key) => ({ actor_id: 'shop', action: 'order.placed', idempotency_key: key }));
  const single = events.length === 1;
  const response = await fetch(`${baseUrl}/api/v1/events${single ? '' : '/batch'}`, {
    method: 'POST',
    headers: headers(),
    body: JSON.stringify(single ? events[0] : { events }),
  });
  expect(response.status).toBe(202);
  const answer = (await response.json()) as Sent & { events: Sent[] };
  return single ? [answer] : answer.events;
}

async function stored(): Promise<{ rows: number; ids: number }> {
  const result = await clickhouse.query({
    query: `SELECT count() AS rows, uniqExact(id) AS ids FROM ${TABLES.events} WHERE workspace_id = {workspace:String}`,
    query_params: { workspace: stack.workspaceId },
    format: 'JSONEachRow',
  });
  const [row] = await result.json<{ rows: number; ids: number }>();
  return row!;
}

async function untilStored(rows: number): Promise<void> {
  const deadline = performance.now() + STORED_WITHIN_MS;
  while ((await stored()).rows < rows) {
    if (performance.now() > deadline) throw new Error(`${(await stored()).rows} of ${rows} rows are stored`);
    await sleep(50);
  }
}
