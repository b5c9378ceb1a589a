import { TABLES } from '../../infra/clickhouse/names.ts';

/** What the files of an export look like: columns, and the SQL with which ClickHouse writes them. */

export const FORMATS = ['csv', 'ndjson', 'parquet'] as const;
export type Format = (typeof FORMATS)[number];

/** In this order in a CSV file (api.md). */
export const CSV_COLUMNS = [
  'id',
  'created_at',
  'occurred_at',
  'actor_id',
  'actor_name',
  'actor_type',
  'action',
  'action_category',
  'resource',
  'resource_id',
  'resource_name',
  'tenant_id',
  'session_id',
  'ip_address',
  'ip_country',
  'ip_city',
  'user_agent',
  'version',
  'idempotency_key',
  'targets',
  'metadata',
  'seq',
  'event_hash',
  'previous_event_hash',
] as const;
type CsvColumn = (typeof CSV_COLUMNS)[number];

/** The texts that were hashed: with them a file can be verified. */
export const EVIDENCE_COLUMNS = ['body', 'private', 'salt'] as const;
type Column = CsvColumn | (typeof EVIDENCE_COLUMNS)[number];
const ALL_COLUMNS: readonly Column[] = [...CSV_COLUMNS, ...EVIDENCE_COLUMNS];

export const BYTE_ORDER_MARK = '\ufeff';
const LINE_END = '\r\n';

/** What stands before the first row: a CSV file has one line of names. */
export function beginningOf(format: Format, { bom }: { bom: boolean }): string {
  return format === 'csv' ? `${bom ? BYTE_ORDER_MARK : ''}${CSV_COLUMNS.join(',')}${LINE_END}` : '';
}

export interface Extent {
  rows: number;
  /** Of the rows' texts. A single event may be larger, and is then a part of its own. */
  textBytes: number;
}

/**
 * The most that one part holds. Four parts are in memory: one that is stored, three that are read. These make
 * 30 to 40 MiB of each (a row of CSV is as long as its texts, one of NDJSON twice as long, Parquet a third).
 */
export const PART_EXTENTS: Readonly<Record<Format, Extent>> = {
  csv: { rows: 100_000, textBytes: 48 * 1024 ** 2 },
  ndjson: { rows: 50_000, textBytes: 20 * 1024 ** 2 },
  parquet: { rows: 100_000, textBytes: 64 * 1024 ** 2 },
};

export const CONTENT_TYPES: Readonly<Record<Format, string>> = {
  csv: 'text/csv; charset=utf-8; header=present',
  ndjson: 'application/x-ndjson; charset=utf-8',
  parquet: 'application/vnd.apache.parquet',
};

/** The rows that fulfil `where`, oldest first, as bytes of the file; without what stands before the first one. */
export function rowsStatement(format: Format, where: string): string {
  const { select, clickhouseFormat } = STATEMENTS[format];
  return `WITH ${READABLE_PRIVATE} SELECT ${select()} FROM ${TABLES.events} WHERE ${where}
    ORDER BY workspace_id, created_at FORMAT ${clickhouseFormat}`;
}

/** ClickHouse's settings for `rowsStatement`. */
export const ROWS_SETTINGS = {
  // A name is a column of the table, whatever the same name is given in the file.
  prefer_column_name_to_alias: 1,
  date_time_output_format: 'iso',
  format_csv_null_representation: '',
  output_format_csv_crlf_end_of_line: 1,
  output_format_json_escape_forward_slashes: 0,
  // What every reader has.
  output_format_parquet_compression_method: 'snappy',
  // What would be wrong or left out when parts are made one file (parquet.ts).
  output_format_parquet_write_page_index: 0,
  output_format_parquet_write_bloom_filter: 0,
  output_format_parquet_row_group_size: '1000000',
} as const;

const STATEMENTS: Record<Format, { select(): string; clickhouseFormat: string }> = {
  csv: { select: csvSelect, clickhouseFormat: 'CSV' },
  ndjson: { select: jsonSelect, clickhouseFormat: 'TSVRaw' },
  parquet: { select: parquetSelect, clickhouseFormat: 'Parquet' },
};

/**
 * ClickHouse's fast JSON parser refuses a whole text for one integer beyond 64 bits, which metadata may
 * hold; the columns derived from such a text are empty, so they are read from it again (`personal`). Written
 * as a fraction the number is read, and keeps its value: a canonical integer that long is a double. Strings
 * are matched whole, so that nothing within one is taken for a number; what was matched is marked with a
 * control character, which no canonical text holds.
 */
const STRING_OR_LONG_INTEGER = `("(?:[^"\\\\]|\\\\.)*"|[:,\\[]-?[0-9]{19,21})`;
const MARKED = `replaceRegexpAll(private, ${sqlText(STRING_OR_LONG_INTEGER)}, '\\\\1\\x01')`;
/** Both members by one parse. Where neither is found, the text must be asked itself whether it can be read. */
const RAW_MEMBERS = `'Tuple(metadata String, targets String)'`;
const READABLE_PRIVATE = `JSONExtract(private, ${RAW_MEMBERS}) AS read_at_once,
  notEmpty(read_at_once.targets) OR notEmpty(read_at_once.metadata) OR private = '' OR isValidJSON(private) AS readable,
  if(readable, private, replaceAll(replaceAll(${MARKED}, '"\\x01', '"'), '\\x01', '.0')) AS readable_private,
  if(readable, read_at_once, JSONExtract(readable_private, ${RAW_MEMBERS})) AS raw`;

