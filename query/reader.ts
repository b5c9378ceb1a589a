import { type ClickHouseClient, ClickHouseError } from '@clickhouse/client';
import { ImmutableError } from '../core/errors.ts';
import type { Micros } from '../core/time.ts';
import type { EventRow } from './present.ts';
import {
  countQuery,
  EXACT_TOTAL,
  eventQuery,
  isFiltered,
  pageQuery,
  type Search,
  spanQuery,
} from './search.ts';
import type { SqlQuery } from './sql.ts';

/** Seconds that one search may take before it is given up. */
const MAX_SEARCH_SECONDS = 10;

export interface Page {
  rows: EventRow[];
  hasMore: boolean;
  total: Total;
}

export interface Total {
  count: number;
  isEstimate: boolean;
}

/** Reads the events of one workspace at a time; every method throws `unavailable` when ClickHouse is away. */
export interface EventReader {
  /** `after` is the `created_at` of the last event of the page before. Throws `validation_failed` if too slow. */
  page(workspaceId: string, search: Search, after: Micros | undefined): Promise<Page>;
  event(workspaceId: string, id: string): Promise<EventRow | undefined>;
}

export function createEventReader(clickhouse: ClickHouseClient): EventReader {
  async function rows<Row>(query: SqlQuery): Promise<Row[]> {
    try {
      const result = await clickhouse.query({
        query: query.sql,
        query_params: query.params,
        format: 'JSONEachRow',
        clickhouse_settings: { max_execution_time: MAX_SEARCH_SECONDS },
      });
      return await result.json<Row>();
    } catch (error) {
      throw readError(error);
    }
  }

  async function total(workspaceId: string, search: Search): Promise<Total> {
    const [[span], [counted]] = await Promise.all([
      rows<{ lowest: number; highest: number }>(spanQuery(workspaceId, search)),
      isFiltered(search)
        ? rows<{ matches: number; lowest: number }>(countQuery(workspaceId, search))
        : [undefined],
    ]);
    if (span === undefined || span.highest === 0) return { count: 0, isEstimate: false };
    if (counted === undefined) return { count: span.highest - span.lowest + 1, isEstimate: false };
    return counted.matches <= EXACT_TOTAL
      ? { count: counted.matches, isEstimate: false }
      : { count: extrapolate(counted, span), isEstimate: true };
  }

  return {
    async page(workspaceId, search, after) {
      const [found, counted] = await Promise.all([
        rows<EventRow>(pageQuery(workspaceId, search, after)),
        total(workspaceId, search),
      ]);
      return { rows: found.slice(0, search.limit), hasMore: found.length > search.limit, total: counted };
    },
    async event(workspaceId, id) {
      const [row] = await rows<EventRow>(eventQuery(workspaceId, id));
      return row;
    },
  };
}

/** As many in the whole span as there would be if the older part matched as often as the newer part that was counted. */
function extrapolate(
  counted: { matches: number; lowest: number },
  span: { lowest: number; highest: number },
): number {
  const share = counted.matches / (span.highest - counted.lowest + 1);
  return Math.max(counted.matches, Math.round(share * (span.highest - span.lowest + 1)));
}

/** ClickHouse's codes for a query that wanted more time or memory than it may have. */
const TOO_COSTLY = new Set(['159', '160', '241', '307']);

/** What a failure of ClickHouse means to a client. */
export function readError(error: unknown): ImmutableError {
  if (!(error instanceof ClickHouseError)) {
    return new ImmutableError('unavailable', 'The event store cannot be reached; try again.', {
      retryAfterSeconds: 1,
      cause: error,
    });
  }
  if (TOO_COSTLY.has(error.code)) {
    const message = 'This takes too long; narrow it with from and to, or with another filter.';
    return new ImmutableError('validation_failed', message, {
      violations: [{ path: 'from', message: 'narrow the span of time' }],
      cause: error,
    });
  }
  return new ImmutableError('internal', 'The event store refused a query.', { cause: error });
}
