import { expect, test } from 'vitest';
import { checkAllowed } from './rights.ts';
import { parseStatement } from './statement.ts';
import { USERS, type User } from './users.ts';

const user = (name: string): User => USERS.find((one) => one.name === name)!;
const check =
  (name: string, sql: string, parameters = {}) =>
  () =>
    checkAllowed(user(name), parseStatement(sql, undefined), parameters);

test.each([
  'SELECT 1',
  'SHOW TABLES',
  'DESCRIBE TABLE t',
  'EXPLAIN SELECT 1',
  'EXISTS TABLE t',
  'SET a = 1',
  "SELECT 'file'",
  'SELECT 1 AS files',
])('a reading user may: %s', (sql) => {
  expect(check('analyst', sql)).not.toThrow();
  expect(check('reader', sql)).not.toThrow();
});

test.each([
  'SELECT file(x)',
  'SELECT `file`(x)',
  'SELECT * FROM system.processes',
  'SELECT * FROM System.Processes',
  'SHOW PROCESSLIST',
  "SELECT * FROM eval('SELECT 1')",
  'SYSTEM SHUTDOWN',
  'EXECUTE AS default SELECT 1',
  'BEGIN TRANSACTION',
])('nobody but the admin may: %s', (sql) => {
  for (const name of ['analyst', 'reader', 'writer'])
    expect(check(name, sql), name).toThrow('Not enough privileges');
  expect(check('admin', sql)).not.toThrow();
});

test('a parameter cannot name what the statement may not', () => {
  expect(check('analyst', 'SELECT * FROM {t:Identifier}', { t: 'processes' })).toThrow();
  expect(check('analyst', 'SELECT * FROM {t:Identifier}', { t: 'system.`processes`' })).toThrow();
});

test.each([
  'SELECT * FROM system.errors',
  'SELECT * FROM `system`."Errors"',
  'SELECT system.errors.name FROM x',
  'SELECT * FROM `system.errors`',
  'SELECT * FROM system.{t:Identifier}',
  "SELECT * FROM merge('x', 'y')",
  "SELECT * FROM fuzzQuery('SELECT 1')",
  "SELECT * FROM sqlite('/tmp/x', 'y')",
  "SELECT * FROM `sqlite`('/tmp/x', 'y')",
])('nobody but the admin reads: %s', (sql) => {
  for (const name of ['analyst', 'reader', 'writer'])
    expect(check(name, sql, { t: 'errors' }), name).toThrow('Not enough privileges');
  expect(check('admin', sql)).not.toThrow();
});

test.each([
  'SELECT * FROM system.tables',
  'SELECT * FROM system.{t:Identifier}',
  "SELECT system, merge, a.system.errors FROM x WHERE b = 'system.errors'",
])('everybody reads: %s', (sql) => {
  expect(check('analyst', sql, { t: 'one', other: 'system.errors' })).not.toThrow();
});

test.each([
  'SELECT * FROM (SELECT 1 SETTINGS max_threads = 1)',
  'SELECT 1 SETTINGS max_threads = 1 UNION ALL SELECT 2',
  'WITH a AS (SELECT 1 SETTINGS max_threads = 1) SELECT * FROM a',
  'SELECT 1 SETTINGS `max_threads` = 1 UNION ALL SELECT 2 SETTINGS max_threads = 1',
  'SELECT * FROM (SELECT 1 SETTINGS custom.name = 1)',
])('settings within a statement, which the engine does not check: %s', (sql) => {
  for (const name of ['analyst', 'reader', 'writer'])
    expect(check(name, sql), name).toThrow('SETTINGS may stand only at the end');
  expect(check('admin', sql)).not.toThrow();
});

test.each([
  'SELECT 1 SETTINGS max_threads = 1, max_block_size = 2',
  'SELECT 1 UNION ALL SELECT 2 SETTINGS max_threads = 1',
  'SELECT settings, a = 1 FROM (SELECT 1 AS settings, 2 AS a) WHERE settings = 1',
  "SELECT 'SETTINGS a = 1' FROM (SELECT 1)",
])('settings at its end, and what only looks like some: %s', (sql) => {
  expect(check('analyst', sql)).not.toThrow();
});

test('the setting that binds an analyst to a workspace is named in no statement', () => {
  for (const sql of [
    'SELECT 1 SETTINGS promql_table = 1',
    'SELECT 1 FORMAT TSV SETTINGS promql_table = 1',
    'SELECT * FROM promql_table',
    'SET promql_table = 1',
  ])
    expect(check('analyst', sql)).toThrow('Not enough privileges to use promql_table');
});
