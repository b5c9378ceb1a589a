import { formatTimestamp, type Micros } from '../core/time.ts';

/** A statement and the values of its `{name:Type}` parameters, which ClickHouse puts in itself. */
export interface SqlQuery {
  sql: string;
  params: Record<string, string | number>;
}

/** The value of a `DateTime64(6, 'UTC')` parameter. */
export function timeValue(micros: Micros): string {
  return formatTimestamp(micros).replace('T', ' ').slice(0, -1);
}
