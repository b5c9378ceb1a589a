import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { EVENT_INSERT_COLUMNS, TABLES } from '../../infra/clickhouse/names.ts';
import { conditions, FILTERS, type FilterName } from '../../query/conditions.ts';
import { SEARCH_BUDGET } from '../../query/reader.ts';
import { EXACT_TOTAL, EXACT_TOTAL_OF_TEXTS, parseSearch } from '../../query/search.ts';
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts';
import { type Answer, startTestQuery, type TestQuery } from '../support/query.ts';

/** What lists cost over more events than one looks at: totals, the limit of a search, turns, indexes. */

const WORKSPACE = 'ws_00000000000c0057';
const OTHER = 'ws_00000000000c0058';
/** All of one action but for the last and newest, which follow each other. */
const BURSTY = 'ws_00000000000c0059';
const BURST = 30_000;
const START_MILLIS = Date.UTC(2026, 2, 15, 12);

let server: TestClickHouse;
let admin: ClickHouseClient;
let api: TestQuery;
/** Gives up at once. */
let hasty: TestQuery;

beforeAll(async () => {
  server = await startTestClickHouse();
  admin = connectClickHouse(server.adminUrl);
  api = await startTestQuery(server.readerUrl);
  hasty = await startTestQuery(server.readerUrl, {
    searchBudget: { ...SEARCH_BUDGET, pageSeconds: 0.001, countSeconds: 0.001 },
  });
  await makeEvents(WORKSPACE, 2 * EXACT_TOTAL + 1);
  await makeEvents(OTHER, 100);
  await makeEvents(BURSTY, 300_000, `if(number >= ${300_000 - BURST}, 'burst', 'calm')`);
});

afterAll(async () => {
  await hasty?.stop();
  await api?.stop();
  await admin?.close();
  await server?.stop();
});

/** The second, fourth … event is `edge.exact`, the others, one more if `count` is odd, are `edge.over`. */
async function makeEvents(
  workspaceId: string,
  count: number,
  action = "if(number % 2 = 1, 'edge.exact', 'edge.over')",
): Promise<void> {
  const texts = `concat('{"action":"', ${action}, '","actor_id":"user_', toString(number % 500),
      '","id":"', toString(generateUUIDv4()), '","private":"","resource":"document","workspace_id":"${workspaceId}"}'),
    concat('{"metadata":{"note":"', lower(hex(MD5(toString(number)))), '"}}')`;
  await admin.command({
    query: `INSERT INTO ${TABLES.events} (${EVENT_INSERT_COLUMNS.join(', ')})
      SELECT 60000, 'cccccccccccccccc', number, 0, now64(6, 'UTC'), '${workspaceId}', number + 1,
        fromUnixTimestamp64Micro(toInt64(${START_MILLIS * 1000} + number * 1000), 'UTC'), ${texts}, '', repeat('ab', 32), ''
      FROM numbers(${count})`,
  });
}

const totalOf = async (path: string, workspaceId = WORKSPACE, from = api) => {
  const { status, json }: Answer = await from.get(workspaceId, path);
  expect(status, JSON.stringify(json)).toBe(200);
  return json.pagination;
};

