import { expect, test } from 'vitest';
import type { BenchCase } from './case.ts';
import { helpText, readOptions } from './options.ts';

const one: BenchCase = { name: 'one', about: 'the first', run: async () => [] };
const two: BenchCase = { name: 'two', about: 'the second', run: async () => [] };
const known = [one, two];

test('without a case all run, and a name picks one', () => {
  expect(readOptions([], known)).toMatchObject({ cases: known, seconds: 10, full: false });
  expect(readOptions(['two', '--seconds', '3', '--json', 'x.json'], known)).toMatchObject({
    cases: [two],
    seconds: 3,
    jsonFile: 'x.json',
  });
});

test('rows and a folder to keep them in', () => {
  expect(readOptions(['--rows', '100000000', '--keep', '/tmp/rows'], known)).toMatchObject({
    rows: 100_000_000,
    keep: '/tmp/rows',
  });
});

test('help names every case', () => {
  expect(readOptions(['--help'], known)).toBe('help');
  expect(helpText(known)).toContain('two  the second');
});

test.each([
  [['three'], /no case "three"\. Known: one, two/],
  [['--seconds', 'soon'], /--seconds: "soon"/],
  [['--rows', 'many'], /--rows: "many"/],
  [['--rows', '1e9.5'], /--rows/],
  [['--fast'], /--fast/],
])('%j is refused with what to write instead', (args, message) => {
  expect(() => readOptions(args, known)).toThrow(message);
});
