import type { ClickHouseClient } from '@clickhouse/client';
import { ImmutableError } from '../core/errors.ts';
import { ask, askWithin } from './ask.ts';
import type { Place, Total } from './cursor.ts';
import type { EventRow } from './present.ts';
import {
  countQuery,
  EXACT_TOTAL,
  eventQuery,
  isFiltered,
  narrowing,
  pageQuery,
  SAMPLE_ROWS,
  type Search,
  sampleQuery,
  spanQuery,
} from './search.ts';
import type { SqlQuery } from './sql.ts';

/** What one search may cost, in seconds of ClickHouse's time. */
export interface SearchBudget {
  /** A page that takes longer is refused, with what to narrow. */
  pageSeconds: number;
  /** A total that takes longer is estimated. */
  countSeconds: number;
}

export const SEARCH_BUDGET: SearchBudget = { pageSeconds: 2.5, countSeconds: 1 };

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
  budget: SearchBudget = SEARCH_BUDGET,
): EventReader {
  const forPage = { max_execution_time: budget.pageSeconds };
  const forCount = { max_execution_time: budget.countSeconds };
  const firstWithin = async <Row>(query: SqlQuery) =>
    (await askWithin<Row>(clickhouse, query, forCount))?.at(0);

  /** A chain has no holes, so the ends of a span tell its size. */
  async function wholeTotal(workspaceId: string, search: Search, rows: EventRow[]): Promise<Total> {
    const span = await firstWithin<{ lowest: number; highest: number }>(spanQuery(workspaceId, search));
    if (span === undefined) return { count: rows.length, isEstimate: true };
    return { count: span.highest - span.lowest + 1, isEstimate: false };
  }

  async function filteredTotal(workspaceId: string, search: Search, rows: EventRow[]): Promise<Total> {
    const counted = await firstWithin<{ matches: number }>(countQuery(workspaceId, search));
    if (counted !== undefined && counted.matches <= EXACT_TOTAL) {
      return { count: counted.matches, isEstimate: false };
    }
    const sample = await firstWithin<Sample>(sampleQuery(workspaceId, search));
    if (sample !== undefined && sample.matches < SAMPLE_ROWS) {
      return { count: sample.matches, isEstimate: false };
    }
    return { count: extrapolate(counted?.matches ?? rows.length, sample), isEstimate: true };
  }

  return {
    async page(workspaceId, search, place) {
      const query = pageQuery(workspaceId, search, place?.after);
      const rows = await ask<EventRow>(clickhouse, query, forPage, (cause) => tooCostly(search, cause));
      const hasMore = rows.length > search.limit;
      return { rows: rows.slice(0, search.limit), hasMore, total: await total() };

      // Most searches find less than a page, which needs no counting; later pages carry the first one's total.
      function total(): Total | Promise<Total> {
        if (place?.total !== undefined) return place.total;
        if (place === undefined && !hasMore) return { count: rows.length, isEstimate: false };
        const count = isFiltered(search) ? filteredTotal : wholeTotal;
        return count(workspaceId, search, rows);
      }
    },
    async event(workspaceId, id) {
      const [row] = await ask<EventRow>(clickhouse, eventQuery(workspaceId, id), forPage);
      return row;
    },
  };
}

/** The newest matches, between which seqs they are, and where the search's span of time begins. */
interface Sample {
  matches: number;
  lowest: number;
  highest: number;
  first: number;
}

/** As many in the whole span as there would be if all of it matched as often as the sample. */
function extrapolate(least: number, sample: Sample | undefined): number {
  if (sample === undefined) return least;
  const share = sample.matches / (sample.highest - sample.lowest + 1);
  return Math.max(least, Math.round(share * (sample.highest - sample.first + 1)));
}

function tooCostly(search: Search, cause: unknown): ImmutableError {
  const violations = narrowing(search);
  const advice = violations.map(({ message }) => message).join('; or ');
  return new ImmutableError('validation_failed', `This search would read too much: ${advice}.`, {
    violations,
    cause,
  });
}
