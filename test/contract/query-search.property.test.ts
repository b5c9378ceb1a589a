import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { EventInput } from '../../core/event.ts';
import { canonicalJson } from '../../core/json.ts';
import { formatTimestamp } from '../../core/time.ts';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { FILTERS, type FilterName } from '../../query/conditions.ts';
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts';
import { propertyRuns } from '../support/property-runs.ts';
import { type Answer, startTestQuery, type TestQuery } from '../support/query.ts';
import { chainEvents, headOf, insertSeeded, randomFrom, type SeededEvent } from '../support/seed.ts';

/** Lists against a model of a few lines, over events made to be confused with each other. */

const WORKSPACE = 'ws_0000000000000a11';
const EVENTS = 1_500;
/** Thousands of pages, and the machine may have other things to do. */
const SLOW_MS = 3_600_000;
const START_MICROS = Date.UTC(2026, 0, 31, 23, 59) * 1000;
/** The events lie on both sides of the end of a month, where ClickHouse keeps them in parts of their own. */
const STEP_MICROS = 80_000;

let server: TestClickHouse;
let writer: ClickHouseClient;
let api: TestQuery;
let events: SeededEvent[];

beforeAll(async () => {
  server = await startTestClickHouse();
  writer = connectClickHouse(server.writerUrl);
  api = await startTestQuery(server.readerUrl);
  const inputs = fc.sample(anyEvent, { numRuns: EVENTS, seed: 20260315 });
  events = chainEvents(WORKSPACE, inputs, { startMicros: START_MICROS, stepMicros: STEP_MICROS });
  for (let from = 0; from < EVENTS; from += 300) {
    const month = ({ createdAt }: SeededEvent) => createdAt.slice(0, 7);
    const some = events.slice(from, from + 300);
    for (const name of new Set(some.map(month))) {
      await insertSeeded(
        writer,
        some.filter((event) => month(event) === name),
      );
    }
  }
});

afterAll(async () => {
  await api?.stop();
  await writer?.close();
  await server?.stop();
});

/** Each is easily taken for another: by LIKE, by a parser, by case, by how much of it is looked at. */
const VALUES = [
  'a',
  'A',
  'a%b',
  'a_b',
  'axb',
  'a\\b',
  'a\\\\b',
  'a\\%b',
  '%',
  '_',
  '\\',
  "'",
  '"',
  'a*b',
  '*',
  'doc.created',
  'doc.deleted',
  'doc_deleted',
  'docs.deleted',
  '.deleted',
  ' a ',
  'a\tb',
  'a\nb',
  'a\u0000b',
  'a\u0001b',
  '\u007f',
  'straße',
  'STRASSE',
  'İstanbul',
  'istanbul',
  'ΟΔΥΣΣΕΥΣ',
  'οδυσσευς',
  'Ångström',
  'A\u030angström',
  '日本語',
  '😀😃',
  'null',
  '{x:String}',
  `${'x'.repeat(254)}a`,
  `${'x'.repeat(254)}b`,
] as const;

const value = fc.constantFrom(...VALUES);
const maybe = fc.option(value, { nil: undefined, freq: 3 });

const anyEvent: fc.Arbitrary<EventInput> = fc.record({
  action: value,
  actor_id: value,
  action_category: maybe,
  actor_name: maybe,
  actor_type: maybe,
  ip_country: fc.constantFrom(undefined, 'DE', 'US'),
  metadata: fc.option(
    fc.dictionary(fc.constantFrom('k', 'K%', 'targets', 'actor_name'), value, { maxKeys: 2 }),
    {
      nil: undefined,
    },
  ),
  resource: maybe,
  resource_id: maybe,
  resource_name: maybe,
  session_id: maybe,
  tenant_id: maybe,
  targets: fc.option(fc.array(fc.record({ type: value, id: value }), { minLength: 1, maxLength: 3 }), {
    nil: undefined,
  }),
});

type Filters = Partial<Record<FilterName, string>>;
interface Query extends Filters {
  order?: 'asc' | 'desc';
  from?: string;
  to?: string;
}

function model(query: Query): SeededEvent[] {
  const found = events.filter((stored) => {
    const { event, createdAt } = stored;
    if (query.from !== undefined && createdAt < query.from) return false;
    if (query.to !== undefined && createdAt > query.to) return false;
    return FILTERS.every((name) => query[name] === undefined || matches(event, name, query[name], query));
  });
  return query.order === 'asc' ? found : found.reverse();
}

