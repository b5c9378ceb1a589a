export { timeValue } from '../infra/clickhouse/values.ts';

/** A statement and the values of its `{name:Type}` parameters, which ClickHouse puts in itself. */
export interface SqlQuery {
  sql: string;
  params: Record<string, string | number>;
}
