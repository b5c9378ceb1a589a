import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EMPTY_HEAD, eventHash } from '../../core/chain.ts';
import { type EventInput, parseEvent } from '../../core/event.ts';
import { canonicalJson } from '../../core/json.ts';
import { formatTimestamp } from '../../core/time.ts';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { EVENT_INSERT_COLUMNS, TABLES } from '../../infra/clickhouse/names.ts';
import { type Verification, verifyChain } from '../../query/verify.ts';
import { keepableObject, text } from '../property/arbitraries.ts';
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts';
import { startTestQuery, type TestQuery } from '../support/query.ts';
import {
  chainEvents,
  headOf,
  insertSeeded,
  randomFrom,
  type SeededEvent,
  variedEvents,
} from '../support/seed.ts';

let server: TestClickHouse;
let admin: ClickHouseClient;
let api: TestQuery;
let workspaces = 0;

beforeAll(async () => {
  server = await startTestClickHouse();
  admin = connectClickHouse(server.adminUrl);
  api = await startTestQuery(server.readerUrl);
  // What is tampered with here is written minutes after it was chained, as whoever tampers would.
  await run(`ALTER TABLE ${TABLES.events} DROP CONSTRAINT chained_recently`);
});

afterAll(async () => {
  await api?.stop();
  await admin?.close();
  await server?.stop();
});

async function run(query: string): Promise<void> {
  await admin.command({ query, clickhouse_settings: { mutations_sync: '2' } });
}

async function seeded(count: number): Promise<{ workspaceId: string; events: SeededEvent[] }> {
  workspaces += 1;
  const workspaceId = `ws_${workspaces.toString(16).padStart(16, '0')}`;
  const events = chainEvents(workspaceId, variedEvents(count, randomFrom(workspaces)), {
    random: randomFrom(9),
  });
  await insertSeeded(admin, events);
  return { workspaceId, events };
}

async function verify(workspaceId: string, query = ''): Promise<Verification> {
  const answer = await api.get(workspaceId, `/verify${query}`);
  expect(answer.status, JSON.stringify(answer.json)).toBe(200);
  return answer.json.data;
}

/** `15 hash_mismatch`, `15 column_mismatch actor_id` … */
function summaryOf({ breaks }: Verification): string[] {
  return breaks.map(({ seq, type, column }) => [seq, type, column].filter((part) => part !== null).join(' '));
}

const ROWS = 30;
const VICTIM = 15;

/** One way of tampering with a chain of 30 events; `where` picks rows of it. */
interface Tampering {
  name: string;
  /** The columns it is about, so that none is forgotten. */
  columns?: string[];
  tamper(workspaceId: string, events: SeededEvent[]): Promise<void>;
  /** All breaks it must be named by, and no other. */
  named: string[];
}

function update(assignments: string, seq: number | string = VICTIM) {
  return (workspaceId: string) =>
    run(
      `ALTER TABLE ${TABLES.events} UPDATE ${assignments} WHERE workspace_id = '${workspaceId}' AND seq IN (${seq})`,
    );
}

/** Columns computed by ClickHouse are no longer, while somebody with all rights changes them. */
function updateDerived(column: string, value: string) {
  return async (workspaceId: string) => {
    const result = await admin.query({
      query: `SELECT type, default_expression FROM system.columns
        WHERE database = 'immutable' AND table = 'events' AND name = {column:String} AND default_kind = 'MATERIALIZED'`,
      query_params: { column },
      format: 'JSONEachRow',
    });
    const [definition] = await result.json<{ type: string; default_expression: string }>();
    await run(`ALTER TABLE ${TABLES.events} MODIFY COLUMN ${column} REMOVE MATERIALIZED`);
    await update(`${column} = ${value}`)(workspaceId);
    await run(
      `ALTER TABLE ${TABLES.events} MODIFY COLUMN ${column} ${definition!.type} MATERIALIZED ${definition!.default_expression}`,
    );
  };
}

function remove(seq: number | string) {
  return (workspaceId: string) =>
    run(`ALTER TABLE ${TABLES.events} DELETE WHERE workspace_id = '${workspaceId}' AND seq IN (${seq})`);
}

