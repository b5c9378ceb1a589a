import { describe, expect, test } from 'vitest';
import { manifestText } from './manifest.ts';
import {
  type ExportRecord,
  filterOf,
  isExportId,
  keysOf,
  newExportId,
  progressOf,
  readExport,
} from './record.ts';

const RECORD: ExportRecord = {
  id: 'exp_0000000000000001',
  workspace_id: 'ws_0000000000000001',
  format: 'csv',
  bom: false,
  filters: {},
  status: 'processing',
  created_at: '2026-03-15T12:00:00.000000Z',
  expires_at: '2026-03-22T12:00:00.000000Z',
  runner: null,
  beats: 0,
  range: { first_seq: 101, last_seq: 300, last_micros: 5 },
  position: { micros: 3, seq: 100 },
  parts: 0,
  rows: 0,
  bytes: 0,
  first: null,
  last: null,
  failures: 0,
  error_message: null,
  file_size: null,
  sha256: null,
  removed: false,
};

describe('a record', () => {
  test('comes back from the bucket as it was put, with what a newer version added', () => {
    const stored = { ...RECORD, filters: { actor_id: 'x', from: RECORD.created_at }, colour: 'red' };
    expect(readExport(JSON.parse(JSON.stringify(stored)))).toEqual(stored);
    expect(() => readExport(null)).toThrow(expect.objectContaining({ code: 'misconfigured' }));
    expect(() => readExport({ ...RECORD, status: 'lost' })).toThrow();
  });

  test('has a filter that the search understands', () => {
    const filters = { action: 'a.*', from: '2026-03-15T12:00:00.000001Z' };
    expect(filterOf({ filters })).toEqual({
      filters: { action: 'a.*' },
      from: Date.UTC(2026, 2, 15, 12) * 1000 + 1,
      to: undefined,
    });
  });

  test.each([
    [{ range: null }, 0],
    [{}, 0],
    [{ position: { micros: 4, seq: 200 } }, 50],
    [{ position: { micros: 5, seq: 300 } }, 99],
    [{ position: { micros: 5, seq: 300 }, status: 'completed' as const }, 100],
    [{ range: { first_seq: 0, last_seq: 0, last_micros: 0 }, position: { micros: 0, seq: 0 } }, 99],
    [{ status: 'pending' as const, range: null }, 0],
  ])('with %j is at %i percent', (given, percent) => {
    expect(progressOf({ ...RECORD, ...given })).toBe(percent);
  });

  test('has its objects in a folder of its own', () => {
    const { folder, ...keys } = keysOf(RECORD);
    for (const key of [keys.part(0), keys.part(12), keys.footer, keys.file, keys.manifest]) {
      expect(key.startsWith(folder)).toBe(true);
    }
    expect(keys.part(2) < keys.part(10)).toBe(true);
  });
});

test('an id is nothing but what we make', () => {
  expect(isExportId(newExportId())).toBe(true);
  for (const id of [
    '',
    'exp_',
    'exp_000000000000000',
    'exp_00000000000000001',
    'EXP_0000000000000001',
    'slots.ws',
    '*',
    '>',
  ]) {
    expect(isExportId(id), id).toBe(false);
  }
});

test('a manifest claims completeness only where nothing but the time was filtered', () => {
  const complete = (filters: ExportRecord['filters']) =>
    JSON.parse(manifestText({ ...RECORD, filters }, { bytes: 1, sha256: 'x' }, [], null)).complete;
  expect(complete({})).toBe(true);
  expect(complete({ from: RECORD.created_at, to: RECORD.expires_at })).toBe(true);
  expect(complete({ action: '*' })).toBe(false);
  expect(complete({ from: RECORD.created_at, search: 'x' })).toBe(false);
});