describe('totals', () => {
  test('are exact to 100,000 and an estimate from 100,001 on, in both orders', async () => {
    for (const order of ['desc', 'asc']) {
      expect(await totalOf(`/events?action=edge.exact&order=${order}`)).toMatchObject({
        total: EXACT_TOTAL,
        total_is_estimate: false,
      });
      const over = await totalOf(`/events?action=edge.over&order=${order}`);
      expect(over.total_is_estimate).toBe(true);
      expect(over.total).toBeGreaterThan(EXACT_TOTAL);
      expect(over.total).toBeLessThan(1.05 * EXACT_TOTAL);
    }
    expect(await totalOf('/events')).toMatchObject({ total: 2 * EXACT_TOTAL + 1, total_is_estimate: false });
  });

  test('are the first page’s on all pages after it', async () => {
    const { total, next_cursor } = await totalOf('/events?action=edge.over');
    const second = await totalOf(`/events?action=edge.over&cursor=${next_cursor}`);
    expect(second).toMatchObject({ total, total_is_estimate: true, has_more: true });
    const last = await totalOf(`/events?action=edge.over&cursor=${second.next_cursor}&limit=100`);
    expect(last.total).toBe(total);
  });

  test('that cost too much to count are estimated, and no error', async () => {
    const uncounted = await startTestQuery(server.readerUrl, {
      searchBudget: { ...SEARCH_BUDGET, pageSeconds: 10, countSeconds: 0.001 },
    });
    try {
      for (const path of ['/events?actor_id=user_7', '/events?search=ab', '/events']) {
        const { total, total_is_estimate } = await totalOf(path, WORKSPACE, uncounted);
        expect(total_is_estimate, path).toBe(true);
        expect(total, path).toBeGreaterThanOrEqual(26);
      }
      expect(await totalOf('/events?actor_id=nobody', WORKSPACE, uncounted)).toMatchObject({
        total: 0,
        total_is_estimate: false,
      });
    } finally {
      await uncounted.stop();
    }
  });
});

describe('totals of a search for a text', () => {
  let sparing: TestQuery;
  beforeAll(async () => {
    sparing = await startTestQuery(server.readerUrl, {
      searchBudget: { ...SEARCH_BUDGET, countTexts: EXACT_TOTAL },
    });
  });
  afterAll(() => sparing?.stop());

  test('are counted to 10,000 among more events than may be compared, and estimates beyond', async () => {
    for (const order of ['desc', 'asc']) {
      const found = await totalOf(`/events?search=edge.exact&order=${order}`, WORKSPACE, sparing);
      expect(found.total_is_estimate).toBe(true);
      expect(found.total / EXACT_TOTAL).toBeCloseTo(1, 1);
    }
    const few = await totalOf('/events?search=abcd');
    expect(few.total_is_estimate).toBe(false);
    expect(few.total).toBeGreaterThan(26);
    expect(few.total).toBeLessThan(EXACT_TOTAL_OF_TEXTS);
    const { total, total_is_estimate } = await totalOf('/events?search=abcd', WORKSPACE, sparing);
    expect({ total, total_is_estimate }).toEqual({ total: few.total, total_is_estimate: false });
  });

  test('are exact among fewer events, however many match', async () => {
    const to = new Date(START_MILLIS + 50_000).toISOString();
    expect(await totalOf(`/events?search=edge&to=${to}`, WORKSPACE, sparing)).toMatchObject({
      total: 50_001,
      total_is_estimate: false,
    });
  });

  test('are not misled by a burst where the page begins', async () => {
    const burst = `/events?search=burst`;
    const lastly = await totalOf(`${burst}&order=desc`, BURSTY, sparing);
    const firstly = await totalOf(`${burst}&order=asc`, BURSTY, sparing);
    for (const { total, total_is_estimate } of [lastly, firstly]) {
      expect(total_is_estimate).toBe(true);
      expect(total / BURST).toBeCloseTo(1, 0);
    }
  });
});

