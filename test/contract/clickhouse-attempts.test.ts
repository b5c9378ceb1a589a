import { existsSync, rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { workspaceAnalystName, workspaceAnalystPassword } from '../../infra/chdb/workspace-analyst.ts';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { startTestClickHouse } from '../support/clickhouse.ts';
import { startClickHouseImage } from '../support/clickhouse-image.ts';
import { insertRows, row } from '../support/event-rows.ts';
import { containerEngine, describeNeeding } from '../support/requirements.ts';
import {
  ATTEMPTS,
  type Attempt,
  BOMBS,
  EVENTS_A_WORKSPACE,
  OTHER_WORKSPACE,
  SECRET,
  WORKSPACE,
} from './attempts/attempts.ts';

type Kind = 'embedded' | 'server';

/** A ClickHouse with two workspaces in it, and an analyst of the first. */
interface Target {
  adminUrl: string;
  writerUrl: string;
  readerUrl: string;
  analyst: { name: string; password: string };
  stop(): Promise<void>;
}

describeAttempts('embedded', async () => {
  const server = await startTestClickHouse();
  return {
    ...server,
    analyst: {
      name: workspaceAnalystName(WORKSPACE),
      password: workspaceAnalystPassword(WORKSPACE, 'test-analyst'),
    },
  };
});

await describeNeeding(containerEngine, 'with a ClickHouse server image', () => {
  describeAttempts('server', async () => {
    const server = await startClickHouseImage();
    const analyst = { name: workspaceAnalystName(WORKSPACE), password: 'analyst-password' };
    await server.createAnalyst(analyst.name, analyst.password, WORKSPACE);
    return { ...server, analyst };
  });
});

function describeAttempts(kind: Kind, start: () => Promise<Target>): void {
  describe(`on the ${kind} ClickHouse`, () => {
    let target: Target;
    let admin: ClickHouseClient;

    beforeAll(async () => {
      rmSync(NEVER, { force: true });
      target = await start();
      admin = connectClickHouse(target.adminUrl);
      for (const workspaceId of [WORKSPACE, OTHER_WORKSPACE]) {
        await insertRows(target.writerUrl, events(workspaceId));
      }
      await admin.command({
        query: `INSERT INTO immutable.quarantine (workspace_id, payload) SELECT '${OTHER_WORKSPACE}', '${SECRET}'`,
      });
      await admin.command({
        query: `INSERT INTO immutable.erasures (workspace_id, seq, id) SELECT '${OTHER_WORKSPACE}', 1, '${SECRET}'`,
      });
      // A day of both, and one of each: of the other's alone the transaction failed.
      await insertAnchors(admin, [
        { batch: 'aa', status: 'confirmed', reason: '', workspaces: [WORKSPACE, OTHER_WORKSPACE] },
        { batch: 'bb', status: 'confirmed', reason: '', workspaces: [WORKSPACE] },
        { batch: 'cc', status: 'failed', reason: SECRET, workspaces: [OTHER_WORKSPACE] },
      ]);
      // Somebody else's query, with what must not be seen of it in its text, its values and its error.
      const reader = connectClickHouse(target.readerUrl);
      const asked = { query: `SELECT toUInt8({value:String}), '${SECRET}'`, query_params: { value: SECRET } };
      await reader.query(asked).catch(() => {});
      await reader.close();
    }, 180_000);

    afterAll(async () => {
      await admin?.close();
      await target?.stop();
    });

    function events(workspaceId: string) {
      const mark = workspaceId === OTHER_WORKSPACE ? SECRET : 'plain';
      return Array.from({ length: EVENTS_A_WORKSPACE }, (_, index) =>
        row({
          workspaceId,
          seq: index + 1,
          salt: `${mark}${index}`,
          privateText: `{"actor_name":"${mark} ${index}","metadata":{"note":"${mark}"}}`,
        }),
      );
    }

    async function ask(attempt: Pick<Attempt, 'sql' | 'request'>): Promise<{ status: number; text: string }> {
      const { method = 'POST', search = '', headers = {}, body, anonymous } = attempt.request ?? {};
      const { name: user, password } = target.analyst;
      const credentials: Record<string, string> = anonymous
        ? {}
        : { Authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` };
      const filled = search.replace('{name}', user).replace('{password}', password);
      const response = await fetch(`${new URL(target.adminUrl).origin}/?${filled}`, {
        method,
        headers: { ...credentials, ...headers },
        body: method === 'GET' ? null : (body ?? attempt.sql),
      });
      return { status: response.status, text: await response.text() };
    }

    function otherAnalystUrl(): string {
      const url = new URL(target.adminUrl);
      url.username = workspaceAnalystName(OTHER_WORKSPACE);
      url.password = workspaceAnalystPassword(OTHER_WORKSPACE, 'test-analyst');
      return url.href;
    }

    async function own(sql: string): Promise<string> {
      return (await ask({ sql })).text;
    }

    const here = ATTEMPTS.filter(({ only }) => only === undefined || only === kind);

    test('there are enough of them', () => {
      expect(ATTEMPTS.length).toBeGreaterThan(250);
      expect(new Set(ATTEMPTS.map(titleOf)).size).toBe(ATTEMPTS.length);
    });

    test.each(here.map((attempt) => [titleOf(attempt), attempt] as const))('%s', async (_title, attempt) => {
      const { status, text } = await ask(attempt);
      check(attempt, status, text);
      expect(text).not.toContain(SECRET);
      expect(text).not.toMatch(/^root:/m);
      expect(await own('SELECT count(), any(workspace_id), uniqExact(workspace_id) FROM audit_events')).toBe(
        `${EVENTS_A_WORKSPACE}\t${WORKSPACE}\t1\n`,
      );
    });

    function check({ expected }: Attempt, status: number, text: string): void {
      if (typeof expected === 'object' && 'answer' in expected) {
        if (typeof expected.answer === 'string') expect(text).toBe(expected.answer);
        else expect(text).toMatch(expected.answer);
        return;
      }
      expect(status, text).not.toBe(200);
      expect(text).toMatch(/^Code: \d+\. DB::Exception: [\s\S]+\([A-Z_0-9]+\)/);
    }

    /** A newer engine has functions that no list here knows. */
    test('of all table functions, only those that make rows out of nothing answer', async () => {
      const names = await namesOf('SELECT name FROM system.table_functions ORDER BY lower(name)');
      expect(names.length).toBeGreaterThan(50);
      const answering = new Set<string>();
      for (const name of names) {
        for (const given of [
          '',
          '3',
          "'immutable', 'events'",
          "'/tmp/immutable-never', 'events'",
          "'immutable.events'",
          'immutable.events',
          "'/etc/passwd', LineAsString, 'line String'",
          "LineAsString, 'line String', '/etc/passwd'",
          "'http://127.0.0.1:1/', LineAsString, 'line String'",
          "'id', TSV, 'a String'",
          "'immutable', 'events', 'positions'",
        ]) {
          const { status, text } = await ask({ sql: `SELECT * FROM ${name}(${given}) LIMIT 5` });
          expect(text, name).not.toContain(SECRET);
          expect(text, name).not.toMatch(/^root:/m);
          if (status === 200) answering.add(name);
          expect(existsSync(NEVER), `${name}(${given}) made a file`).toBe(false);
        }
      }
      expect([...answering].filter((name) => !HARMLESS_TABLE_FUNCTIONS.has(name))).toEqual([]);
    }, 120_000);

    test('of all functions, none reads a file or a table', async () => {
      const names = await namesOf(
        'SELECT name FROM system.functions WHERE NOT is_aggregate ORDER BY lower(name)',
      );
      expect(names.length).toBeGreaterThan(1_000);
      for (const name of names) {
        const { text } = await ask({ sql: `SELECT \`${name}\`('/etc/passwd')` });
        expect(text, name).not.toMatch(/root:/);
      }
      for (const name of names.filter((name) =>
        /get|has|table|dict|join|file|path|server|client|query|symbol/i.test(name),
      )) {
        for (const given of [
          "'immutable.events', 'body', 1",
          "'immutable', 'events'",
          "'immutable.events'",
          "'immutable', 'events', 'body'",
        ]) {
          expect((await ask({ sql: `SELECT \`${name}\`(${given})` })).text, name).not.toContain(SECRET);
        }
      }
    }, 240_000);

    async function namesOf(query: string): Promise<string[]> {
      const result = await admin.query({ query, format: 'JSONCompactEachRow' });
      return (await result.json<[string]>()).map(([name]) => name);
    }

    test('none of them changed anything', async () => {
      const counts = await admin.query({
        query: `SELECT workspace_id, count() AS n, countIf(salt LIKE '%${SECRET}%') AS marked FROM immutable.events GROUP BY workspace_id ORDER BY workspace_id`,
        format: 'JSONCompactEachRow',
      });
      expect(await counts.json()).toEqual([
        [WORKSPACE, EVENTS_A_WORKSPACE, 0],
        [OTHER_WORKSPACE, EVENTS_A_WORKSPACE, EVENTS_A_WORKSPACE],
      ]);
      expect(existsSync(NEVER)).toBe(false);
      const tables = await admin.query({
        query: "SELECT name FROM system.tables WHERE database = 'default' OR name = 'mine'",
        format: 'JSONCompactEachRow',
      });
      expect(await tables.json()).toEqual([]);
    });

    test.each(BOMBS.map((bomb) => [bomb.name, bomb] as const))(
      'bomb: %s',
      async (_name, bomb) => {
        const reader = connectClickHouse(target.readerUrl);
        let over = false;
        const waits: number[] = [];
        const startedAt = performance.now();
        const answer = ask({ sql: bomb.sql, request: { search: bomb.search ?? '' } })
          .catch((error: unknown) => ({ status: 0, text: String(error) })) // Cut off: as good as an error.
          .finally(() => {
            over = true;
          });
        while (!over) {
          const askedAt = performance.now();
          const result = await reader.query({
            query: 'SELECT count() FROM immutable.events',
            format: 'TabSeparated',
          });
          expect(await result.text()).toBe(`${2 * EVENTS_A_WORKSPACE}\n`);
          waits.push(performance.now() - askedAt);
          await Promise.race([answer, new Promise((resolve) => setTimeout(resolve, 100))]);
        }
        await reader.close();
        const { status, text } = await answer;
        expect(text.slice(-2000)).toMatch(bomb.harmless ? /DB::Exception|^1\n$/ : /DB::Exception|terminated/);
        expect(performance.now() - startedAt).toBeLessThan(bomb.withinMs);
        expect(Math.max(...waits)).toBeLessThan(5_000);
        expect([0, 200, 400, 404, 408, 413, 500]).toContain(status);
        expect(await own('SELECT 1')).toBe('1\n');
      },
      120_000,
    );

    test('what one workspace asked, another is not answered from a cache', async () => {
      if (kind === 'server') return; // Its caches know its users; here all of ours are one to the engine.
      const bee = connectClickHouse(otherAnalystUrl());
      const question = `SELECT countIf(actor_name LIKE '${SECRET}%') FROM audit_events WHERE metadata['note'] = '${SECRET}' OR actor_name LIKE '%7'`;
      for (let time = 0; time < 3; time++) {
        const result = await bee.query({ query: question, format: 'TabSeparated' });
        expect(await result.text()).toBe(`${EVENTS_A_WORKSPACE}\n`);
        expect(await own(question)).toBe('0\n');
      }
      await bee.close();
    });

    test("nobody else's query is replaced or killed", async () => {
      const victims = kind === 'embedded' ? [target.readerUrl, otherAnalystUrl()] : [target.readerUrl];
      for (const url of victims) {
        const victim = connectClickHouse(url);
        const long = victim.query({
          query: 'SELECT count() FROM numbers(2e9) WHERE number % 7 = 3',
          query_id: 'of-somebody-else',
          format: 'TabSeparated',
        });
        await new Promise((resolve) => setTimeout(resolve, 200));
        const replacing = await ask({
          sql: 'SELECT 1',
          request: { search: 'query_id=of-somebody-else&replace_running_query=1' },
        });
        expect(replacing.text).toMatch(/DB::Exception|^1\n$/);
        for (const sync of ['', ' SYNC', ' ASYNC']) {
          const sql = `KILL QUERY WHERE query_id = 'of-somebody-else'${sync}`;
          expect((await ask({ sql })).text).toMatch(/^$|DB::Exception/);
        }
        expect(await (await long).text()).toBe('285714286\n');
        await victim.close();
      }
    });
  });
}