/** Writes rows once more, with some columns changed. */
function copy(seq: number | string, changes: Record<string, string> = {}) {
  const source: Record<string, string> = {
    event_hash_hex: 'lower(hex(event_hash))',
    previous_event_hash_hex: 'lower(hex(previous_event_hash))',
    ...changes,
  };
  const values = EVENT_INSERT_COLUMNS.map((column) => source[column] ?? column);
  return (workspaceId: string) =>
    run(`INSERT INTO ${TABLES.events} (${EVENT_INSERT_COLUMNS.join(', ')})
      SELECT ${values.join(', ')} FROM ${TABLES.events}
      WHERE workspace_id = '${workspaceId}' AND seq IN (${seq})`);
}

function inTurn(...steps: ((workspaceId: string) => Promise<void>)[]) {
  return async (workspaceId: string) => {
    for (const step of steps) await step(workspaceId);
  };
}

const FORGED_HASH = `unhex('${'ab'.repeat(32)}')`;

const EDITS: Tampering[] = [
  {
    name: 'a body edited',
    columns: ['body'],
    tamper: update(`body = replaceOne(body, '"action":"', '"action":"not.')`),
    named: ['15 hash_mismatch'],
  },
  {
    name: 'a body edited, and its hash computed again',
    tamper: async (workspaceId, events) => {
      const { previousEventHash, createdAt, body } = events[VICTIM - 1]!;
      const forged = body.replace('"actor_id":"', '"actor_id":"not_');
      const hash = eventHash(previousEventHash, VICTIM, createdAt, forged);
      await update(
        `body = replaceOne(body, '"actor_id":"', '"actor_id":"not_'), event_hash = unhex('${hash}')`,
      )(workspaceId);
    },
    named: ['16 chain_break'],
  },
  {
    name: 'a body that is JSON no more',
    tamper: update(`body = 'gone'`),
    named: [
      '15 hash_mismatch',
      '15 private_mismatch',
      '15 column_mismatch workspace_id',
      '15 column_mismatch occurred_at',
    ],
  },
  {
    name: 'a hash edited',
    columns: ['event_hash'],
    tamper: update(`event_hash = ${FORGED_HASH}`),
    named: ['15 hash_mismatch', '16 chain_break'],
  },
  {
    name: 'the last hash edited',
    tamper: update(`event_hash = ${FORGED_HASH}`, ROWS),
    named: ['30 hash_mismatch'],
  },
  {
    name: 'a previous hash edited',
    columns: ['previous_event_hash'],
    tamper: update(`previous_event_hash = ${FORGED_HASH}`),
    named: ['15 hash_mismatch', '15 chain_break'],
  },
  {
    name: 'a previous hash removed',
    tamper: update(`previous_event_hash = ''`),
    named: ['15 hash_mismatch', '15 chain_break'],
  },
  {
    name: 'a previous hash made too long',
    tamper: update(`previous_event_hash = concat(previous_event_hash, 'more')`),
    named: ['15 hash_mismatch', '15 chain_break'],
  },
  {
    name: 'a previous hash given to the first event',
    tamper: update(`previous_event_hash = ${FORGED_HASH}`, 1),
    named: ['1 hash_mismatch', '1 chain_break'],
  },
  {
    name: 'a seq edited',
    columns: ['seq'],
    tamper: update('seq = 1015'),
    named: ['16 chain_break', '1015 hash_mismatch', '1015 chain_break'],
  },
  {
    name: 'a time edited',
    columns: ['created_at'],
    tamper: inTurn(
      copy(VICTIM, { created_at: 'addMicroseconds(created_at, 1)', seq: '1000' }),
      remove(VICTIM),
      update('seq = 15', 1000),
    ),
    named: ['15 hash_mismatch'],
  },
  {
    name: 'a time edited so far that the order changes',
    tamper: inTurn(
      copy(VICTIM, { created_at: 'addDays(created_at, 1)', seq: '1000' }),
      remove(VICTIM),
      update('seq = 15', 1000),
    ),
    named: ['15 hash_mismatch', '15 chain_break', '15 column_mismatch stream_seq', '16 chain_break'],
  },
  {
    name: 'a salt edited',
    columns: ['salt'],
    tamper: update(`salt = '${'0'.repeat(32)}'`),
    named: ['15 private_mismatch'],
  },
  {
    name: 'personal data edited',
    columns: ['private'],
    tamper: update(`private = '{"actor_name":"Nobody"}'`),
    named: ['15 private_mismatch'],
  },
  {
    name: 'personal data removed without a record of it',
    tamper: update(`private = '', salt = ''`),
    named: ['15 private_mismatch'],
  },
  {
    name: 'the partition edited',
    columns: ['partition'],
    tamper: update('partition = partition + 1'),
    named: ['15 column_mismatch partition'],
  },
  {
    name: 'the epoch edited',
    columns: ['stream_epoch'],
    tamper: update(`stream_epoch = '0000000000000000'`, 1),
    named: ['1 column_mismatch stream_epoch'],
  },
  {
    name: 'the place in the stream edited',
    columns: ['stream_seq'],
    tamper: update('stream_seq = 1'),
    named: ['15 column_mismatch stream_seq'],
  },
  {
    name: 'the place in the message edited',
    columns: ['stream_index'],
    tamper: update('stream_index = 0'),
    named: ['15 column_mismatch stream_index'],
  },
  {
    name: 'an event moved to another workspace',
    columns: ['workspace_id'],
    tamper: inTurn(copy(VICTIM, { workspace_id: "'ws_00000000000000ff'" }), remove(VICTIM)),
    named: ['16 chain_break'],
  },
];

