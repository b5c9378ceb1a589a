import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { ClickHouseClient } from '@clickhouse/client';
import { ImmutableError } from '../../core/errors.ts';
import type { Micros } from '../../core/time.ts';
import type { Gathering } from '../../infra/http/gathering.ts';
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
  /**
   * The next part after a place; `rows` may be 0, then nothing up to `through` matches. `guess` is where it
   * might end: the answer is the same for any, and costs half if the part ends before it.
   */
  plan(
    workspaceId: string,
    filter: EventFilter,
    stretch: Stretch,
    extent: Extent,
    guess?: Micros,
  ): Promise<NextPart>;
  /** Adds the file's bytes for the matches of a stretch to `memory`; resolves to how many rows they are. */
  rows(
    workspaceId: string,
    filter: EventFilter,
    stretch: Stretch,
    format: Format,
    memory: Gathering,
    signal: AbortSignal,
  ): Promise<number>;
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

    async plan(workspaceId, filter, stretch, extent, guess = stretch.through) {
      const { after } = stretch;
      const window = isFiltered(filter)
        ? await one<Window>(windowQuery(workspaceId, stretch, windowRows))
        : undefined;
      // Nothing is left there: retention may remove rows while an export runs.
      const through = window === undefined || window.last_seq === 0 ? stretch.through : window.through;
      const within = (end: Micros) =>
        one<PartPlan>(partQuery(workspaceId, filter, { after, through: end }, extent));
      // A query with an end does not open the table's parts behind it, which costs more than all else.
      let plan = await within(Math.min(guess, through));
      if (plan.is_cut === 0 && guess < through) plan = await within(through);
      return plan.rows > 0 && plan.is_cut === 1
        ? { plan, through: plan.last_micros, throughSeq: plan.last_seq }
        : { plan, through, throughSeq: window?.last_seq ?? plan.last_seq };
    },

    async rows(workspaceId, filter, stretch, format, memory, signal) {
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
        await gather(stream, memory);
        return Number(summary?.result_rows);
      } catch (cause) {
        signal.throwIfAborted();
        throw meaningOf(cause);
      }
    },
  };
}

/** As it flows: to iterate over a stream joins its chunks first, which takes as long as all else here. */
async function gather(stream: Readable, memory: Gathering): Promise<void> {
  stream.on('data', (chunk: Buffer) => memory.add(chunk));
  await finished(stream);
}