interface AnchorDay {
  batch: string;
  status: string;
  reason: string;
  workspaces: readonly string[];
}

async function insertAnchors(admin: ClickHouseClient, days: readonly AnchorDay[]): Promise<void> {
  const batches = days.map(({ batch, status, reason }) => ({ id: batch, status, reason, version: 1 }));
  const rows = days.flatMap(({ batch, workspaces }, day) =>
    workspaces.map((workspaceId) => ({
      id: `anc_${batch}_${workspaceId}`,
      workspace_id: workspaceId,
      batch_id: batch,
      period_end: `2026-03-1${day} 00:00:00.000000`,
      size: day + 1,
      checkpoint: workspaceId === OTHER_WORKSPACE ? SECRET : 'plain',
    })),
  );
  await admin.insert({ table: 'immutable.anchor_batches', values: batches, format: 'JSONEachRow' });
  await admin.insert({ table: 'immutable.anchors', values: rows, format: 'JSONEachRow' });
}

/** What many attempts try to write. */
const NEVER = '/tmp/immutable-never';

const HARMLESS_TABLE_FUNCTIONS = new Set([
  'generateRandom',
  'generateSeries',
  'generate_series',
  'null',
  'numbers',
  'numbers_mt',
  'primes',
  'SQLStandardValues',
  'values',
  'zeros',
  'zeros_mt',
]);

function titleOf({ sql, request = {} }: Attempt): string {
  const { body: _body, ...rest } = request;
  const shown = JSON.stringify({
    ...rest,
    body: request.body instanceof Uint8Array ? [...request.body] : undefined,
  });
  return `${JSON.stringify(sql.slice(0, 160))} ${shown === '{}' ? '' : shown}`;
}
