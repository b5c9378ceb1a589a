import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canonicalJson } from '../../core/json.ts';
import { formatTimestamp } from '../../core/time.ts';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { ask } from '../../query/ask.ts';
import { FILTERS, type FilterName } from '../../query/conditions.ts';
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts';
import { type Answer, startTestQuery, type TestQuery } from '../support/query.ts';
import {
  chainEvents,
  headOf,
  insertSeeded,
  randomFrom,
  type SeededEvent,
  variedEvents,
} from '../support/seed.ts';

const WORKSPACE = 'ws_00000000000000a1';
const OTHER = 'ws_00000000000000b2';
const GROWING = 'ws_00000000000000c3';

let server: TestClickHouse;
let writer: ClickHouseClient;
let api: TestQuery;
let events: SeededEvent[];
let others: SeededEvent[];

beforeAll(async () => {
  server = await startTestClickHouse();
  writer = connectClickHouse(server.writerUrl);
  api = await startTestQuery(server.readerUrl);
  events = chainEvents(WORKSPACE, variedEvents(3_000, randomFrom(1)), { random: randomFrom(2) });
  others = chainEvents(OTHER, variedEvents(500, randomFrom(3)), { random: randomFrom(4) });
  await insertSeeded(writer, events);
  await insertSeeded(writer, others);
});

afterAll(async () => {
  await api?.stop();
  await writer?.close();
  await server?.stop();
});

/** What the filters mean, in the plainest way. */
const ORACLE: Record<FilterName, (stored: SeededEvent, value: string) => boolean> = {
  actor_id: ({ event }, value) => event.actor_id === value,
  actor_type: ({ event }, value) => event.actor_type === value,
  action_category: ({ event }, value) => event.action_category === value,
  resource: ({ event }, value) => event.resource === value,
  resource_id: ({ event }, value) => event.resource_id === value,
  tenant_id: ({ event }, value) => event.tenant_id === value,
  session_id: ({ event }, value) => event.session_id === value,
  ip_country: ({ event }, value) => event.ip_country === value,
  action: ({ event }, value) => matchesWildcards(event.action, value),
  target_type: ({ event }, value) => event.targets?.some((target) => target.type === value) ?? false,
  target_id: ({ event }, value) => event.targets?.some((target) => target.id === value) ?? false,
  search: ({ event }, value) =>
    [
      event.actor_name,
      event.action,
      event.resource_name,
      event.metadata && canonicalJson(event.metadata),
    ].some((text) => text?.toLowerCase().includes(value.toLowerCase()) ?? false),
};

