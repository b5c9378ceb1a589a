import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ClickHouseLogLevel, createClient } from '@clickhouse/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runProgram, type Stack, startStack, until } from '../support/stack.ts';

/** An analyst of one workspace before the running product: curl, the client library, and what they are told. */

let stack: Stack;
let analyst: { url: string; user: string; password: string; database: string };
let otherWorkspace: { workspace: { id: string }; api_key: string };

beforeAll(async () => {
  stack = await startStack();
  otherWorkspace = JSON.parse((await immutable('workspace', 'create', 'Other', '--json')).stdout);
  await send(stack.apiKey, 'user_mine');
  await send(otherWorkspace.api_key, 'user_other');
  analyst = JSON.parse(
    (await immutable('analyst', 'create', '--workspace', stack.workspaceId, '--json')).stdout,
  );
  await until(
    async () => (await curl("SELECT count() FROM audit_events WHERE actor_id = 'user_mine'")) === '1\n',
    20_000,
  );
  await until(
    async () =>
      (await asOperator("SELECT count() FROM immutable.events WHERE actor_id = 'user_other'")) === '1\n',
    20_000,
  );
}, 120_000);

afterAll(async () => {
  await stack?.stop();
});

function immutable(...args: string[]) {
  return runProgram(args, { IMMUTABLE_DATA_DIR: stack.directory.path });
}

async function send(key: string, actor: string): Promise<void> {
  const event = { actor_id: actor, action: 'document.read', metadata: { environment: 'test', size: 12 } };
  const response = await fetch(`${stack.baseUrl}/api/v1/events`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },
    body: JSON.stringify(event),
  });
  expect(response.status).toBe(202);
}

async function curl(sql: string, ...args: string[]): Promise<string> {
  const credentials = `${analyst.user}:${analyst.password}`;
  const command = ['-sS', '--user', credentials, ...args, `${analyst.url}/`, '--data-binary', sql];
  return (await promisify(execFile)('curl', command)).stdout;
}

async function asOperator(sql: string): Promise<string> {
  const { origin, username, password } = new URL(stack.clickhouseUrls.reader);
  const headers = { 'X-ClickHouse-User': username, 'X-ClickHouse-Key': password };
  return await (await fetch(origin, { method: 'POST', headers, body: sql })).text();
}

test('curl sees one workspace', async () => {
  expect(await curl('SELECT DISTINCT workspace_id FROM audit_events')).toBe(`${stack.workspaceId}\n`);
  expect(
    await curl(
      "SELECT metadata['environment'], metadata['size'] FROM audit_events WHERE actor_id = 'user_mine'",
    ),
  ).toBe('test\t12\n');
  expect(await curl("SELECT count() FROM audit_events WHERE actor_id = 'user_other'")).toBe('0\n');
});

test('the client library, with values beside the statement', async () => {
  const { url, user: username, password, database } = analyst;
  const log = { level: ClickHouseLogLevel.OFF };
  const client = createClient({ url, username, password, database, log });
  const result = await client.query({
    query: 'SELECT action, metadata FROM audit_events WHERE actor_id = {actor:String}',
    query_params: { actor: 'user_mine' },
    format: 'JSONEachRow',
  });
  expect(await result.json()).toEqual([
    { action: 'document.read', metadata: { environment: 'test', size: '12' } },
  ]);
  await expect(
    client.insert({ table: 'audit_events', values: [{ seq: 1 }], format: 'JSONEachRow' }),
  ).rejects.toThrow(/Not enough privileges/);
  await client.close();
});

test.each([
  [
    'SELECT * FROM immutable.events',
    /analyst_ws_\w+: Not enough privileges.* grant SELECT .*immutable\.events.*\(ACCESS_DENIED\)/s,
  ],
  ['SELECT nothing FROM audit_events', /Unknown expression.*identifier `nothing`.*\(UNKNOWN_IDENTIFIER\)/s],
  ['SELEC 1', /Syntax error: failed at position 1 \(SELEC\).*\(SYNTAX_ERROR\)/s],
  ['DROP TABLE audit_events', /Not enough privileges for this statement\. \(ACCESS_DENIED\)/],
  ["SELECT file('/etc/passwd')", /Not enough privileges to use file\. \(ACCESS_DENIED\)/],
  [
    'SELECT * FROM (SELECT 1 SETTINGS max_threads = 1)',
    /SETTINGS may stand only at the end of the whole statement/,
  ],
  ['SELECT 1 SETTINGS max_execution_time = 10000', /max_execution_time shouldn't be greater than 600/],
])('an error says what is wrong: %s', async (sql, expected) => {
  const text = await curl(sql);
  expect(text).toMatch(expected);
  expect(text).toMatch(/^Code: \d+\. DB::Exception: /);
  expect(text.length).toBeLessThan(3_000); // A syntax error lists what could have stood there.;
  expect(text).not.toMatch(/node_modules|\bdefault:|\.ts\b|\/tmp\/|formatQuery|INTO OUTFILE/);
});

test('a wrong password, and another workspace with the password of this one', async () => {
  for (const user of [
    `${analyst.user}:wrong`,
    `analyst_${otherWorkspace.workspace.id}:${analyst.password}`,
  ]) {
    const { stdout } = await promisify(execFile)('curl', [
      '-sS',
      '--user',
      user,
      `${analyst.url}/?query=SELECT+1`,
    ]);
    expect(stdout).toContain('Authentication failed');
  }
});

test('the command for people, and for a workspace that is not there', async () => {
  const shown = await immutable('analyst', 'create', '--workspace', stack.workspaceId);
  expect(shown.stdout).toContain(`Password  ${analyst.password}`);
  const none = await immutable('analyst', 'create', '--workspace', 'ws_0000000000000000');
  expect(none.code).toBe(1);
  expect(none.output).toContain('There is no workspace ws_0000000000000000.');
});

test('a password that is rotated or revoked ends at once, and no other with it', async () => {
  const other = JSON.parse(
    (await immutable('analyst', 'create', '--workspace', otherWorkspace.workspace.id, '--json')).stdout,
  );
  const old = analyst;
  analyst = JSON.parse((await immutable('analyst', 'rotate', stack.workspaceId, '--json')).stdout);
  expect(await curl('SELECT 1')).toBe('1\n');
  const rotated = analyst;
  analyst = old;
  expect(await curl('SELECT 1')).toContain('Authentication failed');

  expect((await immutable('analyst', 'revoke', stack.workspaceId)).stdout).toContain('is revoked');
  for (const former of [old, rotated]) {
    analyst = former;
    expect(await curl('SELECT 1')).toContain('Authentication failed');
  }
  const shown = await immutable('analyst', 'create', '--workspace', stack.workspaceId);
  expect(shown.code).toBe(1);
  expect(shown.output).toContain('analyst rotate');
  analyst = other;
  expect(await curl('SELECT 1')).toBe('1\n');
  analyst = JSON.parse((await immutable('analyst', 'rotate', stack.workspaceId, '--json')).stdout);
  expect(await curl('SELECT 1')).toBe('1\n');

  const file = join(stack.directory.keys, 'analysts', `${stack.workspaceId}.json`);
  writeFileSync(file, '{"generation":');
  const refused = await curl('SELECT 1');
  expect(refused).toContain('Authentication failed');
  expect(refused).not.toContain('analysts/');
});
