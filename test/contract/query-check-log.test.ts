import { jetstream } from '@nats-io/jetstream';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { encodeChained } from '../../core/message.ts';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import { crc32 } from '../../infra/hash.ts';
import { connectNats, type NatsConnection } from '../../infra/nats/connect.ts';
import { chainedSubject, STREAM_CHAINED } from '../../infra/nats/names.ts';
import { ensureStreams } from '../../infra/nats/streams.ts';
import { type Acknowledged, checkLog, type Report } from '../check-log/check-log.ts';
import { reportText } from '../check-log/findings.ts';
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts';
import { startTestNats, type TestNats } from '../support/nats.ts';
import { chainEvents, insertSeeded, randomFrom, type SeededEvent, variedEvents } from '../support/seed.ts';

const WORKSPACE = 'ws_00000000000000a1';
const OTHER = 'ws_00000000000000b3';

let server: TestClickHouse;
let broker: TestNats;
let nc: NatsConnection;
let admin: ClickHouseClient;
let events: SeededEvent[];
let others: SeededEvent[];

/** A checker that finds nothing is worth nothing: every promise is broken once. */
beforeAll(async () => {
  [server, broker] = await Promise.all([startTestClickHouse(), startTestNats()]);
  admin = connectClickHouse(server.adminUrl);
  nc = await connectNats({ url: broker.url, name: 'test', log: pino({ level: 'silent' }) });
  await ensureStreams(nc, { replicas: 1, storeLimitBytes: 1e9 });
  await run(`ALTER TABLE ${TABLES.events} DROP CONSTRAINT chained_recently`);
});

afterAll(async () => {
  await nc?.close();
  await admin?.close();
  await Promise.all([server?.stop(), broker?.stop()]);
});

async function run(query: string): Promise<void> {
  await admin.command({ query, clickhouse_settings: { mutations_sync: '2' } });
}

/** Everything whole: two workspaces stored and published, each event acknowledged in requests of five. */
async function startOver(): Promise<Map<string, Acknowledged>> {
  for (const table of [TABLES.events, TABLES.quarantine]) await run(`TRUNCATE TABLE ${table}`);
  await jetstream(nc)
    .jetstreamManager()
    .then((manager) => manager.streams.purge(STREAM_CHAINED));
  events = chainEvents(WORKSPACE, variedEvents(50, randomFrom(1)));
  others = chainEvents(OTHER, variedEvents(20, randomFrom(2)), { random: randomFrom(3) });
  await insertSeeded(admin, events);
  await insertSeeded(admin, others);
  await publish(events);
  await publish(others);
  return new Map(
    [...events, ...others].map(({ event, seq }) => [
      event.id,
      { workspaceId: event.workspace_id, request: String(Math.floor((seq - 1) / 5)), place: (seq - 1) % 5 },
    ]),
  );
}

async function publish(stored: SeededEvent[]): Promise<void> {
  const workspaceId = stored[0]!.event.workspace_id;
  const chained = stored.map(({ event, ...rest }) => ({ ...rest, id: event.id }));
  await jetstream(nc).publish(
    chainedSubject(0, workspaceId),
    encodeChained({ workspaceId, events: chained }, crc32),
  );
}

const check = (acknowledged: Map<string, Acknowledged>) =>
  checkLog({ clickhouse: server.adminUrl, nats: broker.url, acknowledged, settleMs: 500 });

const broken = (report: Report) => report.checks.filter(({ ok }) => !ok).map(({ name }) => name);

const update = (assignment: string, seq: number) =>
  run(
    `ALTER TABLE ${TABLES.events} UPDATE ${assignment} WHERE workspace_id = '${WORKSPACE}' AND seq = ${seq}`,
  );

test('all is well', async () => {
  const report = await check(await startOver());
  expect(broken(report), reportText(report)).toEqual([]);
  expect(report.ok).toBe(true);
  expect(report.checks.map(({ looked }) => looked)).toEqual([
    70,
    14,
    70,
    70,
    70,
    expect.any(Number),
    70,
    1,
    1,
    1,
    70,
    70,
  ]);
});

