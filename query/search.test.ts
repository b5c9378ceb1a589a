import { describe, expect, test } from 'vitest';
import { FILTERS } from './conditions.ts';
import {
  countQuery,
  eventQuery,
  extrapolate,
  narrowing,
  pageQueries,
  parseSearch,
  type Search,
  sampleQuery,
  searchIdentity,
  spanQuery,
} from './search.ts';
import type { SqlQuery } from './sql.ts';

const WORKSPACE = 'ws_0000000000000001';

function searchFor(query: string): Search {
  const parsed = parseSearch(query);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.violations));
  return parsed.search;
}

const NOW = Date.UTC(2026, 2, 15) * 1000;

/** The query that reads all of a search's span of time. */
function wholePage(query: string, after?: number): SqlQuery {
  return pageQueries(WORKSPACE, searchFor(query), { after, now: NOW }).at(-1)!;
}

function violationsOf(query: string): Record<string, string> {
  const parsed = parseSearch(query);
  return parsed.ok ? {} : Object.fromEntries(parsed.violations.map(({ path, message }) => [path, message]));
}

describe('parseSearch', () => {
  test('nothing asked for is the newest 25', () => {
    expect(searchFor('')).toEqual({
      filters: {},
      from: undefined,
      to: undefined,
      order: 'desc',
      limit: 25,
      cursor: undefined,
    });
  });

  test('an empty value is no filter', () => {
    expect(searchFor('actor_id=&from=&limit=&order=&cursor=')).toEqual(searchFor(''));
  });

  test('values are decoded, and a plus sign that should have been encoded is understood in a time', () => {
    expect(searchFor('search=a+b%26c%C3%BC').filters.search).toBe('a b&cü');
    const micros = Date.UTC(2026, 2, 15, 12, 32, 18) * 1000;
    expect(searchFor('from=2026-03-15T14:32:18+02:00').from).toBe(micros);
    expect(searchFor('from=2026-03-15T14%3A32%3A18%2B02%3A00').from).toBe(micros);
    expect(searchFor('to=2026-03-15T12:32:18.000001Z').to).toBe(micros + 1);
  });

  test.each([
    ['limit=0', 'limit'],
    ['limit=101', 'limit'],
    ['limit=-1', 'limit'],
    ['limit=1.5', 'limit'],
    ['limit=1e1', 'limit'],
    ['limit=ten', 'limit'],
    ['from=yesterday', 'from'],
    ['from=2026-03-15', 'from'],
    ['to=2026-02-30T00:00:00Z', 'to'],
    ['to=1760000000', 'to'],
    ['order=up', 'order'],
    ['actor_id=a&actor_id=b', 'actor_id'],
    [`search=${'x'.repeat(1025)}`, 'search'],
    [`resource_id=${encodeURIComponent('😀'.repeat(1025))}`, 'resource_id'],
    ['actor_id=%FF', 'actor_id'],
    ['limit=5&search=caf%E9', 'search'],
    ['search=%ED%A0%80', 'search'],
    ['order=asc&order=desc', 'order'],
    ['from=2026-03-15T14:32:18Z&from=2026-03-15T14:32:18Z', 'from'],
    ['action=a&action=a', 'action'],
  ])('%s is refused by name', (query, name) => {
    expect(Object.keys(violationsOf(query))).toEqual([name]);
  });

  test('a value of 1,024 characters outside the basic plane, a bare % and an empty repetition are understood', () => {
    const long = '😀'.repeat(1024);
    const { filters } = searchFor(`resource_id=${encodeURIComponent(long)}&search=100%&actor_id=&actor_id=a`);
    expect(filters).toEqual({ resource_id: long, search: '100%', actor_id: 'a' });
  });

  test('names every violation at once', () => {
    expect(Object.keys(violationsOf('limit=0&from=x&to=y'))).toEqual(['from', 'to', 'limit']);
  });

  test('a parameter that does not exist is ignored, and said so', () => {
    expect(parseSearch('actor=alice&actor_id=bob&page=2')).toMatchObject({
      ok: true,
      search: { filters: { actor_id: 'bob' } },
      warnings: ["unknown parameter 'actor' was ignored", "unknown parameter 'page' was ignored"],
    });
  });
});

describe('searchIdentity', () => {
  test('differs by every filter, time and order, not by page size or cursor', () => {
    const plain = searchIdentity(searchFor(''));
    const others = [
      ...FILTERS.map((name) => `${name}=x`),
      'from=2026-03-15T00:00:00Z',
      'to=2026-03-15T00:00:00Z',
      'order=asc',
    ];
    const identities = others.map((query) => searchIdentity(searchFor(query)));
    expect(new Set([plain, ...identities]).size).toBe(others.length + 1);
    expect(searchIdentity(searchFor('limit=7&cursor=abc'))).toBe(plain);
  });
});