function matches(event: SeededEvent['event'], name: FilterName, wanted: string, query: Query): boolean {
  const targets = event.targets ?? [];
  switch (name) {
    case 'action':
      return like(event.action, wanted);
    case 'target_id':
      return targets.some(({ type, id }) => id === wanted && type === (query.target_type ?? type));
    case 'target_type':
      return targets.some(({ type }) => type === wanted);
    case 'search': {
      const metadata = event.metadata === undefined ? '' : canonicalJson(event.metadata);
      const text = [event.actor_name ?? '', event.action, event.resource_name ?? '', metadata].join('\n');
      return text.toLowerCase().includes(wanted.toLowerCase());
    }
    default:
      return event[name] === wanted;
  }
}

/** `*` stands for any characters; the rest for itself. */
function like(text: string, pattern: string): boolean {
  const [first = '', ...rest] = pattern.split('*');
  const last = rest.pop();
  if (last === undefined) return text === first;
  if (!text.startsWith(first)) return false;
  let at = first.length;
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return text.length - at >= last.length && text.endsWith(last);
}

async function allPages(query: Query, limit: number): Promise<{ ids: string[]; total: number }> {
  const ids: string[] = [];
  let cursor: string | null = '';
  let total = 0;
  while (cursor !== null) {
    const answer: Answer = await api.get(WORKSPACE, `/events?${encoded({ ...query, limit, cursor })}`);
    expect(answer.status, JSON.stringify([query, answer.json])).toBe(200);
    ids.push(...answer.json.data.map(({ id }: { id: string }) => id));
    ({ next_cursor: cursor, total } = answer.json.pagination);
  }
  return { ids, total };
}

function encoded(parameters: object): string {
  return Object.entries(parameters)
    .map(([name, given]) => `${name}=${encodeURIComponent(given)}`)
    .join('&');
}

async function expectAsModel(query: Query, limit = 100): Promise<number> {
  const wanted = model(query);
  const found = await allPages(query, limit);
  expect(found, JSON.stringify(query)).toEqual({
    ids: wanted.map(({ event }) => event.id),
    total: wanted.length,
  });
  return wanted.length;
}

const wildcards = fc
  .tuple(value, fc.nat(6), fc.nat(6), fc.boolean(), fc.boolean())
  .map(([text, from, length, before, after]) => {
    const part = [...text].slice(from, from + length).join('');
    return `${before ? '*' : ''}${part}${after ? '*' : ''}` || '*';
  });
const pieces = fc
  .tuple(value, fc.nat(6), fc.integer({ min: 1, max: 6 }), fc.constantFrom('as is', 'upper', 'lower'))
  .map(([text, from, length, spelling]) => {
    const piece = [...text].slice(from, from + length).join('') || text;
    if (spelling === 'as is') return piece;
    return spelling === 'upper' ? piece.toUpperCase() : piece.toLowerCase();
  });
const timeOf = fc
  .integer({ min: -2, max: EVENTS + 1 })
  .map((n) => formatTimestamp(START_MICROS + n * STEP_MICROS));
const anyValueOf = (name: FilterName): fc.Arbitrary<string> => {
  if (name === 'action') return fc.oneof(value, wildcards);
  if (name === 'search') return pieces;
  return name === 'ip_country' ? fc.constantFrom('DE', 'US', 'de') : value;
};
const combination: fc.Arbitrary<Query> = fc.record(
  {
    ...Object.fromEntries(
      FILTERS.map((name) => [name, fc.option(anyValueOf(name), { freq: 1, nil: undefined })]),
    ),
    order: fc.constantFrom<'asc' | 'desc'>('asc', 'desc'),
    from: timeOf,
    to: timeOf,
  },
  { requiredKeys: [] },
);

