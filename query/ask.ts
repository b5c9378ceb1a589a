import { type ClickHouseClient, ClickHouseError } from '@clickhouse/client';
import { ImmutableError } from '../core/errors.ts';
import type { SqlQuery } from './sql.ts';

/** What a caller is told whose question wanted more than the settings allow. */
export type Refusal = (cause: unknown) => ImmutableError;

/**
 * The rows that answer a question. Throws `unavailable` when ClickHouse is away or full, what `refusal` makes
 * (`validation_failed`) when the answer would take more time or memory than the settings allow, `internal`
 * when it refuses the SQL.
 */
export async function ask<Row>(
  clickhouse: ClickHouseClient,
  query: SqlQuery,
  settings: Record<string, string | number>,
  refusal: Refusal = askForLess,
): Promise<Row[]> {
  try {
    return await rowsOf<Row>(clickhouse, query, settings);
  } catch (error) {
    throw isTooCostly(error) ? refusal(error) : meaningOf(error);
  }
}

/** The same, but undefined when the answer would take more than the settings allow. */
export async function askWithin<Row>(
  clickhouse: ClickHouseClient,
  query: SqlQuery,
  settings: Record<string, string | number>,
): Promise<Row[] | undefined> {
  try {
    return await rowsOf<Row>(clickhouse, query, settings);
  } catch (error) {
    if (isTooCostly(error)) return undefined;
    throw meaningOf(error);
  }
}

async function rowsOf<Row>(
  clickhouse: ClickHouseClient,
  { sql, params }: SqlQuery,
  settings: Record<string, string | number>,
): Promise<Row[]> {
  const result = await clickhouse.query({
    query: sql,
    query_params: params,
    format: 'JSONEachRow',
    clickhouse_settings: settings,
  });
  return await result.json<Row>();
}

/** ClickHouse's codes for a query that wanted more time, memory or rows than it may have. */
const TOO_COSTLY = new Set(['158', '159', '160', '241', '307']);
/** Too many queries, a socket that timed out or broke, a server that ends, no thread to be had: later it may work. */
const BUSY = new Set(['202', '209', '210', '236', '439']);

function isTooCostly(error: unknown): boolean {
  return error instanceof ClickHouseError && TOO_COSTLY.has(error.code);
}

const TOO_MUCH_TO_DO = 'The event store has too much to do; try again.';

/** What an error of the client means to whoever asked; see `ask`. */
export function meaningOf(cause: unknown): ImmutableError {
  if (cause instanceof ClickHouseError && !BUSY.has(cause.code)) {
    return new ImmutableError('internal', 'The event store refused a query.', { cause });
  }
  const message =
    cause instanceof ClickHouseError ? TOO_MUCH_TO_DO : 'The event store cannot be reached; try again.';
  return new ImmutableError('unavailable', message, { retryAfterSeconds: 1, cause });
}

/** For questions that nobody can make smaller: then it is the event store that has too much to do. */
export function askLater(cause: unknown): ImmutableError {
  return new ImmutableError('unavailable', TOO_MUCH_TO_DO, { retryAfterSeconds: 1, cause });
}

function askForLess(cause: unknown): ImmutableError {
  const message = 'This takes too long; narrow it with from and to, or with another filter.';
  const violations = [{ path: 'from', message: 'narrow the span of time' }];
  return new ImmutableError('validation_failed', message, { violations, cause });
}
