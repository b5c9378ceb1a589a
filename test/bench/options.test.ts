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

test('help names every case', () => {
  expect(readOptions(['--help'], known)).toBe('help');
  expect(helpText(known)).toContain('two  the second');
});

test.each([
  [['three'], /no case "three"\. Known: one, two/],
  [['--seconds', 'soon'], /--seconds: "soon"/],
  [['--fast'], /--fast/],
])('%j is refused with what to write instead', (args, message) => {
  expect(() => readOptions(args, known)).toThrow(message);
});
