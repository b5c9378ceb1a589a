import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { formatTimestamp } from '../../core/time.ts';
import { workspaceAnalystName, workspaceAnalystPassword } from '../../infra/chdb/workspace-analyst.ts';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts';
import { insertRows, row } from '../support/event-rows.ts';

/** What analysts see of events that are past their retention: nothing, whatever they ask. */

const A = 'ws_aaaaaaaaaaaaaaaa';
const B = 'ws_bbbbbbbbbbbbbbbb';
/** Events of each, one a day; the newest is half a day old. */
const DAYS = 40;
const DAY_MS = 24 * 3600 * 1000;

let server: TestClickHouse;
let admin: ClickHouseClient;
let writer: ClickHouseClient;
let revision = 0;

beforeAll(async () => {
  server = await startTestClickHouse();
  admin = connectClickHouse(server.adminUrl);
  writer = connectClickHouse(server.writerUrl);
  // Every revision stays a part of its own, so that older ones are there to be found.
  await admin.command({ query: `SYSTEM STOP MERGES ${TABLES.retentionWindows}` });
  for (const workspaceId of [A, B]) await insertRows(server.writerUrl, events(workspaceId));
});
beforeEach(async () => {
  await keep(A, 0);
  await keep(B, 0);
});
afterAll(async () => {
  await Promise.all([admin?.close(), writer?.close()]);
  await server?.stop();
});

function events(workspaceId: string) {
  return Array.from({ length: DAYS }, (_, index) => {
    const age = DAYS - index - 0.5;
    return row({
      workspaceId,
      seq: index + 1,
      createdAt: formatTimestamp((Date.now() - age * DAY_MS) * 1000),
      privateText: `{"actor_name":"day ${Math.ceil(age)}"}`,
    });
  });
}

async function keep(workspaceId: string, days: number): Promise<void> {
  revision += 1;
  const values = [{ workspace_id: workspaceId, revision, days }];
  await writer.insert({ table: TABLES.retentionWindows, values, format: 'JSONEachRow' });
}

interface Asked {
  user?: string | undefined;
  settings?: Record<string, string>;
}

/** As the analyst of `A`, unless told. */
async function ask(sql: string, { user = workspaceAnalystName(A), settings = {} }: Asked = {}) {
  const password =
    user === 'analyst' || user === 'reader'
      ? `test-${user}`
      : workspaceAnalystPassword(user.replace('analyst_', ''), 'test-analyst');
  const response = await fetch(`${new URL(server.adminUrl).origin}/?${new URLSearchParams(settings)}`, {
    method: 'POST',
    headers: { 'X-ClickHouse-User': user, 'X-ClickHouse-Key': password },
    body: sql,
  });
  return { ok: response.ok, text: (await response.text()).trim() };
}

async function counted(user?: string): Promise<Record<string, string>> {
  const { text } = await ask('SELECT workspace_id, count() FROM audit_events GROUP BY workspace_id', {
    user,
  });
  return Object.fromEntries(text.split('\n').map((line) => line.split('\t')));
}

describe('events past their retention', () => {
  test('are shown to nobody but who is not an analyst, from the moment it is recorded', async () => {
    expect(await counted('analyst')).toEqual({ [A]: '40', [B]: '40' });
    await keep(A, 10);
    expect(await counted('analyst')).toEqual({ [A]: '10', [B]: '40' });
    expect(await counted()).toEqual({ [A]: '10' });
    expect(await counted(workspaceAnalystName(B))).toEqual({ [B]: '40' });
    expect((await ask('SELECT count(), min(seq) FROM audit_chain')).text).toBe('10\t31');
    await keep(B, 5);
    expect(await counted('analyst')).toEqual({ [A]: '10', [B]: '5' });
    const all = await ask(`SELECT count() FROM ${TABLES.events}`, { user: 'reader' });
    expect(all.text).toBe(String(2 * DAYS));
  });

  test('are shown again when they are kept for longer, or for ever', async () => {
    await keep(A, 10);
    await keep(A, 20);
    expect(await counted()).toEqual({ [A]: '20' });
    await keep(A, 0);
    expect(await counted()).toEqual({ [A]: '40' });
  });

  test('are as many when windows were merged', async () => {
    await keep(A, 10);
    await admin.command({ query: `SYSTEM START MERGES ${TABLES.retentionWindows}` });
    await admin.command({ query: `OPTIMIZE TABLE ${TABLES.retentionWindows} FINAL` });
    await admin.command({ query: `SYSTEM STOP MERGES ${TABLES.retentionWindows}` });
    expect(await counted()).toEqual({ [A]: '10' });
    await keep(A, 5);
    expect(await counted()).toEqual({ [A]: '5' });
  });

  test('leave a workspace with none when all are', async () => {
    await insertRows(server.writerUrl, events('ws_cccccccccccccccc').slice(0, 20));
    await keep('ws_cccccccccccccccc', 1);
    expect(
      (await ask('SELECT count() FROM audit_events', { user: 'analyst_ws_cccccccccccccccc' })).text,
    ).toBe('0');
    await keep('ws_cccccccccccccccc', 0);
  });
});

