import { randomBytes, randomUUID } from 'node:crypto';
import { cpSync, mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canonicalTexts } from '../../core/canonical.ts';
import type { CompleteEvent } from '../../core/event.ts';
import type { JsonObject } from '../../core/json.ts';
import { formatTimestamp } from '../../core/time.ts';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { migrate } from '../../infra/clickhouse/migrate.ts';
import { EVENT_INSERT_COLUMNS } from '../../infra/clickhouse/names.ts';
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts';
import { insertRows, row } from '../support/event-rows.ts';
import { propertyRuns } from '../support/property-runs.ts';

let server: TestClickHouse;
let admin: ClickHouseClient;

beforeAll(async () => {
  server = await startTestClickHouse();
  admin = connectClickHouse(server.adminUrl);
});

afterAll(async () => {
  await admin?.close();
  await server?.stop();
});

async function rowsOf<T>(query: string, params: Record<string, unknown> = {}): Promise<T[]> {
  return (await admin.query({ query, query_params: params, format: 'JSONEachRow' })).json<T>();
}

describe('events', () => {
  test('a row as the chain stage writes it', async () => {
    const hash = randomBytes(32).toString('hex');
    const previous = randomBytes(32).toString('hex');
    const event: CompleteEvent = {
      id: randomUUID(),
      workspace_id: 'ws_row',
      action: 'document.shared',
      actor_id: 'user_1',
      actor_name: 'Ádá "L" \\ Lovelace',
      actor_type: 'user',
      action_category: 'documents',
      resource: 'document',
      resource_id: 'doc_1',
      resource_name: 'Quarterly\tReport',
      tenant_id: 'tenant_1',
      session_id: 'sess_1',
      ip_address: '2001:db8::1',
      ip_country: 'GB',
      ip_city: 'London',
      user_agent: 'curl/8',
      idempotency_key: 'key-1',
      version: 7,
      occurred_at: '2026-03-15T14:32:18.847312Z',
      targets: [{ type: 'user', id: 'user_2', metadata: { type: 'x', id: 'y' } }, { type: 'team' }],
      metadata: { actor_name: 'not me', Reason: 'Größe', resource_name: 'nor me', targets: [{ type: 'no' }] },
    };
    const salt = randomBytes(16).toString('hex');
    const { body, private: privateText } = canonicalTexts(event, salt);
    const createdAt = formatTimestamp(Date.now() * 1000 + 123);
    await insertRows(server.writerUrl, [
      row({
        workspaceId: 'ws_row',
        createdAt,
        body,
        privateText,
        salt,
        eventHash: hash,
        previousHash: previous,
      }),
    ]);
    const [stored] = await rowsOf(
      `SELECT *, id, occurred_at, actor_id, actor_name, actor_type, action, action_category, resource, resource_id,
         resource_name, tenant_id, session_id, ip_address, ip_country, ip_city, user_agent, idempotency_key, version,
         target_types, target_ids, search_text,
         lower(hex(event_hash)) AS event_hash, lower(hex(previous_event_hash)) AS previous_event_hash
       FROM immutable.events WHERE workspace_id = 'ws_row'`,
    );
    const { targets, metadata, ...flat } = event;
    expect(stored).toMatchObject({
      ...flat,
      created_at: createdAt,
      body,
      private: privateText,
      salt,
      event_hash: hash,
      previous_event_hash: previous,
      target_types: ['user', 'team'],
      target_ids: ['user_2', ''],
    });
    expect((stored as { search_text: string }).search_text).toBe(
      'ádá "l" \\ lovelace\ndocument.shared\nquarterly\treport\n' +
        '{"reason":"größe","actor_name":"not me","resource_name":"nor me","targets":[{"type":"no"}]}',
    );
    const [view] = await rowsOf("SELECT * FROM immutable.audit_events WHERE workspace_id = 'ws_row'");
    expect(view).toMatchObject({ id: event.id, event_hash: hash, previous_event_hash: previous, seq: 1 });
  });

  test('a row too old for the deduplication window is refused, whole insert and all', async () => {
    const old = formatTimestamp((Date.now() - 6 * 60_000) * 1000);
    const answer = insertRows(server.writerUrl, [
      row({ workspaceId: 'ws_old' }),
      row({ workspaceId: 'ws_old', chainedAt: old }),
    ]);
    await expect(answer).rejects.toThrow(/VIOLATED_CONSTRAINT/);
    expect(await rowsOf("SELECT seq FROM immutable.events WHERE workspace_id = 'ws_old'")).toEqual([]);
  });

  test('the same token twice is one insert, and both are told it went well', async () => {
    for (const attempt of [1, 2]) {
      await insertRows(server.writerUrl, [row({ workspaceId: 'ws_token', seq: attempt })], '3:epoch:17:0');
    }
    expect(await rowsOf("SELECT seq FROM immutable.events WHERE workspace_id = 'ws_token'")).toEqual([
      { seq: 1 },
    ]);
  });

  test('the highest position of a partition comes from the projection, the newest row from the end', async () => {
    const rows = Array.from({ length: 300 }, (_, index) =>
      row({
        workspaceId: `ws_p${index % 3}`,
        partition: 9,
        seq: 1 + Math.floor(index / 3),
        streamSeq: 1000 + Math.floor(index / 10),
        streamIndex: index % 10,
      }),
    );
    await insertRows(server.writerUrl, rows);
    const highest = `SELECT stream_epoch, max((stream_seq, stream_index)) AS position,
        argMax(event_hash, (stream_seq, stream_index)) != '' AS has_hash FROM immutable.events
      WHERE partition = 9 GROUP BY stream_epoch ORDER BY position DESC LIMIT 1`;
    expect(await rowsOf(highest)).toEqual([
      { stream_epoch: '0123456789abcdef', position: [1029, 9], has_hash: 1 },
    ]);
    expect(await explained(highest)).toContain('ReadFromMergeTree (positions)');
    const newest = `SELECT seq FROM immutable.events WHERE workspace_id = 'ws_p0' AND (stream_seq, stream_index) <= (1020, 3)
      ORDER BY created_at DESC LIMIT 1`;
    expect(await rowsOf(newest)).toEqual([{ seq: 68 }]);
    expect(await explained(newest)).toContain('InReverseOrder');
    expect(
      await explained('SELECT body FROM immutable.events WHERE partition = 9 AND stream_seq = 1020'),
    ).toContain('stream_seq_index');
  });

  async function explained(query: string): Promise<string> {
    return (await admin.query({ query: `EXPLAIN indexes = 1 ${query}`, format: 'TabSeparatedRaw' })).text();
  }
});