function matchesWildcards(text: string, pattern: string): boolean {
  const parts = pattern.split('*').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('[^]*')}$`).test(text);
}

type Filters = Partial<Record<FilterName, string>>;

function expected(stored: readonly SeededEvent[], filters: Filters): SeededEvent[] {
  const wanted = FILTERS.filter((name) => filters[name] !== undefined);
  return stored
    .filter((event) => wanted.every((name) => ORACLE[name](event, filters[name] ?? '')))
    .filter((event) => hasOneTargetWithBoth(event, filters))
    .reverse();
}

function hasOneTargetWithBoth({ event }: SeededEvent, { target_type, target_id }: Filters): boolean {
  if (target_type === undefined || target_id === undefined) return true;
  return event.targets?.some((target) => target.type === target_type && target.id === target_id) ?? false;
}

function queryOf(parameters: Record<string, string | number>): string {
  const pairs = Object.entries(parameters).map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
  return pairs.length === 0 ? '' : `?${pairs.join('&')}`;
}

const idsOf = (answer: Answer): string[] => answer.json.data.map((event: { id: string }) => event.id);
const seededIds = (stored: readonly SeededEvent[]): string[] => stored.map(({ event }) => event.id);

/** Each filter with values that match some, and one that matches none. */
const SAMPLES: Record<FilterName, string[]> = {
  actor_id: ['user_1', 'USER_1'],
  actor_type: ['service', 'nobody'],
  action_category: ['data', ''],
  resource: ['document', 'doc'],
  resource_id: ['doc_3', 'doc_9'],
  tenant_id: ['tenant_1', "' OR 1=1 --"],
  session_id: ['sess_2', 'sess_*'],
  ip_country: ['DE', 'de'],
  action: [
    'document.created',
    'document.*',
    '*.deleted',
    '*',
    '*ret_k*',
    'document_created',
    '100%.*',
    'document.',
  ],
  target_type: ['secret', 'none'],
  target_id: ['t_0', ''],
  search: [
    'KELLER',
    'zoë',
    'école',
    'naïve',
    'deleted',
    'STAGING',
    '100%',
    'r_s',
    '李 小',
    'back\\slash',
    'nothing at all',
  ],
};

describe('every filter', () => {
  const alone = FILTERS.flatMap((name) => SAMPLES[name].map((value) => ({ name, value })));

  test.each(alone)('$name=$value finds what it should', async ({ name, value }) => {
    const filters = value === '' ? {} : { [name]: value };
    const wanted = expected(events, filters);
    const answer = await api.get(WORKSPACE, `/events${queryOf({ [name]: value, limit: 100 })}`);
    expect(answer.status).toBe(200);
    expect(idsOf(answer)).toEqual(seededIds(wanted.slice(0, 100)));
    expect(answer.json.pagination).toMatchObject({
      total: wanted.length,
      total_is_estimate: false,
      has_more: wanted.length > 100,
    });
  });

  test('combines with every other', async () => {
    const pairs = FILTERS.flatMap((name, index) =>
      FILTERS.slice(index + 1).flatMap((other) =>
        SAMPLES[name].slice(0, 2).map((value): Filters => ({ [name]: value, [other]: SAMPLES[other][0]! })),
      ),
    );
    let found = 0;
    for (const filters of pairs) {
      const wanted = expected(
        events,
        Object.fromEntries(Object.entries(filters).filter(([, value]) => value !== '')),
      );
      const answer = await api.get(WORKSPACE, `/events${queryOf({ ...filters, limit: 100 })}`);
      expect(idsOf(answer), JSON.stringify(filters)).toEqual(seededIds(wanted.slice(0, 100)));
      expect(answer.json.pagination.total, JSON.stringify(filters)).toBe(wanted.length);
      found += wanted.length;
    }
    expect(found).toBeGreaterThan(1_000);
  });

  test('all at once', async () => {
    const target = events.find(({ event }) => FILTERS.every((name) => sampleOf(event, name) !== undefined))!;
    const filters = Object.fromEntries(FILTERS.map((name) => [name, sampleOf(target.event, name)!]));
    const answer = await api.get(WORKSPACE, `/events${queryOf(filters)}`);
    expect(idsOf(answer)).toEqual(seededIds(expected(events, filters)));
    expect(idsOf(answer)).toContain(target.event.id);
  });

  function sampleOf(event: SeededEvent['event'], name: FilterName): string | undefined {
    if (name === 'search') return event.actor_name?.slice(1, 6);
    if (name === 'target_type') return event.targets?.[0]?.type;
    if (name === 'target_id') return event.targets?.[0]?.id;
    return event[name];
  }
});

describe('time', () => {
  test('from and to are inclusive to the microsecond, with any offset', async () => {
    const [first, last] = [events[100]!, events[110]!];
    const between = async (from: number, to: number) =>
      idsOf(
        await api.get(
          WORKSPACE,
          `/events${queryOf({ from: formatTimestamp(from), to: formatTimestamp(to) })}`,
        ),
      );
    expect(await between(first.createdAtMicros, last.createdAtMicros)).toEqual(
      seededIds(events.slice(100, 111).reverse()),
    );
    expect(await between(first.createdAtMicros + 1, last.createdAtMicros - 1)).toEqual(
      seededIds(events.slice(101, 110).reverse()),
    );
    const local = formatTimestamp(first.createdAtMicros + 7_200_000_000).replace('Z', '+02:00');
    const answer = await api.get(WORKSPACE, `/events?from=${local}&to=${first.createdAt}`);
    expect(idsOf(answer)).toEqual([first.event.id]);
    expect(answer.json.pagination.total).toBe(1);
  });

  test('a span without events is an empty page', async () => {
    const answer = await api.get(WORKSPACE, '/events?to=2020-01-01T00:00:00Z');
    expect(answer.json).toEqual({
      data: [],
      pagination: { has_more: false, next_cursor: null, total: 0, total_is_estimate: false },
    });
  });
});

describe('a target', () => {
  const TARGETS = 'ws_0000000000007a26';

  test('has both type and id, neither of which runs into the other', async () => {
    const pairs = [
      ['a', 'bc'],
      ['ab', 'c'],
      ['1:a', 'bc'],
      ['a\nb', 'c'],
      ['a', '\nbc'],
      ['é', 'x'],
      ['e', '\u0301x'],
    ] as const;
    const targets = pairs.map(([type, id]) => ({ type, id }));
    const stored = chainEvents(TARGETS, [
      ...targets.map((target) => ({ actor_id: 'user_1', action: 'a', targets: [target] })),
      { actor_id: 'user_1', action: 'a', targets: [{ type: 'a' }, { type: 'b', id: 'bc' }] },
      { actor_id: 'user_1', action: 'a' },
    ]);
    await insertSeeded(writer, stored);
    for (const [index, { type, id }] of targets.entries()) {
      const answer = await api.get(TARGETS, `/events${queryOf({ target_type: type, target_id: id })}`);
      expect(idsOf(answer), JSON.stringify([type, id])).toEqual([stored[index]!.event.id]);
    }
  });
});

describe('pages over weeks', () => {
  const WEEKS = 'ws_00000000000033e5';
  const NEWEST_MICROS = Date.now() * 1000;
  const STEP_MICROS = 17 * 3_600_000_000;
  let spread: SeededEvent[];

  beforeAll(async () => {
    const inputs = [...variedEvents(70, randomFrom(7))];
    const startMicros = NEWEST_MICROS - 69 * STEP_MICROS;
    spread = chainEvents(WEEKS, inputs, { startMicros, stepMicros: STEP_MICROS, random: randomFrom(8) });
    for (const month of new Set(spread.map(({ createdAt }) => createdAt.slice(0, 7)))) {
      await insertSeeded(
        writer,
        spread.filter(({ createdAt }) => createdAt.startsWith(month)),
      );
    }
  });

  /** Beyond the events on both sides, at an event, a week from the ends and in the middle of nothing. */
  const times = () => [
    undefined,
    '2020-01-01T00:00:00.000000Z',
    spread[12]!.createdAt,
    formatTimestamp(spread[40]!.createdAtMicros + 1),
    '2090-01-01T00:00:00.000000Z',
  ];

  test.each(['desc', 'asc'])('are the same wherever they begin and end, in order %s', async (order) => {
    for (const filters of [
      {},
      { action: '*.deleted' },
      { resource: 'document' },
      { search: 'nothing at all' },
    ]) {
      for (const from of times()) {
        for (const to of times()) {
          const within = spread.filter(
            ({ createdAt }) => (from ?? '') <= createdAt && createdAt <= (to ?? '9'),
          );
          const wanted = expected(within, filters);
          if (order === 'asc') wanted.reverse();
          const query = { ...filters, order, limit: 9, ...(from && { from }), ...(to && { to }) };
          const found: string[] = [];
          for (let cursor: string | null = ''; cursor !== null; ) {
            const answer: Answer = await api.get(WEEKS, `/events${queryOf({ ...query, cursor })}`);
            found.push(...idsOf(answer));
            expect(answer.json.pagination.total).toBe(wanted.length);
            cursor = answer.json.pagination.next_cursor;
          }
          expect(found, JSON.stringify(query)).toEqual(seededIds(wanted));
        }
      }
    }
  });
});

describe('pages', () => {
  async function allPages(
    workspaceId: string,
    parameters: Record<string, string | number>,
    onPage?: () => Promise<void>,
  ) {
    const ids: string[] = [];
    let cursor: string | null = null;
    do {
      const answer: Answer = await api.get(
        workspaceId,
        `/events${queryOf(cursor === null ? parameters : { ...parameters, cursor })}`,
      );
      expect(answer.status).toBe(200);
      ids.push(...idsOf(answer));
      cursor = answer.json.pagination.next_cursor;
      expect(answer.json.pagination.has_more).toBe(cursor !== null);
      await onPage?.();
    } while (cursor !== null);
    return ids;
  }

  test('25 unless told otherwise', async () => {
    expect(idsOf(await api.get(WORKSPACE, '/events'))).toEqual(seededIds(events.slice(-25).reverse()));
  });

  test.each(['desc', 'asc'])('follow each other in order %s', async (order) => {
    const wanted = expected(events, { action: '*.deleted' });
    if (order === 'asc') wanted.reverse();
    expect(await allPages(WORKSPACE, { action: '*.deleted', order, limit: 97 })).toEqual(seededIds(wanted));
  });

  test('have no page after the last one, though it is full', async () => {
    const wanted = expected(events, { actor_id: 'user_1', tenant_id: 'tenant_0', resource: 'secret' }).slice(
      0,
      100,
    );
    const query = { actor_id: 'user_1', tenant_id: 'tenant_0', resource: 'secret', limit: wanted.length };
    expect((await api.get(WORKSPACE, `/events${queryOf(query)}`)).json.pagination.next_cursor).toBeNull();
  });

  test('neither skip nor repeat while events arrive', async () => {
    let stored = chainEvents(GROWING, variedEvents(200, randomFrom(5)));
    await insertSeeded(writer, stored);
    const before = stored;
    const arrive = async () => {
      const more = chainEvents(GROWING, variedEvents(5, randomFrom(6)), { head: headOf(stored) });
      stored = [...stored, ...more];
      await insertSeeded(writer, more);
    };
    expect(await allPages(GROWING, { limit: 30 }, arrive)).toEqual(seededIds([...before].reverse()));
    const oldestFirst = await allPages(GROWING, { limit: 30, order: 'asc' }, arrive);
    expect(oldestFirst).toEqual(seededIds(stored.slice(0, oldestFirst.length)));
    expect(oldestFirst.length).toBeGreaterThan(before.length);
  });

  test('refuse a cursor that was altered, or comes from another search or workspace', async () => {
    const first = await api.get(WORKSPACE, '/events?action=*.deleted');
    const cursor: string = first.json.pagination.next_cursor;
    const content = JSON.parse(Buffer.from(cursor, 'base64url').toString());
    const moved = Buffer.from(
      JSON.stringify({ ...content, created_at: '2026-03-15T12:00:00.000000Z' }),
    ).toString('base64url');

    const refused = await Promise.all([
      api.get(WORKSPACE, `/events?action=*.deleted&cursor=${moved}`),
      api.get(WORKSPACE, `/events?action=*.deleted&cursor=${cursor.slice(0, -1)}`),
      api.get(WORKSPACE, `/events?action=document.*&cursor=${cursor}`),
      api.get(WORKSPACE, `/events?action=*.deleted&order=asc&cursor=${cursor}`),
      api.get(OTHER, `/events?action=*.deleted&cursor=${cursor}`),
    ]);
    for (const answer of refused) {
      expect(answer.status).toBe(400);
      expect(answer.json).toMatchObject({ error: 'bad_request', request_id: expect.any(String) });
    }
    expect((await api.get(WORKSPACE, `/events?action=*.deleted&limit=50&cursor=${cursor}`)).status).toBe(200);
  });
});

describe('a session', () => {
  test('is given whole and in order, and followed while it goes on', async () => {
    const workspaceId = 'ws_00000000000000e5';
    const step = (n: number) => ({ actor_id: 'user_1', action: `step.${n}`, session_id: `sess_${n % 3}` });
    let stored = chainEvents(
      workspaceId,
      Array.from({ length: 90 }, (_, n) => step(n)),
    );
    await insertSeeded(writer, stored);
    const path = '/events?session_id=sess_1&order=asc&limit=7';
    const actions: string[] = [];
    let cursor = '';
    let arrived = false;
    for (;;) {
      const answer = await api.get(workspaceId, `${path}&cursor=${cursor}`);
      expect(answer.json.pagination.total).toBe(30);
      actions.push(...answer.json.data.map(({ action }: { action: string }) => action));
      if (answer.json.pagination.next_cursor === null) break;
      cursor = answer.json.pagination.next_cursor;
      if (!arrived) {
        const more = Array.from({ length: 9 }, (_, n) => step(90 + n));
        const later = chainEvents(workspaceId, more, { head: headOf(stored) });
        await insertSeeded(writer, later);
        stored = [...stored, ...later];
        arrived = true;
      }
    }
    const wanted = stored.filter(({ event }) => event.session_id === 'sess_1');
    expect(actions).toEqual(wanted.map(({ event }) => event.action));
    expect(actions).toHaveLength(33);
  });
});

describe('bad parameters', () => {
  test('that are not UTF-8 are 422, and control characters are looked for', async () => {
    const answer = await api.get(WORKSPACE, '/events?actor_id=%FF&search=%C3%28');
    expect(answer.status).toBe(422);
    expect(answer.json.violations).toMatchObject([{ path: 'actor_id' }, { path: 'search' }]);
    for (const value of ['%00', 'a%00b', '%01%1F', '%0A', '%7F', '%EF%BF%BF']) {
      const none = await api.get(WORKSPACE, `/events?actor_id=${value}&action=${value}&search=${value}`);
      expect(none.status, value).toBe(200);
      expect(none.json.data, value).toEqual([]);
    }
  });

  test('are 422 and named', async () => {
    const answer = await api.get(WORKSPACE, '/events?limit=1000&from=2026-13-01T00:00:00Z&order=random');
    expect(answer.status).toBe(422);
    expect(answer.json).toMatchObject({
      error: 'validation_failed',
      violations: [{ path: 'from' }, { path: 'order' }, { path: 'limit' }],
      request_id: expect.any(String),
    });
  });

  test('that do not exist are ignored with a warning', async () => {
    const answer = await api.get(WORKSPACE, '/events?actor=user_1&limit=1');
    expect(answer.status).toBe(200);
    expect(answer.json.warnings).toEqual(["unknown parameter 'actor' was ignored"]);
  });
});

describe('one event', () => {
  test('is given as it was sent', async () => {
    const { event, ...stored } = events.find(
      ({ event }) => event.targets && event.metadata && event.version,
    )!;
    const answer = await api.get(WORKSPACE, `/events/${event.id.toUpperCase()}`);
    expect(answer.status).toBe(200);
    expect(answer.json.data).toMatchObject({
      id: event.id,
      action: event.action,
      metadata: event.metadata,
      version: event.version,
      occurred_at: event.occurred_at,
      created_at: stored.createdAt,
      integrity: {
        seq: stored.seq,
        event_hash: stored.eventHash,
        previous_event_hash: stored.previousEventHash,
      },
    });
    expect(answer.json.data.targets).toHaveLength(event.targets!.length);
  });

  test('every seeded event comes back with its texts unchanged', async () => {
    for (const { event } of events.slice(0, 60)) {
      const { data } = (await api.get(WORKSPACE, `/events/${event.id}`)).json;
      expect(canonicalJson(data.metadata)).toBe(canonicalJson(event.metadata ?? null));
      expect(data.actor_name).toBe(event.actor_name ?? null);
      expect(data.resource_name).toBe(event.resource_name ?? null);
      expect(data.ip_address).toBe(event.ip_address ?? null);
    }
  });

  test('that is unknown, malformed or another workspace’s is 404', async () => {
    const paths = [
      others[7]!.event.id,
      '2460e8ae-307a-4669-99e4-1d7cb83d7e03',
      'nonsense',
      '%00',
      "'%20OR%201=1",
    ];
    for (const id of paths) {
      const answer = await api.get(WORKSPACE, `/events/${id}`);
      expect(answer.status, id).toBe(404);
      expect(answer.json).toMatchObject({ error: 'not_found', request_id: expect.any(String) });
    }
  });

  test('that may be on its way is 404 with Retry-After', async () => {
    const time = Date.now().toString(16).padStart(12, '0');
    const fresh = `${time.slice(0, 8)}-${time.slice(8)}-7abc-8def-0123456789ab`;
    const keyed = '2460e8ae-307a-8669-99e4-1d7cb83d7e03';
    const old = '018e0000-0000-7abc-8def-0123456789ab';
    const retryAfter = async (id: string) =>
      (await api.get(WORKSPACE, `/events/${id}`)).headers.get('retry-after');
    expect(await retryAfter(fresh)).toBe('1');
    expect(await retryAfter(keyed)).toBe('1');
    expect(await retryAfter(old)).toBeNull();
  });
});

describe('access', () => {
  const routes = () => ['/events', `/events/${events[0]!.event.id}`, '/verify'];

  test('needs a key with the scope read', async () => {
    for (const path of routes()) {
      expect((await api.getWith({}, path)).status, path).toBe(401);
      const answerTo = async (token: string) =>
        (await api.getWith({ authorization: `Bearer ${token}` }, path)).status;
      expect(await answerTo('imk_unknown')).toBe(401);
      expect(await answerTo(api.addKey(WORKSPACE, ['read'], true))).toBe(401);
      expect(await answerTo(api.addKey(WORKSPACE, ['ingest', 'manage']))).toBe(403);
      expect(await answerTo(api.addKey(null, ['operator']))).toBe(403);
    }
  });

  test('ends at the workspace', async () => {
    const mine = new Set(seededIds(others));
    const list = await api.get(OTHER, '/events?limit=100');
    expect(idsOf(list).every((id) => mine.has(id))).toBe(true);
    expect(list.json.pagination.total).toBe(others.length);
    expect((await api.get(OTHER, '/verify')).json.data).toMatchObject({
      valid: true,
      events_checked: others.length,
    });
    expect((await api.get(OTHER, `/events/${events[0]!.event.id}`)).status).toBe(404);
    expect((await api.get('ws_00000000000000ff', '/events')).json.data).toEqual([]);
    const trick = queryOf({ workspace_id: WORKSPACE, limit: 100 });
    expect(idsOf(await api.get(OTHER, `/events${trick}`))).toEqual(idsOf(list));
  });
});

describe('totals', () => {
  test('beyond 100,000 are exact without filters and an estimate with them', async () => {
    const many = 'ws_00000000000000d4';
    const ticks = Array.from({ length: 110_000 }, (_, n) => ({
      actor_id: `clock_${n % 100}`,
      action: 'clock.ticked',
    }));
    await insertSeeded(writer, chainEvents(many, ticks));
    const unfiltered = await api.get(many, '/events?limit=1');
    expect(unfiltered.json.pagination).toMatchObject({ total: 110_000, total_is_estimate: false });
    const filtered = await api.get(many, '/events?limit=1&action=clock.*');
    expect(filtered.json.pagination).toMatchObject({ total: 110_000, total_is_estimate: true });
    const some = await api.get(many, '/events?limit=1&actor_id=clock_7');
    expect(some.json.pagination).toMatchObject({ total: 1_100, total_is_estimate: false });
  });
});

describe('a question to ClickHouse', () => {
  test('that takes too long asks for less, one that makes no sense is our own fault', async () => {
    const slow = { sql: 'SELECT sleepEachRow(1) FROM numbers(5) SETTINGS max_block_size = 1', params: {} };
    await expect(ask(writer, slow, { max_execution_time: 1 })).rejects.toMatchObject({
      code: 'validation_failed',
      violations: [{ path: 'from' }],
    });
    const wrong = { sql: 'SELECT nothing FROM nowhere', params: {} };
    await expect(ask(writer, wrong, {})).rejects.toMatchObject({ code: 'internal' });
  });
});

describe('without ClickHouse', () => {
  test('every route answers 503 with Retry-After, and works again when it is back', async () => {
    await server.kill9();
    for (const path of ['/events', `/events/${events[0]!.event.id}`, '/verify']) {
      const answer = await api.get(WORKSPACE, path);
      expect(answer.status, path).toBe(503);
      expect(answer.headers.get('retry-after')).toMatch(/^\d+$/);
      expect(answer.json).toMatchObject({ error: 'unavailable', request_id: expect.any(String) });
    }
    await server.restart();
    expect((await api.get(WORKSPACE, '/events')).status).toBe(200);
  });
});