describe('a question cannot bring back what is past its retention', () => {
  beforeEach(async () => {
    for (let time = 0; time < 3; time++) await keep(A, 0);
    await keep(A, 10);
    await keep(B, 7);
  });

  test.each([
    "SELECT count() FROM audit_events WHERE NOT throwIf(actor_name = 'day 30')",
    "SELECT count() FROM audit_events WHERE NOT throwIf(actor_name = 'day 30') SETTINGS enable_analyzer = 0",
    'SELECT count() FROM audit_events WHERE NOT throwIf(created_at < now() - INTERVAL 12 DAY) SETTINGS optimize_move_to_prewhere = 1',
    'SELECT countIf(NOT throwIf(seq < 30)) FROM audit_chain',
    'SELECT count() FROM audit_events WHERE seq = 1 OR 1',
    'SELECT count() FROM audit_events SETTINGS enable_analyzer = 0',
    'SELECT count() FROM audit_events SETTINGS query_plan_enable_optimizations = 0',
    'SELECT count() FROM audit_events SETTINGS enable_scalar_subquery_optimization = 0',
    'SELECT count() FROM audit_events SETTINGS analyzer_inline_views = 1',
    ...[
      "{'immutable.retention_windows': '0'}",
      "{'immutable.retained_from': '0'}",
      "{'immutable.retention_windows': 'days = 0'}",
      "{'retention_windows': '0', 'retained_from': '0'}",
    ].flatMap((filters) =>
      [0, 1].map(
        (analyzer) =>
          `SELECT count() FROM audit_events SETTINGS additional_table_filters = ${filters}, enable_analyzer = ${analyzer}`,
      ),
    ),
  ])('%s', async (sql) => {
    expect((await ask(sql)).text).toBe('10');
  });

  test.each([
    { max_rows_to_read: '1', read_overflow_mode: 'break' },
    { max_bytes_to_read: '1', read_overflow_mode: 'break' },
    { max_rows_to_read_leaf: '1', read_overflow_mode_leaf: 'break' },
    { max_rows_to_group_by: '1', group_by_overflow_mode: 'any' },
    { max_rows_to_group_by: '1', group_by_overflow_mode: 'break' },
    { max_result_rows: '1', result_overflow_mode: 'break' },
    { max_execution_time: '1', timeout_overflow_mode: 'break' },
    { limit: '1', offset: '1' },
    { max_parallel_replicas: '3', parallel_replicas_count: '3', parallel_replica_offset: '1' },
    {
      enable_parallel_replicas: '1',
      parallel_replicas_mode: 'custom_key_sampling',
      parallel_replicas_custom_key: 'revision',
      max_parallel_replicas: '3',
    },
  ])('limits that end a reading early: %j', async (settings) => {
    const options = { max_threads: '1', max_block_size: '1', ...settings };
    for (const user of [undefined, 'analyst']) {
      for (const analyzer of ['0', '1']) {
        await expectNothingHidden({ user, settings: { ...options, enable_analyzer: analyzer } });
      }
    }
  });

  test('nor does an explanation tell of other workspaces', async () => {
    for (const kind of ['PLAN actions = 1, indexes = 1', 'QUERY TREE', 'PIPELINE', 'ESTIMATE', 'SYNTAX']) {
      const { text } = await ask(`EXPLAIN ${kind} SELECT count() FROM audit_events`);
      expect(text, kind).not.toContain(B);
    }
    const { text } = await ask('EXPLAIN actions = 1 SELECT count() FROM audit_events', { user: 'analyst' });
    expect(text).toContain(B); // So the test above would see it.
  });

  async function expectNothingHidden({ user, settings }: Asked): Promise<void> {
    const { ok, text } = await ask(`SELECT ${HIDDEN_OF_EACH} FROM audit_events`, {
      user,
      settings: settings ?? {},
    });
    if (ok && text !== '') expect(text.split('\n')[0], JSON.stringify(settings)).toMatch(/^\D*0\D+0\D*$/);
  }
});

const HIDDEN_OF_EACH = `countIf(workspace_id = '${A}' AND seq <= 30), countIf(workspace_id = '${B}' AND seq <= 33)`;
