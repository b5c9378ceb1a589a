import { describe, expect, test } from 'vitest';
import { FILTERS } from '../conditions.ts';
import { parseExportRequest } from './request.ts';

const read = (value: unknown) => parseExportRequest(Buffer.from(JSON.stringify(value)));

function violationsOf(value: unknown): string[] {
  try {
    read(value);
    return [];
  } catch (error) {
    return (error as { violations: { path: string }[] }).violations.map(({ path }) => path);
  }
}

const EVERYTHING = { filters: {}, format: 'csv', bom: false, warnings: [] };

describe('a request', () => {
  test.each(['', '{}', '[]', '{"actor_id":null,"search":"","format":null,"bom":null,"from":""}'])(
    'of %j asks for everything as CSV',
    (body) => {
      expect(parseExportRequest(Buffer.from(body))).toEqual(EVERYTHING);
    },
  );

  test('may have every filter of the list of events', () => {
    const filters = Object.fromEntries(FILTERS.map((name) => [name, `${name} value`]));
    expect(read({ ...filters, format: 'parquet' })).toEqual({ ...EVERYTHING, filters, format: 'parquet' });
  });

  test('has its times in one spelling', () => {
    const { filters } = read({ from: '2026-03-15T14:32:18+02:00', to: '2026-03-15T12:32:18.5Z' });
    expect(filters).toEqual({ from: '2026-03-15T12:32:18.000000Z', to: '2026-03-15T12:32:18.500000Z' });
  });

  test('names what it does not know', () => {
    expect(read({ actor: 'x', __proto__: 1, page: 2 }).warnings).toEqual([
      "unknown member 'actor' was ignored",
      "unknown member 'page' was ignored",
    ]);
    expect(read({ ['x'.repeat(1000)]: 1 }).warnings[0]).toBe(
      `unknown member '${'x'.repeat(64)}' was ignored`,
    );
  });

  test.each([
    [{ actor_id: 1 }, ['actor_id']],
    [{ actor_id: { $ne: '' } }, ['actor_id']],
    [{ search: 'x'.repeat(1025) }, ['search']],
    [{ search: '\ud800' }, ['search']],
    [{ search: '李'.repeat(667) }, ['']],
    [{ from: '2026-02-30T00:00:00Z', to: 'tomorrow' }, ['from', 'to']],
    [{ from: '2026-03-02T00:00:00Z', to: '2026-03-01T00:00:00Z' }, ['from']],
    [{ format: 'xlsx' }, ['format']],
    [{ format: 7 }, ['format']],
    [{ bom: 'true' }, ['bom']],
    [{ bom: true, format: 'ndjson' }, ['bom']],
  ])('of %j is refused by name', (value, paths) => {
    expect(violationsOf(value)).toEqual(paths);
  });

  test.each(['{', 'null', '7', '"a"', '[1]', '[[]]'])('of %s is none', (body) => {
    expect(() => parseExportRequest(Buffer.from(body))).toThrow(
      expect.objectContaining({ code: 'bad_request' }),
    );
  });

  test('of bytes that are no UTF-8 is none', () => {
    expect(() => parseExportRequest(Buffer.from([0x7b, 0xff, 0x7d]))).toThrow(
      expect.objectContaining({ code: 'bad_request' }),
    );
  });
});
