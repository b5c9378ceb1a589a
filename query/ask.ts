import { type ClickHouseClient, ClickHouseError } from '@clickhouse/client';
import { ImmutableError } from '../core/errors.ts';
import type { SqlQuery } from './sql.ts';

/**
 * The rows that answer a question. Throws `unavailable` when ClickHouse is away, `validation_failed` when
 * the answer would take more time or memory than the settings allow, `internal` when it refuses the SQL.
 */
export async function ask<Row>(
  clickhouse: ClickHouseClient,
  { sql, params }: SqlQuery,
  settings: Record<string, string | number>,
): Promise<Row[]> {
  try {
    const result = await clickhouse.query({
      query: sql,
      query_params: params,
      format: 'JSONEachRow',
      clickhouse_settings: settings,
    });
    return await result.json<Row>();
  } catch (error) {
    throw meaningOf(error);
  }
}

/** ClickHouse's codes for a query that wanted more time, memory or rows than it may have. */
const TOO_COSTLY = new Set(['158', '159', '160', '241', '307']);

function meaningOf(cause: unknown): ImmutableError {
  if (!(cause instanceof ClickHouseError)) {
    return new ImmutableError('unavailable', 'The event store cannot be reached; try again.', {
      retryAfterSeconds: 1,
      cause,
    });
  }
  if (TOO_COSTLY.has(cause.code)) {
    const message = 'This takes too long; narrow it with from and to, or with another filter.';
    const violations = [{ path: 'from', message: 'narrow the span of time' }];
    return new ImmutableError('validation_failed', message, { violations, cause });
  }
  return new ImmutableError('internal', 'The event store refused a query.', { cause });
}
