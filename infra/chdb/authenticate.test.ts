import { expect, test } from 'vitest';
import { authenticate } from './authenticate.ts';
import { roleOf, USERS, type User } from './users.ts';
import { initialSettings } from './users-xml.ts';
import { workspaceAnalystName, workspaceAnalystPassword } from './workspace-analyst.ts';

const user = (name: string): User => USERS.find((one) => one.name === name)!;

const first = () => ({ generation: 0, revoked: false });

test('passwords', () => {
  const passwords = { admin: 'a', writer: 'w', reader: 'r', analyst: 'n' };
  expect(authenticate({ user: 'writer', password: 'w' }, passwords, first).name).toBe('writer');
  for (const credentials of [
    { user: 'writer', password: 'a' },
    { user: 'x', password: '' },
    { user: '__proto__', password: '' },
    { user: 'writer', password: '' },
  ]) {
    expect(() => authenticate(credentials, passwords, first)).toThrow('Authentication failed');
  }
  expect(() => authenticate({ user: 'writer', password: '' }, {}, first)).toThrow('Authentication failed');
});

test('an analyst of one workspace', () => {
  const passwords = { admin: 'a', analyst: 'n' };
  const name = workspaceAnalystName('ws_0123456789abcdef');
  const password = workspaceAnalystPassword('ws_0123456789abcdef', 'n');
  const found = authenticate({ user: name, password }, passwords, first);
  expect(found).toMatchObject({
    name: 'analyst_ws_0123456789abcdef',
    workspace: 'ws_0123456789abcdef',
    readOnly: true,
  });
  expect(roleOf(found)).toBe('analyst');
  expect(initialSettings(found)).toMatchObject({
    promql_table: 'ws_0123456789abcdef',
    max_execution_time: 60,
  });
  expect(initialSettings(user('reader'))).toMatchObject({ promql_table: '*' });
  for (const credentials of [
    { user: name, password: 'n' },
    { user: name, password: '' },
    { user: 'analyst_ws_other', password },
    { user: 'analyst', password },
    { user: 'analyst_*', password: workspaceAnalystPassword('*', 'n') },
    { user: 'analyst_', password: workspaceAnalystPassword('', 'n') },
    { user: "analyst_'", password: workspaceAnalystPassword("'", 'n') },
  ]) {
    expect(() => authenticate(credentials, passwords, first)).toThrow('Authentication failed');
  }
  expect(() => authenticate({ user: name, password }, { admin: 'a' }, first)).toThrow(
    'Authentication failed',
  );
});

test('only the password of the present generation counts, and none when it is revoked', () => {
  const passwords = { admin: 'a', analyst: 'n' };
  const user = workspaceAnalystName('ws_a');
  const [old, next] = [0, 1].map((generation) => workspaceAnalystPassword('ws_a', 'n', generation));
  const enter = (password = '', revoked = false) =>
    authenticate({ user, password }, passwords, () => ({ generation: 1, revoked }));
  expect(enter(next).workspace).toBe('ws_a');
  expect(() => enter(old)).toThrow('Authentication failed');
  for (const password of [old, next, ''])
    expect(() => enter(password, true)).toThrow('Authentication failed');
});
