import { type ClickHouseClient, ClickHouseLogLevel, createClient } from '@clickhouse/client';

export type { ClickHouseClient } from '@clickhouse/client';

const REQUEST_TIMEOUT_MS = 120_000;
/** Below the server's own limit (10 s embedded, 30 s on a server), so that we never write to a socket it has closed. */
const IDLE_SOCKET_TTL_MS = 5_000;

/**
 * A client for `url`, which carries user and password (`http://writer:…@127.0.0.1:8123`). It connects when
 * first used. `maxConnections` bounds what it asks at a time; more requests wait in line.
 */
export function connectClickHouse(
  url: string,
  {
    maxConnections = 10,
    requestTimeoutMs = REQUEST_TIMEOUT_MS,
  }: { maxConnections?: number; requestTimeoutMs?: number } = {},
): ClickHouseClient {
  return createClient({
    url,
    application: 'immutable',
    request_timeout: requestTimeoutMs,
    max_open_connections: maxConnections,
    log: { level: ClickHouseLogLevel.OFF }, // Whatever goes wrong is thrown.
    keep_alive: { enabled: true, idle_socket_ttl: IDLE_SOCKET_TTL_MS },
    clickhouse_settings: {
      // An insert must have reached its table when it returns, in one part and under its own
      // deduplication token; newer servers would queue and merge it with others.
      async_insert: 0,
      min_insert_block_size_bytes: String(1024 ** 3),
      date_time_output_format: 'iso',
      output_format_json_quote_64bit_integers: 0,
    },
  });
}