const PROMISE = 'every acknowledged event is stored, once';
const REQUEST = 'the events of a request keep their order';
const ORDER = 'seq counts 1, 2, 3 … and created_at rises';
const HASHES = 'every hash recomputes and links to the one before';
const TEXTS = 'every text is canonical and fits its digest';
const KEYS = 'the id of a keyed event is made from its key';
const POSITIONS = 'places in the stream rise with seq';
const UNIQUE_ID = 'no id is stored twice';
const UNIQUE_PLACE = 'no place in the stream is stored twice';
const QUARANTINE = 'nothing is in quarantine';
const SQL = 'the SQL of /verify agrees';
const CHAINED = 'CHAINED holds every event in order';

describe('a broken promise is found:', () => {
  const cases: {
    name: string;
    broken: string[];
    by(acknowledged: Map<string, Acknowledged>): Promise<unknown>;
  }[] = [
    {
      name: 'an acknowledged event that is nowhere',
      by: async (acknowledged) =>
        acknowledged.set('2460e8ae-307a-4669-99e4-1d7cb83d7e03', { workspaceId: OTHER }),
      broken: [PROMISE],
    },
    {
      name: 'the newest event lost',
      by: () => run(`ALTER TABLE ${TABLES.events} DELETE WHERE workspace_id = '${OTHER}' AND seq = 20`),
      broken: [PROMISE, CHAINED],
    },
    {
      name: 'an event lost in between',
      by: () => run(`ALTER TABLE ${TABLES.events} DELETE WHERE workspace_id = '${WORKSPACE}' AND seq = 20`),
      broken: [PROMISE, ORDER, HASHES, SQL, CHAINED],
    },
    {
      name: 'rows stored twice',
      by: () => insertSeeded(admin, events.slice(10, 12)),
      broken: [PROMISE, ORDER, HASHES, POSITIONS, UNIQUE_ID, UNIQUE_PLACE, SQL],
    },
    {
      name: 'an event of another order within its request',
      by: async (acknowledged) => {
        acknowledged.set(events[0]!.event.id, { workspaceId: WORKSPACE, request: '0', place: 1 });
        acknowledged.set(events[1]!.event.id, { workspaceId: WORKSPACE, request: '0', place: 0 });
      },
      broken: [REQUEST],
    },
    {
      name: 'an event in a workspace that did not send it',
      by: async (acknowledged) => acknowledged.set(events[0]!.event.id, { workspaceId: OTHER }),
      broken: [PROMISE],
    },
    {
      name: 'a body edited',
      by: () => update(`body = replaceOne(body, ',', ', ')`, 9),
      broken: [HASHES, TEXTS, SQL],
    },
    { name: 'personal data edited', by: () => update(`private = '{}'`, 9), broken: [TEXTS, SQL] },
    {
      name: 'a key edited',
      by: async () => {
        const keyed = events.find(({ event }) => event.idempotency_key !== undefined)!;
        await update(`body = replaceOne(body, '"idempotency_key":"', '"idempotency_key":"x')`, keyed.seq);
      },
      broken: [HASHES, KEYS, SQL],
    },
    {
      name: 'a place in the stream edited',
      by: () => update('stream_seq = 1, stream_index = 77', 30),
      broken: [POSITIONS, SQL],
    },
    {
      name: 'something in quarantine',
      by: () => run(`INSERT INTO ${TABLES.quarantine} (partition, reason) VALUES (1, 'test')`),
      broken: [QUARANTINE],
    },
    {
      name: 'events that were never published',
      by: async () => {
        const more = chainEvents(OTHER, variedEvents(3, randomFrom(4)), { head: others.at(-1)! });
        await insertSeeded(admin, more);
      },
      broken: [CHAINED],
    },
    {
      name: 'events published with a hole',
      by: async () => {
        const more = chainEvents(OTHER, variedEvents(6, randomFrom(4)), { head: others.at(-1)! });
        await insertSeeded(admin, more);
        await publish(more.slice(3));
      },
      broken: [CHAINED],
    },
  ];

  test.each(cases)('$name', async ({ by, broken: expected }) => {
    const acknowledged = await startOver();
    await by(acknowledged);
    const report = await check(acknowledged);
    expect(broken(report), reportText(report)).toEqual(expected);
    expect(report.ok).toBe(false);
    expect(reportText(report)).toContain(`✗ ${expected[0]}`);
  });
});

test('events published twice are fine', async () => {
  const acknowledged = await startOver();
  await publish(events.slice(30));
  expect(broken(await check(acknowledged))).toEqual([]);
});