const DERIVED: Record<string, string> = {
  id: `'2460e8ae-307a-4669-99e4-1d7cb83d7e03'`,
  occurred_at: 'addMicroseconds(occurred_at, 1)',
  actor_id: `'somebody_else'`,
  actor_type: `'ghost'`,
  action: `'nothing.happened'`,
  action_category: `'other'`,
  resource: `'other'`,
  resource_id: `'other'`,
  tenant_id: `'other'`,
  session_id: `'other'`,
  ip_country: `'XX'`,
  idempotency_key: `'other'`,
  version: 'if(version IS NULL, 0, NULL)',
  actor_name: `'Somebody Else'`,
  resource_name: `'other'`,
  ip_address: `'192.0.2.1'`,
  ip_city: `'Nowhere'`,
  user_agent: `'other'`,
  target_types: `arrayPushBack(target_types, 'other')`,
  target_ids: `arrayPushBack(target_ids, '')`,
  search_text: `concat(search_text, 'x')`,
};

/** `search_text` is compared with what is made of these, so it no longer fits either. */
const SEARCHED = ['actor_name', 'action', 'resource_name'];

const DERIVED_EDITS: Tampering[] = Object.entries(DERIVED).map(([column, value]) => ({
  name: `the derived column ${column} edited`,
  columns: [column],
  tamper: updateDerived(column, value),
  named: [
    `15 column_mismatch ${column}`,
    ...(SEARCHED.includes(column) ? ['15 column_mismatch search_text'] : []),
  ],
}));

const REARRANGEMENTS: Tampering[] = [
  { name: 'a row deleted', tamper: remove(VICTIM), named: ['16 chain_break'] },
  { name: 'several rows deleted', tamper: remove('3, 4, 20'), named: ['5 chain_break', '21 chain_break'] },
  { name: 'the first row deleted', tamper: remove(1), named: ['2 chain_break'] },
  {
    name: 'a row doubled',
    tamper: copy(VICTIM),
    named: ['15 chain_break', '15 column_mismatch stream_index'],
  },
  {
    name: 'the seq of two rows swapped',
    tamper: update(`seq = if(seq = 15, 16, 15)`, '15, 16'),
    named: ['15 hash_mismatch', '15 chain_break', '16 hash_mismatch', '16 chain_break', '17 chain_break'],
  },
  {
    name: 'the texts of two rows swapped',
    tamper: async (workspaceId, events) => {
      const [one, other] = [events[14]!, events[15]!];
      const texts = (name: 'body' | 'private' | 'salt') =>
        `${name} = if(seq = 15, ${quoted(other[name])}, ${quoted(one[name])})`;
      await update(`${texts('body')}, ${texts('private')}, ${texts('salt')}`, '15, 16')(workspaceId);
    },
    named: ['15 hash_mismatch', '16 hash_mismatch'],
  },
  {
    name: 'a forged row added in between',
    tamper: copy(VICTIM, {
      created_at: 'addMicroseconds(created_at, 1)',
      stream_index: 'stream_index',
      previous_event_hash_hex: 'lower(hex(event_hash))',
      seq: '16',
    }),
    named: ['16 hash_mismatch', '16 chain_break', '16 column_mismatch stream_index'],
  },
];

