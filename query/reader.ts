import type { ClickHouseClient } from '@clickhouse/client';
import { ImmutableError } from '../core/errors.ts';
import type { Micros } from '../core/time.ts';
import { ask, askWithin } from './ask.ts';
import type { Place, Total } from './cursor.ts';
import type { EventRow } from './present.ts';
import {
  countQuery,
  EXACT_TOTAL,
  EXACT_TOTAL_OF_TEXTS,
  eventQuery,
  extrapolate,
  isFiltered,
  narrowing,
  pageQueries,
  type Sample,
  type Search,
  sampleQuery,
  spanQuery,
} from './search.ts';
import type { SqlQuery } from './sql.ts';

/** What one search may cost. */
export interface SearchBudget {
  /** Of ClickHouse's time: a page that takes longer is refused, with what to narrow. */
  pageSeconds: number;
  /** Of ClickHouse's time: a total that takes longer to count is estimated. */
  countSeconds: number;
  /** With `search`, among more events than this, only `EXACT_TOTAL_OF_TEXTS` matches are counted. */
  countTexts: number;
}

export const SEARCH_BUDGET: SearchBudget = { pageSeconds: 2.5, countSeconds: 1, countTexts: 500_000 };

export interface Page {
  rows: EventRow[];
  hasMore: boolean;
  total: Total;
}

/** Reads the events of one workspace at a time; every method throws `unavailable` when ClickHouse is away. */
export interface EventReader {
  /** `place`: what the page's cursor says. Throws `validation_failed`, naming what to narrow, if too costly. */
  page(workspaceId: string, search: Search, place: Place | undefined): Promise<Page>;
  event(workspaceId: string, id: string): Promise<EventRow | undefined>;
}

export function createEventReader(
  clickhouse: ClickHouseClient,
  { budget = SEARCH_BUDGET, now = Date.now }: { budget?: SearchBudget; now?: () => number } = {},
): EventReader {
  const forCount = { max_execution_time: budget.countSeconds };
  const firstWithin = async <Row>(query: SqlQuery) =>
    (await askWithin<Row>(clickhouse, query, forCount))?.at(0);

  /** Up to `limit + 1` rows. */
  async function pageRows(workspaceId: string, search: Search, after: Micros | undefined) {
    const [first, ...more] = pageQueries(workspaceId, search, { after, now: now() * 1000 });
    const startedAt = performance.now();
    const rowsOf = (query: SqlQuery) => {
      const spentSeconds = (performance.now() - startedAt) / 1000;
      const settings = { max_execution_time: Math.max(budget.pageSeconds - spentSeconds, LEAST_SECONDS) };
      return ask<EventRow>(clickhouse, query, settings, (cause) => tooCostly(search, cause));
    };
    let rows = await rowsOf(first);
    for (const query of more) if (rows.length <= search.limit) rows = await rowsOf(query);
    return rows;
  }

  const eventsIn = async (workspaceId: string, search: Search) =>
    (await firstWithin<{ events: number }>(spanQuery(workspaceId, search)))?.events;

  async function wholeTotal(workspaceId: string, search: Search, page: EventRow[]): Promise<Total> {
    const events = await eventsIn(workspaceId, search);
    return { count: events ?? page.length, isEstimate: events === undefined };
  }

  async function filteredTotal(workspaceId: string, search: Search, page: EventRow[]): Promise<Total> {
    const most = await mostCounted(workspaceId, search);
    const counted = await firstWithin<{ matches: number }>(countQuery(workspaceId, search, most));
    if (counted !== undefined && counted.matches <= most)
      return { count: counted.matches, isEstimate: false };
    const sample = await firstWithin<Sample>(sampleQuery(workspaceId, search));
    const least = counted?.matches ?? page.length;
    return { count: Math.max(least, sample === undefined ? 0 : extrapolate(sample)), isEstimate: true };
  }

  /** Where few events match a text all of them may have to be compared with it; where many do, some are enough. */
  async function mostCounted(workspaceId: string, search: Search): Promise<number> {
    if (search.filters.search === undefined) return EXACT_TOTAL;
    const events = await eventsIn(workspaceId, search);
    return (events ?? 0) > budget.countTexts ? EXACT_TOTAL_OF_TEXTS : EXACT_TOTAL;
  }

  return {
    async page(workspaceId, search, place) {
      const rows = await pageRows(workspaceId, search, place?.after);
      const hasMore = rows.length > search.limit;
      return { rows: rows.slice(0, search.limit), hasMore, total: await total() };

      // Most searches find less than a page, which needs no counting; later pages carry the first one's total.
      function total(): Total | Promise<Total> {
        if (place !== undefined) return place.total ?? { count: rows.length, isEstimate: true };
        if (!hasMore) return { count: rows.length, isEstimate: false };
        const count = isFiltered(search) ? filteredTotal : wholeTotal;
        return count(workspaceId, search, rows);
      }
    },
    async event(workspaceId, id) {
      const settings = { max_execution_time: budget.pageSeconds };
      const [row] = await ask<EventRow>(clickhouse, eventQuery(workspaceId, id), settings);
      return row;
    },
  };
}

/** 0 would be no limit. */
const LEAST_SECONDS = 0.001;

function tooCostly(search: Search, cause: unknown): ImmutableError {
  const violations = narrowing(search);
  const advice = violations.map(({ message }) => message).join('; or ');
  return new ImmutableError('validation_failed', `This search would read too much: ${advice}.`, {
    violations,
    cause,
  });
}
