import { parseArgs } from 'node:util';
import type { BenchCase } from './case.ts';

export interface Options {
  cases: BenchCase[];
  seconds: number;
  full: boolean;
  jsonFile: string | undefined;
  rows: number | undefined;
  keep: string | undefined;
}

const DEFAULT_SECONDS = 10;

/** Throws an Error whose message tells the user what to write instead. */
export function readOptions(args: string[], known: readonly BenchCase[]): Options | 'help' {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      seconds: { type: 'string' },
      json: { type: 'string' },
      rows: { type: 'string' },
      keep: { type: 'string' },
      full: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return 'help';
  return {
    cases: positionals.length === 0 ? [...known] : positionals.map((name) => caseNamed(name, known)),
    seconds: secondsFrom(values.seconds),
    full: values.full,
    jsonFile: values.json,
    rows: rowsFrom(values.rows),
    keep: values.keep,
  };
}

export function helpText(known: readonly BenchCase[]): string {
  const width = Math.max(...known.map(({ name }) => name.length));
  return [
    'npm run bench [case…] [-- options]',
    '',
    'Starts the real stack, loads it from this machine, and measures beside each figure the limit it is',
    'compared with. Prints a table and writes JSON. Without a case: all of them.',
    '',
    'Cases:',
    ...known.map(({ name, about }) => `  ${name.padEnd(width)}  ${about}`),
    '',
    'Options:',
    `  --seconds N  how long each load is measured (default ${DEFAULT_SECONDS})`,
    '  --full       the sizes the goals speak of, rather than the short ones',
    '  --json FILE  where the results go (default bench-results/<date>.json)',
    '  --rows N     how many rows `query` reads among',
    '  --keep DIR   a folder to keep those rows in; they are used again when it is given again',
    '  --help       this',
  ].join('\n');
}

function caseNamed(name: string, known: readonly BenchCase[]): BenchCase {
  const found = known.find((one) => one.name === name);
  if (found !== undefined) return found;
  throw new Error(`There is no case "${name}". Known: ${known.map((one) => one.name).join(', ')}.`);
}

function secondsFrom(text: string | undefined): number {
  const seconds = text === undefined ? DEFAULT_SECONDS : Number(text);
  if (seconds >= 1 && seconds <= 86_400) return seconds;
  throw new Error(`--seconds: "${text}" is not a number from 1 to 86400.`);
}

function rowsFrom(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const rows = Number(text);
  if (Number.isSafeInteger(rows) && rows >= 10_000) return rows;
  throw new Error(`--rows: "${text}" is not a whole number from 10000.`);
}