function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

describe('tampering', () => {
  test.each([...EDITS, ...DERIVED_EDITS, ...REARRANGEMENTS])('$name is named', async ({ tamper, named }) => {
    const { workspaceId, events } = await seeded(ROWS);
    expect(await verify(workspaceId)).toMatchObject({ valid: true, breaks: [], events_checked: ROWS });
    await tamper(workspaceId, events);
    const found = await verify(workspaceId);
    expect(found.valid).toBe(false);
    expect(summaryOf(found)).toEqual(named);
  });

  test('is looked for in every column but the one that proves nothing', async () => {
    const result = await admin.query({
      query: `SELECT name FROM system.columns
        WHERE database = 'immutable' AND table = 'events' AND default_kind != 'EPHEMERAL'`,
      format: 'JSONEachRow',
    });
    const columns = (await result.json<{ name: string }>()).map(({ name }) => name);
    const tamperedWith = [...EDITS, ...DERIVED_EDITS].flatMap((edit) => edit.columns ?? []);
    // chained_at only fences the writer: clocks may go back between two of them, and nothing is read from it.
    expect([...tamperedWith, 'chained_at'].sort()).toEqual(columns.sort());
  });

  test('an event moved here from another workspace is named', async () => {
    const from = await seeded(3);
    const here = await seeded(3);
    await copy(3, { workspace_id: `'${here.workspaceId}'`, created_at: 'addDays(created_at, 1)', seq: '4' })(
      from.workspaceId,
    );
    expect(summaryOf(await verify(here.workspaceId))).toContain('4 column_mismatch workspace_id');
  });

  test('tells what should stand there and what does', async () => {
    const { workspaceId, events } = await seeded(5);
    await update(`event_hash = ${FORGED_HASH}`, 3)(workspaceId);
    await update(`salt = ''`, 5)(workspaceId);
    const forged = 'ab'.repeat(32);
    expect((await verify(workspaceId)).breaks).toEqual([
      {
        event_id: events[2]!.event.id,
        seq: 3,
        type: 'hash_mismatch',
        column: null,
        part: null,
        expected_hash: events[2]!.eventHash,
        actual_hash: forged,
      },
      {
        event_id: events[3]!.event.id,
        seq: 4,
        type: 'chain_break',
        column: null,
        part: null,
        expected_hash: forged,
        actual_hash: events[3]!.previousEventHash,
      },
      {
        event_id: events[4]!.event.id,
        seq: 5,
        type: 'private_mismatch',
        column: null,
        part: null,
        expected_hash: JSON.parse(events[4]!.body).private,
        actual_hash: expect.stringMatching(/^[0-9a-f]{64}$/),
      },
    ]);
  });

  test('of a thousand rows and more is cut, and said so', async () => {
    const { workspaceId } = await seeded(1_500);
    await run(`ALTER TABLE ${TABLES.events} UPDATE salt = '' WHERE workspace_id = '${workspaceId}'`);
    const found = await verify(workspaceId);
    expect(found).toMatchObject({
      valid: false,
      breaks_truncated: true,
      complete: true,
      events_checked: 1_500,
    });
    expect(found.breaks.map(({ seq }) => seq)).toEqual(
      Array.from({ length: 1_000 }, (_, index) => index + 1),
    );
  });
});

