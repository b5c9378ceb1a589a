import { parquetMetadata, parquetReadObjects } from 'hyparquet';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { describe, expect, test } from 'vitest';
import { joinedFooter, metadataBytes, TRAILER_BYTES } from './parquet.ts';

function fileOf(from: number, rows: number): Buffer {
  const numbers = Array.from({ length: rows }, (_, index) => from + index);
  return Buffer.from(
    parquetWriteBuffer({
      columnData: [
        { name: 'seq', data: numbers.map(BigInt), type: 'INT64' },
        { name: 'text', data: numbers.map((n) => (n % 3 === 0 ? null : `row ${n % 7} ü`)), type: 'STRING' },
        { name: 'time', data: numbers.map((n) => new Date(n * 1000)), type: 'TIMESTAMP' },
      ],
      rowGroupSize: 40,
    }),
  );
}

function joined(files: Buffer[]): Buffer {
  let offset = 0;
  const footers = files.map((file) => {
    const length = metadataBytes(file.subarray(file.length - TRAILER_BYTES)) + TRAILER_BYTES;
    const footer = { bytes: file.subarray(file.length - length), offset };
    offset += file.length;
    return footer;
  });
  return Buffer.concat([...files, joinedFooter(footers)]);
}

const rowsOf = (file: Buffer) => parquetReadObjects({ file: new Uint8Array(file).buffer });

describe('files made one', () => {
  test('hold the rows of all, in their order', async () => {
    const files = [fileOf(0, 100), fileOf(100, 1), fileOf(101, 77)];
    const file = joined(files);
    expect(await rowsOf(file)).toEqual((await Promise.all(files.map(rowsOf))).flat());
    expect(await rowsOf(file)).toHaveLength(178);
    const { num_rows, row_groups } = parquetMetadata(new Uint8Array(file).buffer);
    expect(num_rows).toBe(178n);
    expect(row_groups.map((group) => Number(group.num_rows))).toEqual([40, 40, 20, 1, 40, 37]);
  });

  test('keep their columns as they are', () => {
    const schemaOf = (file: Buffer) => parquetMetadata(new Uint8Array(file).buffer).schema;
    expect(schemaOf(joined([fileOf(0, 3), fileOf(3, 3)]))).toEqual(schemaOf(fileOf(0, 3)));
  });
});

test('what is no Parquet file is not made part of one', () => {
  expect(() => metadataBytes(Buffer.from('12345678'))).toThrow(expect.objectContaining({ code: 'internal' }));
  expect(() => metadataBytes(Buffer.from('PAR1'))).toThrow(expect.objectContaining({ code: 'internal' }));
  expect(() => joinedFooter([])).toThrow(expect.objectContaining({ code: 'internal' }));
});
