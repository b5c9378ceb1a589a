import { EVENT_INSERT_COLUMNS, TABLES } from '../../../infra/clickhouse/names.ts';
import type { BenchStack } from '../stack.ts';

const SCRATCH = `${TABLES.events}_bench`;
const ROWS_PER_INSERT = 50_000;
const WARMUP_INSERTS = 2;
/** As many as the product may have in flight on the reference machine's two cores. */
const INSERTS_AT_A_TIME = 2;

/**
 * What ClickHouse alone can take: rows that the product stored, read back as bytes, and inserted again and
 * again into a table of the same definition (derived columns, indexes, fsync) while nothing else runs.
 */
export async function measureRawInsert(
  stack: BenchStack,
  { measureMs }: { measureMs: number },
): Promise<{ rowsPerSecond: number }> {
  await stack.sql(`CREATE TABLE ${SCRATCH} AS ${TABLES.events}`);
  try {
    const rows = await stack.sql(
      `SELECT ${sourceColumns()} FROM ${TABLES.events} LIMIT ${ROWS_PER_INSERT} FORMAT TSV`,
    );
    const rowCount = rows.toString('latin1').split('\n').length - 1;
    const insert = () =>
      stack.sql(`INSERT INTO ${SCRATCH} (${EVENT_INSERT_COLUMNS.join(', ')}) FORMAT TSV`, {
        data: rows,
        // The same bytes again are no repetition here.
        settings: { insert_deduplicate: '0', async_insert: '0' },
      });
    for (let done = 0; done < WARMUP_INSERTS; done += 1) await insert();

    const from = performance.now();
    let inserted = 0;
    const insertAgain = async () => {
      while (performance.now() - from < measureMs) {
        await insert();
        inserted += rowCount;
      }
    };
    await Promise.all(Array.from({ length: INSERTS_AT_A_TIME }, insertAgain));
    return { rowsPerSecond: (inserted * 1000) / (performance.now() - from) };
  } finally {
    await stack.sql(`DROP TABLE ${SCRATCH}`);
  }
}

/** The insert's columns as they can be selected: the two given as hex are stored as bytes, and the time must be recent. */
function sourceColumns(): string {
  const stored: Record<string, string> = {
    chained_at: 'now64(6)',
    event_hash_hex: 'lower(hex(event_hash))',
    previous_event_hash_hex: 'lower(hex(previous_event_hash))',
  };
  return EVENT_INSERT_COLUMNS.map((column) => stored[column] ?? column).join(', ');
}