describe('what is no break', () => {
  test('personal data erased on record', async () => {
    const { workspaceId, events } = await seeded(5);
    await update(`private = '', salt = ''`, 3)(workspaceId);
    await run(
      `INSERT INTO ${TABLES.erasures} (workspace_id, seq, id) VALUES ('${workspaceId}', 3, '${events[2]!.event.id}')`,
    );
    expect(await verify(workspaceId)).toMatchObject({ valid: true, breaks: [] });
    await update(`private = '', salt = ''`, 4)(workspaceId);
    expect(summaryOf(await verify(workspaceId))).toEqual(['4 private_mismatch']);
  });

  test('a chain that begins where retention said', async () => {
    const { workspaceId, events } = await seeded(20);
    await remove('1, 2, 3, 4, 5, 6')(workspaceId);
    expect(summaryOf(await verify(workspaceId))).toEqual(['7 chain_break']);
    const boundary = (seq: number, hash: string) =>
      run(`INSERT INTO ${TABLES.boundaries} (workspace_id, oldest_kept_seq, previous_event_hash)
        VALUES ('${workspaceId}', ${seq}, '${hash}')`);
    await boundary(5, events[4]!.previousEventHash);
    expect(summaryOf(await verify(workspaceId))).toEqual(['7 chain_break']);
    await boundary(7, events[6]!.previousEventHash);
    expect(await verify(workspaceId)).toMatchObject({
      valid: true,
      from_seq: 7,
      to_seq: 20,
      events_checked: 14,
    });
    await remove(7)(workspaceId);
    expect(summaryOf(await verify(workspaceId))).toEqual(['8 chain_break']);
  });

  test('a chain whose archived part is being removed, in whatever order', async () => {
    const { workspaceId, events } = await seeded(20);
    await run(`INSERT INTO ${TABLES.boundaries} (workspace_id, oldest_kept_seq, previous_event_hash)
      VALUES ('${workspaceId}', 15, '${events[14]!.previousEventHash}')`);
    await remove('1, 5, 6, 7, 10, 13, 14')(workspaceId);
    expect(await verify(workspaceId)).toMatchObject({ valid: true, events_checked: 13 });
    expect(await verify(workspaceId, `?from=${events[13]!.createdAt}`)).toMatchObject({ valid: true });
    // What is still there is checked, and what is kept must be complete.
    await update(`body = replace(body, 'a', 'b')`, 9)(workspaceId);
    expect(summaryOf(await verify(workspaceId))).toContain('9 hash_mismatch');
    await remove('9, 18')(workspaceId);
    expect(summaryOf(await verify(workspaceId))).toEqual(['19 chain_break']);
    await remove('15, 18')(workspaceId);
    expect(summaryOf(await verify(workspaceId))).toEqual(['16 chain_break', '19 chain_break']);
  });

  test('whatever the edge accepts, and it is read back as it was', async () => {
    const optional = (longest: number) => fc.option(text(0, longest), { nil: undefined });
    const target = fc.record(
      { type: text(1, 20), id: text(0, 20), name: text(0, 20), metadata: keepableObject },
      { requiredKeys: ['type'] },
    );
    const anyEvent = fc.record({
      actor_id: text(1, 255),
      action: text(1, 30),
      actor_name: optional(30),
      actor_type: optional(30),
      resource: optional(30),
      resource_id: optional(1024),
      session_id: optional(30),
      idempotency_key: fc.option(fc.uuid(), { nil: undefined }),
      user_agent: optional(100),
      ip_address: fc.option(fc.oneof(fc.ipV4(), fc.ipV6()), { nil: undefined }),
      version: fc.option(fc.integer({ min: 0, max: 2 ** 31 - 1 }), { nil: undefined }),
      metadata: fc.option(keepableObject, { nil: undefined }),
      targets: fc.array(target, { maxLength: 4 }),
    });
    const accepted = fc
      .sample(anyEvent, { numRuns: 400, seed: 7 })
      .map((input) => parseEvent(input, Date.now() * 1000))
      .flatMap((parsed): EventInput[] => (parsed.ok ? [parsed.event] : []));
    expect(accepted.length).toBeGreaterThan(200);

    workspaces += 1;
    const workspaceId = `ws_${workspaces.toString(16).padStart(16, '0')}`;
    const events = chainEvents(workspaceId, accepted);
    await insertSeeded(admin, events);
    expect(await verify(workspaceId)).toMatchObject({
      valid: true,
      breaks: [],
      events_checked: accepted.length,
    });
    let read = 0;
    for (const { event } of [...events].reverse()) {
      const shown = (await api.get(workspaceId, `/events/${event.id}`)).json.data;
      expect(canonicalJson(shown.metadata)).toBe(canonicalJson(event.metadata ?? null));
      expect(shown.actor_name).toBe(event.actor_name ?? null);
      expect(shown.resource_id).toBe(event.resource_id ?? null);
      expect(shown.action).toBe(event.action);
      read += 1;
      if (read === 100) break;
    }
  });

  test('an empty workspace', async () => {
    expect(await verify('ws_00000000000000ee')).toEqual({
      valid: true,
      events_checked: 0,
      breaks: [],
      breaks_truncated: false,
      complete: true,
      from_seq: null,
      to_seq: null,
      signed_size: null,
      checkpoints_checked: 0,
      anchors_checked: 0,
    });
  });
});

