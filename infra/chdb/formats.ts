/** Content types as ClickHouse gives them (IOutputFormat::getContentType and its overrides). */
export function contentTypeOf(format: string): string {
  if (/^(JSON(Each|Compact.*Each|Strings.*Each)Row|JSON.*EachRow.*|NDJSON|JSONLines)$/.test(format)) {
    return 'application/x-ndjson; charset=UTF-8';
  }
  if (/^JSON/.test(format)) return 'application/json; charset=UTF-8';
  if (/^(TSV|TabSeparated)/.test(format)) return 'text/tab-separated-values; charset=UTF-8';
  if (/^CSVWithNames/.test(format)) return 'text/csv; charset=UTF-8; header=present';
  if (/^CSV/.test(format)) return 'text/csv; charset=UTF-8; header=absent';
  if (format === 'XML') return 'application/xml; charset=UTF-8';
  if (format === 'Markdown') return 'text/markdown; charset=UTF-8';
  return BINARY_FORMATS.test(format) ? 'application/octet-stream' : 'text/plain; charset=UTF-8';
}

const BINARY_FORMATS =
  /^(Native|RowBinary.*|Parquet|Arrow.*|ORC|Avro|MsgPack|BSONEachRow|Protobuf.*|CapnProto|Npy|RawBLOB|Null)$/;
