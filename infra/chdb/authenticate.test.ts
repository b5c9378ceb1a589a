import { expect, test } from 'vitest';
import { authenticate } from './authenticate.ts';
import { roleOf, USERS, type User } from './users.ts';
import { initialSettings } from './users-xml.ts';
import { workspaceAnalystName, workspaceAnalystPassword } from './workspace-analyst.ts';

const user = (name: string): User => USERS.find((one) => one.name === name)!;

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

test('an analyst of one workspace', () => {
  const passwords = { admin: 'a', analyst: 'n' };
  const name = workspaceAnalystName('ws_0123456789abcdef');
  const password = workspaceAnalystPassword('ws_0123456789abcdef', 'n');
  const found = authenticate({ user: name, password }, passwords);
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
    expect(() => authenticate(credentials, passwords)).toThrow('Authentication failed');
  }
  expect(() => authenticate({ user: name, password }, { admin: 'a' })).toThrow('Authentication failed');
});