function personal(column: string): string {
  return `if(readable, toString(${column}), JSONExtractString(readable_private, ${sqlText(column)}))`;
}

/** What each column is; an absent text is empty. */
const VALUES: Record<Column, string> = {
  id: 'id',
  created_at: 'created_at',
  occurred_at: 'occurred_at',
  actor_id: 'actor_id',
  actor_name: personal('actor_name'),
  actor_type: 'actor_type',
  action: 'action',
  action_category: 'action_category',
  resource: 'resource',
  resource_id: 'resource_id',
  resource_name: personal('resource_name'),
  tenant_id: 'tenant_id',
  session_id: 'session_id',
  ip_address: personal('ip_address'),
  ip_country: 'ip_country',
  ip_city: personal('ip_city'),
  user_agent: personal('user_agent'),
  version: 'version',
  idempotency_key: 'idempotency_key',
  targets: "if(raw.targets = '', '[]', raw.targets)",
  metadata: 'raw.metadata',
  seq: 'seq',
  event_hash: 'lower(hex(event_hash))',
  previous_event_hash: 'lower(hex(previous_event_hash))',
  body: 'body',
  private: 'private',
  salt: 'salt',
};

/** Columns whose texts somebody outside chose, or that a lookup gave: any of them might be a formula. */
const FREE_TEXTS: ReadonlySet<Column> = new Set<Column>([
  'id',
  'actor_id',
  'actor_name',
  'actor_type',
  'action',
  'action_category',
  'resource',
  'resource_id',
  'resource_name',
  'tenant_id',
  'session_id',
  'ip_address',
  'ip_country',
  'ip_city',
  'user_agent',
  'idempotency_key',
]);

/** Of all there are, those that every event has. */
const NEVER_ABSENT: ReadonlySet<Column> = new Set<Column>([
  'id',
  'actor_id',
  'action',
  'event_hash',
  'body',
  'private',
  'salt',
]);

// --- CSV -------------------------------------------------------------------------------------------

function csvSelect(): string {
  return CSV_COLUMNS.map((name) => (FREE_TEXTS.has(name) ? harmless(name) : VALUES[name])).join(', ');
}

/**
 * A spreadsheet runs a cell as a formula if it begins with `=`, `+`, `-`, `@`, a tab or a line end, also in
 * their full-width forms, and some do so behind blanks, control characters or quotes, which they drop when
 * they read the file. Such a cell gets an apostrophe in front. Because an apostrophe counts among the quotes here, no cell
 * that is left alone looks like one that got one: taking it away again from what is an apostrophe and then
 * matches this gives the exact text back.
 */
export const FORMULA = `^[\\p{Z}\\p{C}'"]*[\\t\\r\\n=+@\\-\uff1d\uff0b\uff0d\uff20]`;

/**
 * The first byte is looked at before the pattern is: most cells begin with a letter or a digit. To choose
 * the apostrophe and not the whole text is twice as fast (the export as a whole: 317 ms → 150 ms for 30,000 rows).
 */
function harmless(name: Column): string {
  const cell = `cell_${name}`;
  const suspect = `(ascii(${cell}) < 48 OR ascii(${cell}) IN (61, 64) OR ascii(${cell}) > 122)`;
  return `concat(if(notEmpty(${VALUES[name]} AS ${cell}) AND ${suspect}
    AND match(${cell}, ${sqlText(FORMULA)}), '\\'', ''), ${cell})`;
}

// --- NDJSON ----------------------------------------------------------------------------------------

/** One text a row: ClickHouse's own JSON formats have no column that is JSON already. */
function jsonSelect(): string {
  const members = ALL_COLUMNS.map((name) => `${sqlText(`"${name}":`)}, ${jsonValue(name)}`);
  return `concat('{', ${members.join(", ',', ")}, '}')`;
}

function jsonValue(name: Column): string {
  const value = VALUES[name];
  switch (name) {
    case 'seq':
      return `toString(${value})`;
    case 'version':
      return `ifNull(toString(${value}), 'null')`;
    case 'targets':
      return value;
    case 'metadata':
      return `if(${value} = '', 'null', ${value})`;
    case 'created_at':
    case 'occurred_at':
      return `concat('"', replaceOne(toString(${value}), ' ', 'T'), 'Z"')`;
    default:
      return NEVER_ABSENT.has(name)
        ? `toJSONString(${value})`
        : `if(${value} AS text_${name} = '', 'null', toJSONString(text_${name}))`;
  }
}

// --- Parquet ---------------------------------------------------------------------------------------

function parquetSelect(): string {
  return ALL_COLUMNS.map((name) => `${parquetValue(name)} AS ${name}`).join(', ');
}

function parquetValue(name: Column): string {
  const value = VALUES[name];
  switch (name) {
    case 'seq':
      return `toInt64(${value})`; // Many readers have no unsigned integers.
    case 'version':
    case 'created_at':
    case 'occurred_at':
    case 'targets':
      return value;
    default:
      return NEVER_ABSENT.has(name) ? `toString(${value})` : `nullIf(toString(${value}), '')`;
  }
}

/** A string literal of ClickHouse. */
function sqlText(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
