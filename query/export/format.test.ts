import { describe, expect, test } from 'vitest';
import { beginningOf, CSV_COLUMNS, FORMATS, FORMULA, rowsStatement } from './format.ts';

const pattern = new RegExp(FORMULA, 'u');

describe('a formula', () => {
  test.each([
    '=1',
    '+1',
    '-1',
    '@a',
    '\ta',
    '\ra',
    '\na',
    ' =1',
    '\u00a0+1',
    '\u200b@a',
    '"=1',
    "'=1",
    "''=1",
    '\u0000=1',
    '＝1',
    '＋1',
    '－1',
    '＠a',
    '-',
  ])('is %j', (text) => {
    expect(pattern.test(text)).toBe(true);
  });

  test.each([
    '',
    'a=1',
    '1+1',
    "'a",
    '.5',
    '/=',
    'Zoë',
    '李',
    '(-1)',
    '#=',
    '{"a":"=1"}',
    '[]',
    '019cf15e-1200',
  ])('is not %j', (text) => {
    expect(pattern.test(text)).toBe(false);
  });

  test('made harmless can always be told from a text that was left alone', () => {
    const pieces = ['', "'", '"', '=', '-', '\t', ' ', 'a', '1', '＝'];
    const protect = (text: string) => (pattern.test(text) ? `'${text}` : text);
    const undo = (cell: string) =>
      cell.startsWith("'") && pattern.test(cell.slice(1)) ? cell.slice(1) : cell;
    for (const a of pieces) {
      for (const b of pieces) {
        for (const c of pieces) {
          const text = a + b + c;
          expect(undo(protect(text)), JSON.stringify(text)).toBe(text);
          expect(/^[\p{Z}\p{C}"]*[\t\r\n=+@\-＝＋－＠]/u.test(protect(text))).toBe(false);
        }
      }
    }
  });
});

describe('a file', () => {
  test('of CSV begins with its columns, and with a byte order mark only if asked for', () => {
    expect(beginningOf('csv', { bom: false })).toBe(`${CSV_COLUMNS.join(',')}\r\n`);
    expect(beginningOf('csv', { bom: true })).toBe(`\ufeff${CSV_COLUMNS.join(',')}\r\n`);
    expect(CSV_COLUMNS).toHaveLength(24);
    expect(CSV_COLUMNS.join(',')).toMatch(/^id,created_at,.*,seq,event_hash,previous_event_hash$/);
  });

  test.each(['ndjson', 'parquet'] as const)('of %s begins with its rows', (format) => {
    expect(beginningOf(format, { bom: false })).toBe('');
  });
});

test('no format pages by offset, and each is in the order of the key', () => {
  for (const format of FORMATS) {
    const sql = rowsStatement(format, 'TRUE');
    expect(sql).toContain('ORDER BY workspace_id, created_at');
    expect(sql).not.toMatch(/\bOFFSET\b/i);
  }
});
