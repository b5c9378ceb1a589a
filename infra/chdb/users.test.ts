import { expect, test } from 'vitest';
import { parseStatement } from './statement.ts';
import { authenticate, checkAllowed, USERS, type User } from './users.ts';

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

test('passwords', () => {
  const passwords = { admin: 'a', writer: 'w', reader: 'r', analyst: 'n' };
  expect(authenticate({ user: 'writer', password: 'w' }, passwords).name).toBe('writer');
  for (const credentials of [
    { user: 'writer', password: 'a' },
    { user: 'x', password: '' },
    { user: '__proto__', password: '' },
    { user: 'writer', password: '' },
  ]) {
    expect(() => authenticate(credentials, passwords)).toThrow('Authentication failed');
  }
  expect(() => authenticate({ user: 'writer', password: '' }, {})).toThrow('Authentication failed');
});