describe('a search that would read too much', () => {
  test('is 422 soon, and says what to narrow', async () => {
    const from = performance.now();
    const answer = await hasty.get(WORKSPACE, '/events?search=zq&action=*nothing');
    expect(performance.now() - from).toBeLessThan(2_000);
    expect(answer.status).toBe(422);
    expect(answer.json).toMatchObject({
      error: 'validation_failed',
      message: expect.stringMatching(
        /^This search would read too much: .*3 characters.*from and to.*actor_id/,
      ),
      violations: [{ path: 'search' }, { path: 'action' }, { path: 'from' }, { path: 'actor_id' }],
      request_id: expect.any(String),
    });
  });

  test('is answered within the ordinary limits', async () => {
    expect(await totalOf('/events?search=zq')).toMatchObject({ total: 0, total_is_estimate: false });
    expect(await totalOf('/events?action=*nothing')).toMatchObject({ total: 0, total_is_estimate: false });
  });

  test('is no 5xx when a hundred come at once, and another workspace is served meanwhile', async () => {
    const many = Array.from({ length: 100 }, (_, n) => api.get(WORKSPACE, `/events?search=z${n % 10}q`));
    const other = await Promise.all(
      Array.from({ length: 5 }, () => api.get(OTHER, '/events?action=edge.exact&limit=1')),
    );
    expect(other.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    const answers = await Promise.all(many);
    const refused = answers.filter(({ status }) => status === 429);
    expect(answers.every(({ status }) => status === 200 || status === 429)).toBe(true);
    expect(refused.length).toBeGreaterThan(0);
    expect(answers.length - refused.length).toBeGreaterThanOrEqual(34);
    for (const { headers } of refused) expect(headers.get('retry-after')).toMatch(/^\d+$/);
    expect((await api.get(WORKSPACE, '/events?limit=1')).status).toBe(200);
  });
});

describe('docs/search.md', () => {
  /** The table of the page: `| \`filter\` | … | \`index\` |`, a dash where no index serves it. */
  const documented = new Map(
    [
      ...readFileSync('docs/search.md', 'utf8').matchAll(
        /^\| `(\w+)`(?: \+ `(\w+)`)? \|.*\| (`(\w+)`|–) \|$/gm,
      ),
    ].map(([, name = '', , , index]) => [name, index ?? '–']),
  );
  /** A value that is rare, so that an index has something to leave out. */
  const rare: Partial<Record<FilterName, string>> = { search: 'abcdef', action: 'edge.none' };

  test('names every filter', () => {
    expect([...documented.keys()].filter((name) => name !== 'from').sort()).toEqual([...FILTERS].sort());
  });

  test.each(FILTERS)('names the index that serves %s', async (name) => {
    const parsed = parseSearch(`${name}=${rare[name] ?? 'rare'}`);
    if (!parsed.ok) throw new Error('the filter is refused');
    const where = conditions(WORKSPACE, parsed.search);
    const result = await admin.query({
      query: `EXPLAIN indexes = 1 SELECT seq FROM ${TABLES.events} WHERE ${where.sql}`,
      query_params: where.params,
      format: 'TabSeparatedRaw',
    });
    const plan = await result.text();
    const names = [...plan.matchAll(/Skip\s+Name: (\w+)/g)].map((match) => match[1]);
    expect(plan).toContain('PrimaryKey');
    expect(names).toEqual(documented.get(name) === '–' ? [] : [documented.get(name)]);
  });

  test('names the index that serves target_type and target_id together', async () => {
    const parsed = parseSearch('target_type=rare&target_id=rare');
    if (!parsed.ok) throw new Error('the filters are refused');
    const where = conditions(WORKSPACE, parsed.search);
    const result = await admin.query({
      query: `EXPLAIN indexes = 1 SELECT seq FROM ${TABLES.events} WHERE ${where.sql}`,
      query_params: where.params,
      format: 'TabSeparatedRaw',
    });
    const names = [...(await result.text()).matchAll(/Skip\s+Name: (\w+)/g)].map((match) => match[1]);
    expect(names).toEqual(['target_pairs_values']);
    expect(readFileSync('docs/search.md', 'utf8')).toContain('`target_pairs_values`');
  });

  test('says how many characters a search needs for its index', async () => {
    const plan = async (search: string) => {
      const where = conditions(WORKSPACE, { filters: { search }, from: undefined, to: undefined });
      const result = await admin.query({
        query: `EXPLAIN indexes = 1 SELECT seq FROM ${TABLES.events} WHERE ${where.sql}`,
        query_params: where.params,
        format: 'TabSeparatedRaw',
      });
      const granules = /Name: search_text_index[\s\S]*?Granules: (\d+)\/(\d+)/.exec(await result.text());
      return granules === null ? undefined : { left: Number(granules[1]), of: Number(granules[2]) };
    };
    expect((await plan('zqx'))?.left).toBe(0);
    const short = await plan('zq');
    expect(short?.left).toBe(short?.of);
  });
});
