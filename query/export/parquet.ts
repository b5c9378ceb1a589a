import { type FileMetaData, parquetMetadata } from 'hyparquet';
import { ByteWriter } from 'hyparquet-writer';
import { writeMetadata } from 'hyparquet-writer/src/metadata.js';
import { ImmutableError } from '../../core/errors.ts';

/**
 * One Parquet file out of several, without touching their rows. The files stand one behind the other, whole;
 * a new footer behind the last names the row groups of all. A Parquet file is read from its end, and row
 * groups are found by their offsets, so the old footers in between (some kilobytes each) are never looked at.
 */

/** Length of the metadata and the magic number. */
export const TRAILER_BYTES = 8;
const MAGIC = 'PAR1';

/** How many bytes the metadata take, which end where the trailer begins. */
export function metadataBytes(trailer: Uint8Array): number {
  const view = Buffer.from(trailer);
  if (view.length !== TRAILER_BYTES || view.toString('latin1', 4) !== MAGIC) {
    throw new ImmutableError('internal', 'A part of the export is not a Parquet file.');
  }
  return view.readUInt32LE(0);
}

/** What stands at the end of a Parquet file: its metadata and trailer. */
export interface Footer {
  bytes: Uint8Array;
  /** Where the file begins in the one that is made. */
  offset: number;
}

/** What comes behind the last of the files. */
export function joinedFooter(footers: readonly Footer[]): Buffer {
  const all = footers.map(({ bytes, offset }) => shifted(readFooter(bytes), BigInt(offset)));
  const [first] = all;
  if (first === undefined) throw new ImmutableError('internal', 'There is nothing to make a file of.');
  const writer = new ByteWriter();
  writeMetadata(writer, {
    ...first,
    num_rows: all.reduce((rows, { num_rows }) => rows + num_rows, 0n),
    row_groups: all.flatMap(({ row_groups }) => row_groups),
  });
  return Buffer.concat([writer.getBytes(), Buffer.from(MAGIC)]);
}

function readFooter(bytes: Uint8Array): FileMetaData {
  return parquetMetadata(new Uint8Array(bytes).buffer);
}

type RowGroup = FileMetaData['row_groups'][number];
type ColumnChunk = RowGroup['columns'][number];
type ColumnMetaData = NonNullable<ColumnChunk['meta_data']>;

function shifted(metadata: FileMetaData, by: bigint): FileMetaData {
  return {
    ...metadata,
    row_groups: metadata.row_groups.map(({ file_offset, ...group }) => ({
      ...group,
      ...(file_offset === undefined ? {} : { file_offset: file_offset + by }),
      columns: group.columns.map((column) => shiftedColumn(column, by)),
    })),
  };
}

/** Page indexes are left out, since they hold offsets of their own that would have to be rewritten in place. */
function shiftedColumn({ file_offset, meta_data }: ColumnChunk, by: bigint): ColumnChunk {
  // The offset of the chunk is deprecated, and written as 0 by most.
  const offset = { file_offset: file_offset === 0n ? 0n : file_offset + by };
  return meta_data === undefined ? offset : { ...offset, meta_data: shiftedData(meta_data, by) };
}

/** Statistics are left out: read and written again, the ends of texts might not be what they were. */
function shiftedData(
  {
    statistics: _statistics,
    data_page_offset,
    index_page_offset,
    dictionary_page_offset,
    bloom_filter_offset,
    ...data
  }: ColumnMetaData,
  by: bigint,
): ColumnMetaData {
  return {
    ...data,
    data_page_offset: data_page_offset + by,
    ...(index_page_offset === undefined ? {} : { index_page_offset: index_page_offset + by }),
    ...(dictionary_page_offset === undefined ? {} : { dictionary_page_offset: dictionary_page_offset + by }),
    ...(bloom_filter_offset === undefined ? {} : { bloom_filter_offset: bloom_filter_offset + by }),
  };
}
