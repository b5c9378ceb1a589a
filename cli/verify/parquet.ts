import { asyncBufferFromFile, type FileMetaData, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { ImmutableError } from '../../core/errors.ts';
import type { JsonObject } from '../../core/json.ts';
import { formatTimestamp } from '../../core/time.ts';

/** A row group of ours has at most this many rows; one that says more would be read into memory whole. */
const MAX_GROUP_ROWS = 1_000_000;

/**
 * The rows of a Parquet export as lines of NDJSON hold them, a row group at a time.
 * Throws `validation_failed` for what cannot be read as one.
 */
export async function* parquetRows(path: string, expectedRows: number): AsyncGenerator<JsonObject[]> {
  const file = await asyncBufferFromFile(path);
  const metadata = await readable(() => parquetMetadataAsync(file, { parsers: PARSERS }));
  const groups = groupsOf(metadata, expectedRows);
  for (const { rowStart, rowEnd } of groups) {
    const rows = await readable(() =>
      parquetReadObjects({ file, metadata, rowStart, rowEnd, parsers: PARSERS }),
    );
    yield rows.map(asLine);
  }
}

/** Microseconds are kept: a `Date` would lose three digits. */
const PARSERS = {
  timestampFromMicroseconds: (micros: bigint) => formatTimestamp(Number(micros)),
};

function groupsOf(metadata: FileMetaData, expectedRows: number): { rowStart: number; rowEnd: number }[] {
  let end = 0;
  const groups = metadata.row_groups.map(({ num_rows }) => {
    const rows = Number(num_rows);
    if (!(rows >= 0 && rows <= MAX_GROUP_ROWS)) throw unreadable(`it has a row group of ${rows} rows`);
    end += rows;
    return { rowStart: end - rows, rowEnd: end };
  });
  if (end !== expectedRows) throw unreadable(`it says that it has ${end} rows, not ${expectedRows}`);
  return groups.filter(({ rowStart, rowEnd }) => rowStart < rowEnd);
}

function asLine(row: JsonObject): JsonObject {
  return {
    ...row,
    seq: typeof row.seq === 'bigint' ? Number(row.seq) : row.seq,
    version: typeof row.version === 'bigint' ? Number(row.version) : (row.version ?? null),
    targets: jsonCell(row.targets),
    metadata: jsonCell(row.metadata),
  };
}

/** As it stands where it is no JSON: it is then told as what it is. */
function jsonCell(cell: unknown): unknown {
  if (typeof cell !== 'string') return cell ?? null;
  if (cell === '') return null;
  try {
    return JSON.parse(cell);
  } catch {
    return cell;
  }
}

/** A reader of Parquet meets hostile bytes with errors of many kinds; all say that it cannot be read. */
async function readable<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof ImmutableError && error.code === 'validation_failed') throw error;
    throw unreadable(error instanceof Error ? error.message : String(error));
  }
}

function unreadable(why: string): ImmutableError {
  return new ImmutableError('validation_failed', `this cannot be read as Parquet: ${why}`);
}