describe('a list is what the model says', () => {
  test.each(FILTERS)('%s, with every value', async (name) => {
    const values = name === 'ip_country' ? ['DE', 'US', 'de'] : VALUES;
    let found = 0;
    for (const one of values) found += await expectAsModel({ [name]: one });
    expect(found).toBeGreaterThan(0);
  });

  test('wildcards', { timeout: SLOW_MS }, async () => {
    await fc.assert(
      fc.asyncProperty(wildcards, async (action) => {
        await expectAsModel({ action });
      }),
      propertyRuns(20),
    );
  });

  test('substrings, in any case', { timeout: SLOW_MS }, async () => {
    await fc.assert(
      fc.asyncProperty(pieces, async (search) => {
        await expectAsModel({ search });
      }),
      propertyRuns(25),
    );
  });

  test('filters together', { timeout: SLOW_MS }, async () => {
    let found = 0;
    const sparse = combination.map((query) => withFew(query));
    await fc.assert(
      fc.asyncProperty(sparse, fc.integer({ min: 7, max: 100 }), async (query, limit) => {
        found += await expectAsModel(query, limit);
      }),
      propertyRuns(20),
    );
    expect(found).toBeGreaterThan(100);
  });

  /** All filters at once match nothing: keeps two, besides times and order. */
  function withFew(query: Query): Query {
    const { order, from, to, ...filters } = query;
    const given = Object.entries(filters).filter(([, one]) => one !== undefined);
    const kept = given.filter((_, index) => (index * 7 + given.length) % 5 < 2).slice(0, 2);
    const times = { ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) };
    return { ...Object.fromEntries(kept), ...times, ...(order === undefined ? {} : { order }) };
  }
});

describe('what case-insensitive means', () => {
  const found = async (search: string) => (await allPages({ search }, 100)).total;

  test('Unicode lower case of both; ß is not ss, and an accent written apart is another text', async () => {
    expect(await found('ISTANBUL')).toBe(await found('istanbul'));
    expect(await found('ÅNGSTRÖM')).toBe(await found('ångström'));
    expect(await found('οδυσσευσ')).toBe(0);
    expect(await found('οδυσσευς')).toBe(await found('ΟΔΥΣΣΕΥΣ'));
    // Lower case of Σ depends on what follows, which a part of a word does not show.
    expect(await found('ΟΔΥΣ')).toBe(0);
    expect(await found('οδυσ')).toBe(await found('ΟΔΥΣΣΕΥΣ'));
    expect(await found('straße')).not.toBe(await found('strasse'));
  });
});

describe('pages', () => {
  test.each(['desc', 'asc'] as const)(
    'in order %s neither skip nor repeat while others write',
    { timeout: SLOW_MS },
    async (order) => {
      await fc.assert(
        fc.asyncProperty(
          fc.integer({ min: 5, max: 40 }),
          fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 4, maxLength: 12 }),
          fc.integer({ min: 1, max: 2 ** 31 }),
          async (limit, batches, salt) => {
            const workspaceId = `ws_9${String(workspaces++).padStart(15, '0')}`;
            const random = randomFrom(salt);
            let stored = chainEvents(workspaceId, ticks(120), { random });
            await insertSeeded(writer, stored);
            const writing = (async () => {
              for (const size of batches) {
                const more = chainEvents(workspaceId, ticks(size), { head: headOf(stored), random });
                await insertSeeded(writer, more);
                stored = [...stored, ...more];
              }
            })();
            const seqs = await seqsOf(workspaceId, { order, limit });
            await writing;
            const first = order === 'desc' ? Math.max(...seqs) : 1;
            const step = order === 'desc' ? -1 : 1;
            expect(seqs).toEqual(seqs.map((_, index) => first + step * index));
            expect(seqs.length).toBeGreaterThanOrEqual(120);
            if (order === 'desc') expect(seqs.at(-1)).toBe(1);
          },
        ),
        { ...propertyRuns(6), endOnFailure: true },
      );
    },
  );

  let workspaces = 0;
  const ticks = (count: number) =>
    Array.from({ length: count }, () => ({ actor_id: 'clock', action: 'tick' }));

  async function seqsOf(workspaceId: string, parameters: object): Promise<number[]> {
    const seqs: number[] = [];
    for (let cursor: string | null = ''; cursor !== null; ) {
      const query = encoded({ actor_id: 'clock', ...parameters, cursor });
      const { json }: Answer = await api.get(workspaceId, `/events?${query}`);
      seqs.push(...json.data.map(({ integrity }: { integrity: { seq: number } }) => integrity.seq));
      cursor = json.pagination.next_cursor;
    }
    return seqs;
  }
});
