import type { ClickHouseClient } from '@clickhouse/client';
import { ImmutableError } from '../../core/errors.ts';
import type { Micros } from '../../core/time.ts';
import { ask, meaningOf } from '../ask.ts';
import type { EventFilter } from '../conditions.ts';
import type { SqlQuery } from '../sql.ts';
import { type Extent, type Format, ROWS_SETTINGS } from './format.ts';
import {
  isFiltered,
  type PartPlan,
  partQuery,
  rowsQuery,
  type Span,
  type Stretch,
  spanQuery,
  type Window,
  windowQuery,
} from './plan.ts';

/**
 * The events of an export as ClickHouse gives them. Every method throws `unavailable` when it is away, and
 * may be called again: equal arguments give equal answers.
 */
export interface ExportSource {
  span(workspaceId: string, filter: EventFilter): Promise<Span>;
  /** The next part after a place; `rows` may be 0, then nothing up to `through` matches. */
  plan(workspaceId: string, filter: EventFilter, stretch: Stretch, extent: Extent): Promise<NextPart>;
  /** The file's bytes for the matches of a stretch. */
  rows(
    workspaceId: string,
    filter: EventFilter,
    stretch: Stretch,
    format: Format,
    signal: AbortSignal,
  ): Promise<{ rows: number; bytes: Buffer }>;
}

export interface NextPart {
  plan: PartPlan;
  /** Where the next part begins. */
  through: Micros;
  /** How far in the chain that is. */
  throughSeq: number;
}

/** Seconds for one query; what one part takes is far below. */
const MAX_QUERY_SECONDS = 300;
/** Rows that one query of a filtered export looks through. */
const WINDOW_ROWS = 1_000_000;

export function createExportSource(
  clickhouse: ClickHouseClient,
  { windowRows = WINDOW_ROWS }: { windowRows?: number } = {},
): ExportSource {
  async function one<Row>(query: SqlQuery): Promise<Row> {
    const [row] = await ask<Row>(clickhouse, query, { max_execution_time: MAX_QUERY_SECONDS });
    if (row === undefined) throw new ImmutableError('internal', 'The event store gave no answer.');
    return row;
  }

  return {
    span: (workspaceId, filter) => one<Span>(spanQuery(workspaceId, filter)),

    async plan(workspaceId, filter, stretch, extent) {
      const window = isFiltered(filter)
        ? await one<Window>(windowQuery(workspaceId, stretch, windowRows))
        : undefined;
      // Nothing is left there: retention may remove rows while an export runs.
      const through = window === undefined || window.last_seq === 0 ? stretch.through : window.through;
      const plan = await one<PartPlan>(
        partQuery(workspaceId, filter, { after: stretch.after, through }, extent),
      );
      return plan.rows > 0 && plan.is_cut === 1
        ? { plan, through: plan.last_micros, throughSeq: plan.last_seq }
        : { plan, through, throughSeq: window?.last_seq ?? plan.last_seq };
    },

    async rows(workspaceId, filter, stretch, format, signal) {
      const { sql, params } = rowsQuery(workspaceId, filter, stretch, format);
      try {
        const { stream, summary } = await clickhouse.exec({
          query: sql,
          query_params: params,
          abort_signal: signal,
          clickhouse_settings: {
            ...ROWS_SETTINGS,
            max_execution_time: MAX_QUERY_SECONDS,
            // Half an answer must not pass for a whole one: a query that fails, fails with a status.
            wait_end_of_query: 1,
          },
        });
        const chunks: Buffer[] = [];
        for await (const chunk of stream) chunks.push(chunk);
        return { rows: Number(summary?.result_rows), bytes: Buffer.concat(chunks) };
      } catch (cause) {
        signal.throwIfAborted();
        throw meaningOf(cause);
      }
    },
  };
}