describe('narrowing', () => {
  const paths = (query: string) => narrowing(searchFor(query)).map(({ path }) => path);

  test('names what the search does not give yet, and what of it costs much', () => {
    expect(paths('search=ab')).toEqual(['search', 'from', 'actor_id']);
    expect(paths('search=😀😀')).toEqual(['search', 'from', 'actor_id']);
    expect(paths('search=abc&action=*.x')).toEqual(['action', 'from', 'actor_id']);
    expect(paths('tenant_id=t&from=2026-01-01T00:00:00Z')).toEqual(['from']);
  });
});

describe('where a page is looked for first', () => {
  const firstSpan = (query: string, after?: number) => {
    const [first, ...more] = pageQueries(WORKSPACE, searchFor(query), { after, now: NOW });
    const { from, to } = first.params;
    return more.length === 0 ? 'everywhere' : [from?.toString().slice(0, 10), to?.toString().slice(0, 10)];
  };
  const at = Date.UTC(2026, 1, 20) * 1000;

  test.each([
    ['', undefined, ['2026-03-08', undefined]],
    ['to=2026-02-20T00:00:00Z', undefined, ['2026-02-13', '2026-02-20']],
    ['to=2090-02-20T00:00:00Z', undefined, ['2026-03-08', '2090-02-20']],
    ['to=2026-02-28T00:00:00Z', at, ['2026-02-13', '2026-02-28']],
    ['from=2026-03-10T00:00:00Z', undefined, 'everywhere'],
    ['to=1970-01-03T00:00:00Z', undefined, 'everywhere'],
    ['order=asc', undefined, 'everywhere'],
    ['order=asc&from=2026-01-01T00:00:00Z', undefined, ['2026-01-01', '2026-01-08']],
    ['order=asc', at, [undefined, '2026-02-27']],
    ['order=asc&to=2026-02-21T00:00:00Z', at, 'everywhere'],
    ['order=asc&from=2026-03-10T00:00:00Z', undefined, 'everywhere'],
    ['actor_id=a', undefined, 'everywhere'],
    ['search=a&target_id=a', undefined, 'everywhere'],
    ['search=a', undefined, ['2026-03-08', undefined]],
  ])('%s after %s: %s', (query, after, span) => {
    expect(firstSpan(query, after)).toEqual(span);
  });
});

test('an estimate is as many as there would be if all matched as often as the sample', () => {
  expect(extrapolate({ sampled: 1_000, matches: 250, events: 4_000_000 })).toBe(1_000_000);
  expect(extrapolate({ sampled: 1_000, matches: 0, events: 4_000_000 })).toBe(0);
  expect(extrapolate({ sampled: 0, matches: 0, events: 10 })).toBe(0);
});

describe('the SQL', () => {
  test('never holds a value, only its parameter', () => {
    const hostile = "x' OR 1=1; DROP TABLE events --";
    const query = FILTERS.map((name) => `${name}=${encodeURIComponent(hostile)}`).join('&');
    const search = searchFor(query);
    const queries = [
      ...pageQueries(hostile, search, { after: 5, now: NOW }),
      countQuery(hostile, search, 10),
      spanQuery(hostile, search),
      sampleQuery(hostile, search),
      eventQuery(hostile, hostile),
    ];
    for (const { sql, params } of queries) {
      expect(sql).not.toContain('DROP');
      const named = [...sql.matchAll(/\{(\w+):[^}]+\}/g)].map((match) => match[1]);
      expect(new Set(named)).toEqual(new Set(Object.keys(params)));
    }
  });

  test('reads along the sort key in either direction, after the cursor', () => {
    const newestFirst = wholePage('limit=10', 1_000_000);
    expect(newestFirst.sql).toContain('created_at < {after:');
    expect(newestFirst.sql).toContain('ORDER BY workspace_id desc, created_at desc');
    expect(newestFirst.params).toMatchObject({ after: '1970-01-01 00:00:01.000000', rows: 11 });
    const oldestFirst = wholePage('order=asc', 1_000_000);
    expect(oldestFirst.sql).toContain('created_at > {after:');
    expect(oldestFirst.sql).toContain('ORDER BY workspace_id asc, created_at asc');
  });

  test.each([
    ['document.*', 'document.%'],
    ['*.deleted', '%.deleted'],
    ['a**b*', 'a%b%'],
    ['100%_\\*', '100\\%\\_\\\\%'],
  ])('the action %s is the pattern %s', (action, pattern) => {
    const { sql, params } = wholePage(`action=${encodeURIComponent(action)}`);
    expect(sql).toContain('action LIKE {action:String}');
    expect(params.action).toBe(pattern);
  });

  test('an action without a star is compared as it is', () => {
    const { sql, params } = wholePage('action=100%25_done');
    expect(sql).toContain('action = {action:String}');
    expect(params.action).toBe('100%_done');
  });
});