describe('derived columns', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.string({ unit: 'grapheme', maxLength: 40 }),
    fc.constantFrom('"action":"x"', '\\', '"', '\u0000', '\n\t', '{"id":1}', '","id":"x'),
  );
  const given = text.filter((value) => value !== '');
  const optional = fc.option(given, { nil: undefined });
  const names = fc.oneof(
    given,
    fc.constantFrom('a', 'a.b', 'b', 'id', 'actor_name', 'targets', 'metadata', 'type', '__proto__', ''),
  );
  const json = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 14 },
      text,
      fc.boolean(),
      fc.constant(null),
      fc.constantFrom(
        0,
        -0,
        5e-324,
        0.1,
        2 ** 53 - 1,
        -(2 ** 53 - 1),
        1e-7,
        2 ** 52 + 0.5,
        4503599627370495.5,
      ),
      fc.array(tie('value'), { maxLength: 4 }),
      fc.dictionary(names, tie('value'), { maxKeys: 4 }),
    ),
  })).value;
  const object = fc.dictionary(names, json, { maxKeys: 6 }) as fc.Arbitrary<JsonObject>;
  const event: fc.Arbitrary<CompleteEvent> = fc.record({
    id: fc.uuid(),
    workspace_id: fc.constant('ws_property'),
    action: given,
    actor_id: given,
    action_category: optional,
    actor_name: optional,
    actor_type: optional,
    idempotency_key: optional,
    ip_address: fc.option(fc.oneof(fc.ipV4(), fc.ipV6()), { nil: undefined }),
    ip_city: optional,
    ip_country: fc.option(fc.constantFrom('GB', 'DE'), { nil: undefined }),
    metadata: fc.option(
      fc.oneof(
        object,
        fc.constantFrom<JsonObject>({}, { 'a.b': 1, a: { b: 2 } }, { a: [{ a: [] }, [[]], {}] }, deep(16)),
      ),
      { nil: undefined },
    ),
    occurred_at: fc.integer({ min: 0, max: 8_960_000_000_000_000 }).map(formatTimestamp),
    resource: optional,
    resource_id: optional,
    resource_name: optional,
    session_id: optional,
    targets: fc.option(
      fc.array(
        fc.record({
          type: given,
          id: optional,
          name: optional,
          metadata: fc.option(object, { nil: undefined }),
        }),
        { minLength: 1, maxLength: 5 },
      ),
      { nil: undefined },
    ),
    tenant_id: optional,
    user_agent: optional,
    version: fc.option(fc.integer({ min: 0, max: 2 ** 31 - 1 }), { nil: undefined }),
  });

  function deep(levels: number): JsonObject {
    return levels === 1 ? { 'a.b': 1, a: { b: 2 } } : { a: deep(levels - 1) };
  }

  test('hold what the event holds, and never refuse it', async () => {
    let run = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(event, { minLength: 1, maxLength: 200 }), async (events) => {
        const workspaceId = `ws_property_${run++}`;
        const rows = events.map((one, index) => {
          const salt = randomBytes(16).toString('hex');
          const texts = canonicalTexts(one, salt);
          return row({ workspaceId, seq: index + 1, body: texts.body, privateText: texts.private, salt });
        });
        await insertRows(server.writerUrl, rows);
        const stored = await rowsOf<Record<string, unknown>>(
          `SELECT seq, body, private, ${DERIVED.join(', ')} FROM immutable.events WHERE workspace_id = {ws:String} ORDER BY seq`,
          { ws: workspaceId },
        );
        expect(stored).toEqual(
          rows.map((one, index) => ({
            seq: index + 1,
            body: one.body,
            private: one.privateText,
            ...expected(events[index]!),
          })),
        );
      }),
      propertyRuns(30),
    );
  });

  const PLAIN = [
    'id',
    'occurred_at',
    'actor_id',
    'actor_name',
    'actor_type',
    'action',
    'action_category',
    'resource',
    'resource_id',
    'resource_name',
    'tenant_id',
    'session_id',
    'ip_address',
    'ip_country',
    'ip_city',
    'user_agent',
    'idempotency_key',
  ] as const;
  const DERIVED = [...PLAIN, 'version', 'target_types', 'target_ids'];

  function expected(one: CompleteEvent): Record<string, unknown> {
    return {
      ...Object.fromEntries(PLAIN.map((name) => [name, one[name] ?? ''])),
      version: one.version ?? null,
      target_types: (one.targets ?? []).map(({ type }) => type),
      target_ids: (one.targets ?? []).map(({ id }) => id ?? ''),
    };
  }

  test('nothing in a text makes an insert fail, be it JSON or not', async () => {
    const texts = fc.oneof(
      fc.json(),
      fc.string({ unit: 'binary' }),
      fc.constantFrom(
        '',
        '{',
        '[]',
        'null',
        '{"targets":{}}',
        '{"targets":[1,null,"x",[]],"actor_name":{}}',
        '{"version":1e999}',
        '{"occurred_at":"9999-99-99"}',
        `${'['.repeat(5000)}${']'.repeat(5000)}`,
      ),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(texts, texts), { minLength: 1, maxLength: 100 }), async (pairs) => {
        await insertRows(
          server.writerUrl,
          pairs.map(([body, privateText], index) =>
            row({ workspaceId: 'ws_fuzz', seq: index, body, privateText }),
          ),
        );
      }),
      propertyRuns(20),
    );
  });
});