describe('what is covered', () => {
  test('limit cuts honestly', async () => {
    const { workspaceId } = await seeded(20);
    expect(await verify(workspaceId, '?limit=8')).toMatchObject({
      valid: true,
      complete: false,
      from_seq: 1,
      to_seq: 8,
      events_checked: 8,
    });
    expect(await verify(workspaceId, '?limit=20')).toMatchObject({ complete: true, to_seq: 20 });
  });

  test('from links to the event before it', async () => {
    const { workspaceId, events } = await seeded(20);
    const [from, to] = [events[9]!.createdAt, events[14]!.createdAt];
    expect(await verify(workspaceId, `?from=${from}&to=${to}`)).toMatchObject({
      valid: true,
      complete: true,
      from_seq: 10,
      to_seq: 15,
      events_checked: 6,
    });
    await update(`event_hash = ${FORGED_HASH}`, 9)(workspaceId);
    expect(summaryOf(await verify(workspaceId, `?from=${from}`))).toEqual(['10 chain_break']);
    const afterAll = formatTimestamp(events[19]!.createdAtMicros + 1);
    expect(await verify(workspaceId, `?from=${afterAll}`)).toMatchObject({ valid: true, events_checked: 0 });
    expect((await verify(workspaceId, '?from=1970-01-01T00:00:00Z')).events_checked).toBe(20);
  });

  test('bad parameters are 422', async () => {
    const { status, json } = await api.get('ws_00000000000000ee', '/verify?limit=0&from=now');
    expect(status).toBe(422);
    expect(json.violations.map(({ path }: { path: string }) => path)).toEqual(['from', 'limit']);
  });

  test('the length of a stretch changes nothing', async () => {
    const { workspaceId, events } = await seeded(100);
    await remove('50, 99')(workspaceId);
    await copy('21, 28, 35')(workspaceId);
    await update('salt = concat(salt, salt)', '1, 14, 63, 100')(workspaceId);
    const whole = await verifyChain(admin, { workspaceId });
    expect(whole.breaks.length).toBeGreaterThan(8);
    for (const stretchRows of [1, 2, 7, 33, 100, 101]) {
      expect(await verifyChain(admin, { workspaceId }, { stretchRows }), `${stretchRows}`).toEqual(whole);
    }
    const seen: number[] = [];
    await verifyChain(
      admin,
      { workspaceId },
      { stretchRows: 40, onProgress: (checked) => seen.push(checked) },
    );
    expect(seen).toEqual([40, 80, 101]);
    const stopped = await verifyChain(
      admin,
      { workspaceId },
      { stretchRows: 40, enough: () => seen.push(0) > 5 },
    );
    expect(stopped).toMatchObject({ complete: false });
    expect(headOf(events).seq).toBe(100);
  });

  test('a chain seeded over months is one chain', async () => {
    workspaces += 1;
    const workspaceId = `ws_${workspaces.toString(16).padStart(16, '0')}`;
    const day = 86_400_000_000;
    const events = chainEvents(workspaceId, variedEvents(200, randomFrom(5)), {
      head: EMPTY_HEAD,
      stepMicros: day,
    });
    await insertSeeded(admin, events);
    expect(await verify(workspaceId)).toMatchObject({ valid: true, events_checked: 200 });
  });
});
