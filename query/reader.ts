import type { ClickHouseClient } from '@clickhouse/client';
import type { Micros } from '../core/time.ts';
import { ask } from './ask.ts';
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
  const rows = <Row>(query: SqlQuery) =>
    ask<Row>(clickhouse, query, { max_execution_time: MAX_SEARCH_SECONDS });

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