describe('migrations', () => {
  test('a second run, and two at once, change nothing', async () => {
    const before = await rowsOf('SELECT * FROM immutable.schema_migrations ORDER BY number');
    await migrate(admin, { serverKind: 'chdb' });
    await Promise.all([migrate(admin, { serverKind: 'chdb' }), migrate(admin, { serverKind: 'chdb' })]);
    expect(await rowsOf('SELECT * FROM immutable.schema_migrations ORDER BY number')).toEqual(before);
    expect(before.length).toBeGreaterThan(0);
  });

  test('one cut short by a crash is completed', async () => {
    const fresh = await startTestClickHouse({ migrated: false });
    const client = connectClickHouse(fresh.adminUrl);
    const [first] = readdirSync(MIGRATIONS).sort();
    const folder = mkdtempSync(join(tmpdir(), 'immutable-migrations-'));
    writeFileSync(join(folder, first!), 'CREATE DATABASE IF NOT EXISTS immutable;\nSELECT throwIf(1);\n');
    await expect(migrate(client, { serverKind: 'chdb', folder })).rejects.toThrow();
    await migrate(client, { serverKind: 'chdb' });
    await fresh.restart();
    await migrate(client, { serverKind: 'chdb' });
    const tables = await client.query({
      query: "SELECT count() AS n FROM system.tables WHERE database = 'immutable'",
      format: 'JSONEachRow',
    });
    expect(await tables.json()).toEqual([{ n: 19 }]);
    await client.close();
    await fresh.stop();
  });

  test('a changed or missing one is refused', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'immutable-migrations-'));
    cpSync(MIGRATIONS, folder, { recursive: true });
    const [first] = readdirSync(folder).sort();
    writeFileSync(join(folder, first!), 'SELECT 1;');
    await expect(migrate(admin, { serverKind: 'chdb', folder })).rejects.toMatchObject({
      code: 'misconfigured',
    });
    await expect(
      migrate(admin, { serverKind: 'chdb', folder: mkdtempSync(join(tmpdir(), 'immutable-none-')) }),
    ).rejects.toMatchObject({ code: 'misconfigured' });
  });

  const MIGRATIONS = join(import.meta.dirname, '..', '..', 'infra', 'clickhouse', 'migrations');
});

test("the insert columns are the table's first ones", async () => {
  const columns = await rowsOf<{ name: string; default_kind: string }>(
    "SELECT name, default_kind FROM system.columns WHERE database = 'immutable' AND table = 'events' ORDER BY position",
  );
  const given = columns
    .filter(({ default_kind }) => default_kind === '' || default_kind === 'EPHEMERAL')
    .map(({ name }) => name);
  expect(given).toEqual([...EVENT_INSERT_COLUMNS]);
});
