import { expect, test } from 'vitest';
import { checkParameters, parseStatement, splitQuery } from './statement.ts';

function split(query: string) {
  const { text, insert } = splitQuery(Buffer.from(query));
  return { text, format: insert?.format, data: insert?.data.toString() };
}

test.each([
  ['INSERT INTO t FORMAT TSV\n1\t2\n', 'INSERT INTO t FORMAT TSV', 'TSV', '1\t2\n'],
  ['insert into t (a, b) format CSV \r\n1,2', 'insert into t (a, b) format CSV', 'CSV', '1,2'],
  ['INSERT INTO t FORMAT JSONEachRow {"a":1}', 'INSERT INTO t FORMAT JSONEachRow', 'JSONEachRow', '{"a":1}'],
  ['INSERT INTO t FORMAT TSV\n\n1', 'INSERT INTO t FORMAT TSV', 'TSV', '\n1'],
  ['INSERT INTO t VALUES (1), (2)', 'INSERT INTO t VALUES', 'Values', ' (1), (2)'],
  [
    'INSERT INTO d.format (values, format) FORMAT TSV\nx',
    'INSERT INTO d.format (values, format) FORMAT TSV',
    'TSV',
    'x',
  ],
  ['INSERT INTO values FORMAT TSV\nx', 'INSERT INTO values FORMAT TSV', 'TSV', 'x'],
  [
    "INSERT INTO t SETTINGS a = 'FORMAT TSV', b = 1 FORMAT CSV\nx",
    "INSERT INTO t SETTINGS a = 'FORMAT TSV', b = 1 FORMAT CSV",
    'CSV',
    'x',
  ],
  [
    '/* FORMAT X */ -- FORMAT Y\nINSERT INTO t FORMAT TSV\nx',
    '/* FORMAT X */ -- FORMAT Y\nINSERT INTO t FORMAT TSV',
    'TSV',
    'x',
  ],
  [
    "INSERT INTO FUNCTION url('x', 'FORMAT') FORMAT TSV\nx",
    "INSERT INTO FUNCTION url('x', 'FORMAT') FORMAT TSV",
    'TSV',
    'x',
  ],
])('data of an insert: %s', (query, text, format, data) => {
  expect(split(query)).toEqual({ text, format, data });
});

test.each([
  'INSERT INTO t SELECT 1 FORMAT TSV',
  'INSERT INTO t (a) WITH 1 AS x SELECT x',
  'INSERT INTO t (SELECT 1)',
  "SELECT 'INSERT INTO t FORMAT TSV'",
  'SELECT 1 FORMAT TSV',
  "INSERT INTO t FROM INFILE 'x'",
  '',
])('no data: %s', (query) => {
  expect(split(query)).toEqual({ text: query, format: undefined, data: undefined });
});

test('binary data stay as they are', () => {
  const data = Buffer.from([0, 255, 10, 200, 128, 39]);
  const { insert } = splitQuery(Buffer.concat([Buffer.from('INSERT INTO t FORMAT RowBinary\n'), data]));
  expect(insert?.data.equals(data)).toBe(true);
});

test('a statement longer than max_query_size is refused, its data are not counted', () => {
  expect(() => splitQuery(Buffer.from(`SELECT '${'x'.repeat(300_000)}'`))).toThrow('max_query_size');
  expect(splitQuery(Buffer.from(`SELECT '${'x'.repeat(300_000)}'`), '1000000').insert).toBe(undefined);
  expect(
    splitQuery(Buffer.from(`INSERT INTO t FORMAT TSV\n${'x'.repeat(300_000)}`)).insert?.data.length,
  ).toBe(300_000);
});

test.each([
  ['SELECT 1', { sql: 'SELECT 1', format: undefined, settingsAfterFormat: '' }],
  ['SELECT 1 FORMAT JSON', { sql: 'SELECT 1', format: 'JSON', settingsAfterFormat: '' }],
  ['SELECT 1 FORMAT `Null`', { sql: 'SELECT 1', format: 'Null', settingsAfterFormat: '' }],
  [
    'SELECT 1 SETTINGS a = 1 FORMAT CSV SETTINGS b = 2',
    { sql: 'SELECT 1 SETTINGS a = 1', format: 'CSV', settingsAfterFormat: 'SETTINGS b = 2' },
  ],
  ["SELECT 'x FORMAT JSON'", { sql: "SELECT 'x FORMAT JSON'", format: undefined, settingsAfterFormat: '' }],
  [
    'SELECT format FROM (SELECT 1 AS format) AS FORMAT FORMAT TSV',
    { sql: 'SELECT format FROM (SELECT 1 AS format) AS FORMAT', format: 'TSV', settingsAfterFormat: '' },
  ],
])('rows: %s', (formatted, expected) => {
  expect(parseStatement(formatted, undefined)).toEqual({ kind: 'rows', ...expected });
});

test('an insert is taken apart', () => {
  expect(parseStatement("INSERT INTO d.t (a, b) SETTINGS x = 'FORMAT' FORMAT TSV", 'TSV')).toEqual({
    kind: 'insert',
    target: { sql: 'INSERT INTO d.t (a, b)', settings: "SETTINGS x = 'FORMAT' " },
    format: 'TSV',
  });
  expect(() => parseStatement('SELECT 1 FORMAT TSV', 'TSV')).toThrow('not understood');
});

test.each([
  "SELECT 1 INTO OUTFILE '/x'",
  "SHOW TABLES INTO OUTFILE '/x'",
  "INSERT INTO t FROM INFILE '/x' FORMAT TSV",
])('files are refused: %s', (formatted) => {
  expect(() => parseStatement(formatted, undefined)).toThrow('not available over HTTP');
});

test('KILL QUERY by id, and everything else as a command', () => {
  expect(parseStatement("KILL QUERY WHERE query_id = 'q-1' ASYNC", undefined)).toMatchObject({
    kind: 'kill',
    queryId: 'q-1',
  });
  expect(parseStatement('KILL QUERY WHERE 1 ASYNC', undefined)).toMatchObject({
    kind: 'command',
    verb: 'KILL',
  });
  expect(parseStatement('ALTER TABLE t DELETE WHERE 1', undefined)).toMatchObject({
    kind: 'command',
    verb: 'ALTER',
  });
});

test('every placeholder needs its value', () => {
  expect(() => checkParameters('SELECT {a:String}, {b:UInt8}', { a: '' })).toThrow(
    'Substitution `b` is not set.',
  );
  expect(() => checkParameters("SELECT '{c:String}', map('x', 1)", {})).not.toThrow();
});
