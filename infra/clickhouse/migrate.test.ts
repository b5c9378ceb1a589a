import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { splitStatements } from './migrate.ts';

test('statements end with a semicolon at the end of a line', () => {
  expect(splitStatements("-- first\nSELECT 1;\n\nSELECT ';' AS a, 'b;c';\n-- nothing;\n")).toEqual([
    '-- first\nSELECT 1',
    "SELECT ';' AS a, 'b;c'",
  ]);
});

test('every migration is numbered once, in order, and can be run again', () => {
  const folder = join(import.meta.dirname, 'migrations');
  const files = readdirSync(folder).sort();
  expect(files.map((file) => Number(file.slice(0, 4)))).toEqual(files.map((_, index) => index + 1));
  for (const file of files) {
    for (const statement of splitStatements(readFileSync(join(folder, file), 'utf8'))) {
      expect(statement.replace(/^--.*\n/gm, '')).toMatch(
        /^(CREATE (\w+|ROW POLICY) IF NOT EXISTS|CREATE OR REPLACE|GRANT|ALTER USER \w+ SETTINGS|ALTER TABLE \S+\s+(ADD \w+ IF NOT EXISTS|DROP INDEX IF EXISTS|MATERIALIZE INDEX|MODIFY COLUMN \w+ CODEC\())/,
      );
    }
  }
});
