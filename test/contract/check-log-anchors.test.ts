import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { batchKey, headKey } from '../../control/anchors.ts';
import type { SigningKeys } from '../../control/signing-keys.ts';
import { base64Encode } from '../../core/bytes.ts';
import { verifierKeyOf } from '../../core/checkpoint.ts';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import { connectNats, type NatsConnection } from '../../infra/nats/connect.ts';
import { openBucket } from '../../infra/nats/kv.ts';
import { BUCKETS } from '../../infra/nats/names.ts';
import { ensureStreams } from '../../infra/nats/streams.ts';
import { checkAnchors } from '../check-log/anchors.ts';
import { createFindings } from '../check-log/findings.ts';
import { createTestAnchors, PENDING } from '../support/anchors.ts';
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts';
import { startTestNats, type TestNats } from '../support/nats.ts';
import { chainEvents, randomFrom, type SeededEvent, variedEvents } from '../support/seed.ts';
import { LOG_ORIGIN, type TestLog, testLog } from '../support/tree.ts';

/** The checker of everything finds what is wrong with anchors, and nothing where nothing is. */

const WORKSPACES = ['ws_00000000000000a1', 'ws_00000000000000b2'];
const SEED = new Uint8Array(32).fill(5);
const KEYS: SigningKeys = {
  keys: [
    {
      public_key: base64Encode(verifierKeyOf({ name: 'log', seed: SEED }).publicKey),
      sealed_seed: 'sealed',
      created_at: '2026-01-01T00:00:00.000000Z',
      signs_until: null,
    },
  ],
};

let server: TestClickHouse;
let broker: TestNats;
let nc: NatsConnection;
let admin: ClickHouseClient;
let logs: { log: TestLog; events: SeededEvent[] }[];

beforeAll(async () => {
  [server, broker] = await Promise.all([startTestClickHouse(), startTestNats()]);
  admin = connectClickHouse(server.adminUrl);
  nc = await connectNats({ url: broker.url, name: 'test', log: pino({ level: 'silent' }) });
  await ensureStreams(nc, { replicas: 1, storeLimitBytes: 1e9 });
  logs = WORKSPACES.map((workspaceId, index) => ({
    log: testLog(workspaceId, SEED),
    events: chainEvents(workspaceId, variedEvents(300, randomFrom(index)), { random: randomFrom(index + 7) }),
  }));
});

afterAll(async () => {
  await nc?.close();
  await admin?.close();
  await Promise.all([server?.stop(), broker?.stop()]);
});

/** Two days that are confirmed, one that is pending. */
async function startOver(): Promise<void> {
  for (const table of [TABLES.anchors, TABLES.anchorBatches]) await run(`TRUNCATE TABLE ${table}`);
  const anchors = createTestAnchors(admin);
  for (const [size, bend] of [
    [10, {}],
    [256, {}],
    [300, PENDING],
  ] as const) {
    await anchors.anchor(
      logs.map((log) => ({ ...log, size })),
      bend,
    );
  }
  const bucket = await openBucket(nc, BUCKETS.anchors);
  for (const { record } of anchors.batches.values()) await bucket.put(batchKey(record.number), record);
  for (const [workspaceId, head] of anchors.heads) await bucket.put(headKey(workspaceId), head);
}

async function run(query: string): Promise<void> {
  await admin.command({ query, clickhouse_settings: { mutations_sync: '2' } });
}

async function problems(): Promise<string[]> {
  const findings = createFindings();
  const held = new Map(
    logs.map(({ log, events }) => [log.workspaceId, events.map(({ eventHash }) => eventHash)]),
  );
  await checkAnchors(admin, nc, { logOrigin: LOG_ORIGIN, keys: KEYS }, held, {
    rows: findings.begin('rows'),
    trees: findings.begin('trees'),
    records: findings.begin('records'),
  });
  const { checks } = findings.report();
  for (const { looked } of checks) expect(looked).toBeGreaterThan(0);
  return checks.flatMap((check) => check.problems.map((problem) => `${check.name}: ${problem}`));
}

test('nothing is wrong where nothing was changed', async () => {
  await startOver();
  expect(await problems()).toEqual([]);
});

const OWN = `workspace_id = '${WORKSPACES[0]}' AND size = 256`;
test.each([
  [
    'rows: .* is not signed',
    `ALTER TABLE ${TABLES.anchors} UPDATE checkpoint = replaceOne(checkpoint, '256', '255') WHERE ${OWN}`,
  ],
  [
    'rows: .* of another tree',
    `ALTER TABLE ${TABLES.anchors} UPDATE merkle_root = repeat('ab', 32) WHERE ${OWN}`,
  ],
  ['rows: .* events_count', `ALTER TABLE ${TABLES.anchors} UPDATE events_count = 1 WHERE ${OWN}`],
  [
    'rows: .* first_event_hash',
    `ALTER TABLE ${TABLES.anchors} UPDATE first_event_hash = last_event_hash WHERE ${OWN}`,
  ],
  ['rows: .* last_event_hash', `ALTER TABLE ${TABLES.anchors} UPDATE last_event_hash = '' WHERE ${OWN}`],
  ['rows: .* does not follow', `ALTER TABLE ${TABLES.anchors} UPDATE previous_anchor_hash = '' WHERE ${OWN}`],
  ['trees: .* is another', `ALTER TABLE ${TABLES.anchors} UPDATE leaf_index = 1 - leaf_index WHERE ${OWN}`],
  ['trees: .* 1 of 2 leaves', `ALTER TABLE ${TABLES.anchors} DELETE WHERE ${OWN}`],
  ['records: .* its newest anchor', `ALTER TABLE ${TABLES.anchors} DELETE WHERE size = 300`],
  [
    'records: .* has no anchor',
    `ALTER TABLE ${TABLES.anchors} DELETE WHERE workspace_id = '${WORKSPACES[0]}'`,
  ],
  [
    'records: .* its copy says',
    `ALTER TABLE ${TABLES.anchorBatches} UPDATE tx_hash = '0x' WHERE status = 'confirmed'`,
  ],
  [
    'records: .* its copy says',
    `ALTER TABLE ${TABLES.anchorBatches} UPDATE block_number = 1 WHERE status = 'confirmed'`,
  ],
  ['records: .* on no record', `INSERT INTO ${TABLES.anchorBatches} (id) SELECT 'x'`],
])('%s: %s', async (said, tampering) => {
  await startOver();
  await run(tampering);
  const found = await problems();
  expect(
    found.filter((problem) => new RegExp(`^${said}`).test(problem)),
    found.join('\n'),
  ).not.toEqual([]);
});
