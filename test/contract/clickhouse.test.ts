import { execFile } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { ClickHouseError, createClient } from '@clickhouse/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { chdbSpec } from '../../infra/chdb/spec.ts';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts';

/** What services, `@clickhouse/client` and curl expect of ClickHouse's HTTP interface. */
let server: TestClickHouse;
let admin: ClickHouseClient;
let writer: ClickHouseClient;
let reader: ClickHouseClient;
let analyst: ClickHouseClient;

beforeAll(async () => {
  server = await startTestClickHouse();
  admin = connectClickHouse(server.adminUrl);
  writer = connectClickHouse(server.writerUrl);
  reader = connectClickHouse(server.readerUrl);
  analyst = connectClickHouse(server.analystUrl);
  await admin.command({
    query: `CREATE TABLE immutable.t (a UInt64, b String, c Nullable(String)) ENGINE = MergeTree ORDER BY a
            SETTINGS non_replicated_deduplication_window = 100`,
  });
});

afterAll(async () => {
  await Promise.all([admin, writer, reader, analyst].map((client) => client?.close()));
  await server?.stop();
});

async function value(
  client: ClickHouseClient,
  query: string,
  params: Record<string, unknown> = {},
): Promise<unknown> {
  const result = await client.query({ query, query_params: params, format: 'JSONCompactEachRow' });
  const [row] = await result.json<unknown[]>();
  return row?.[0];
}

/** Host and path without credentials, and the header that carries them. */
function raw(url: string): { base: string; headers: Record<string, string> } {
  const { username, password, origin } = new URL(url);
  return {
    base: origin,
    headers: { Authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}` },
  };
}

async function post(
  query: string,
  {
    url = server.adminUrl,
    search = '',
    body,
    headers = {},
  }: {
    url?: string;
    search?: string;
    body?: string | Uint8Array<ArrayBuffer> | ArrayBuffer;
    headers?: Record<string, string>;
  } = {},
): Promise<{ status: number; text: string; headers: Headers }> {
  const { base, headers: auth } = raw(url);
  const target =
    body === undefined ? `${base}/?${search}` : `${base}/?query=${encodeURIComponent(query)}&${search}`;
  const response = await fetch(target, {
    method: 'POST',
    headers: { ...auth, ...headers },
    body: body ?? query,
  });
  return { status: response.status, text: await response.text(), headers: response.headers };
}

describe('queries', () => {
  test('parameters arrive as they were given, whatever they hold', async () => {
    const awkward = [
      '',
      'a\tb\nc\r\\d\'e"f`g',
      'ünïcødé 🙂',
      '\\N',
      'x\\',
      "'; SELECT 2; --",
      '\u0000nul',
      '{a:String}',
    ];
    for (const text of awkward) {
      expect(await value(reader, 'SELECT {text:String}', { text })).toBe(text);
    }
    expect(await value(reader, 'SELECT {list:Array(String)}', { list: awkward })).toEqual(awkward);
    expect(await value(reader, 'SELECT {n:Nullable(String)}', { n: null })).toBe(null);
    expect(await value(reader, 'SELECT {n:Int64} + {m:UInt8}', { n: -5, m: 6 })).toBe(1);
    expect(await value(reader, 'SELECT {d:DateTime64(6)}', { d: '2026-03-15 14:32:18.847312' })).toBe(
      '2026-03-15T14:32:18.847312Z',
    );
    expect(await value(reader, 'SELECT count() FROM immutable.{t:Identifier}', { t: 'boundaries' })).toBe(0);
  });

  test('a missing parameter is an error even after a request that gave it', async () => {
    expect(await value(reader, 'SELECT {left_over:String}', { left_over: 'x' })).toBe('x');
    await expect(value(reader, 'SELECT {left_over:String}')).rejects.toMatchObject({ code: '456' });
    for (const query of [
      'EXPLAIN SYNTAX SELECT {left_over:String}',
      'DESCRIBE (SELECT {left_over:String})',
    ]) {
      const answer = await post(query, { url: server.readerUrl });
      expect(answer.headers.get('x-clickhouse-exception-code'), query).toBe('456');
      expect((await post(query, { url: server.readerUrl, search: 'param_left_over=y' })).status).toBe(200);
    }
  });

  test('a view may have parameters of its own, which no earlier request gives', async () => {
    await post('CREATE VIEW immutable.with_parameter AS SELECT {left_over:String} AS a');
    await post('SELECT {left_over:String}', { search: 'param_left_over=secret' });
    expect((await post("SELECT * FROM immutable.with_parameter(left_over = 'x')")).text).toBe('x\n');
    expect((await post('SELECT * FROM immutable.with_parameter')).text).not.toContain('secret');
    await post('DROP VIEW immutable.with_parameter');
  });

  test('parameters too long for a URL come as a form', async () => {
    const list = Array.from({ length: 20_000 }, () => randomUUID());
    const result = await reader.query({
      query: 'SELECT length({list:Array(String)}) AS n',
      query_params: { list },
      format: 'JSONEachRow',
      use_multipart_params: true,
    });
    expect(await result.json()).toEqual([{ n: 20_000 }]);
    expect(await value(reader, 'SELECT length({list:Array(String)})', { list: list.slice(0, 5_000) })).toBe(
      5_000,
    );
  });

  test('a statement may be as long as max_query_size says, up to 16 MiB', async () => {
    for (const length of [300_000, 1_000_000, 8_000_000]) {
      const query = `SELECT length('${'x'.repeat(length)}')`;
      for (const url of [server.readerUrl, server.analystUrl]) {
        const tooLong = await post(query, { url });
        expect(tooLong.status).toBe(413);
        expect(tooLong.text).toContain('max_query_size');
        const answer = await post(query, { url, search: 'max_query_size=10000000' });
        expect(answer.text.slice(0, 200)).toBe(`${length}\n`);
      }
    }
    const list = Array.from({ length: 40_000 }, (_, index) => `'user_${index}'`).join(', ');
    const inList = await post(`SELECT 'user_39999' IN (${list})`, {
      url: server.analystUrl,
      search: 'max_query_size=1000000',
    });
    expect(inList.text.slice(0, 200)).toBe('1\n');
    const above = await post(`SELECT length('${'x'.repeat(17 * 1024 ** 2)}')`, {
      search: `max_query_size=${64 * 1024 ** 2}`,
    });
    expect(above.status).toBe(413);
    expect(above.text).toContain(`${16 * 1024 ** 2} bytes`);
  });

  test('settings hold for their own request only', async () => {
    const asked = "SELECT getSetting('max_block_size')";
    const result = await reader.query({
      query: asked,
      format: 'JSONCompactEachRow',
      clickhouse_settings: { max_block_size: '1234' },
    });
    expect(await result.json()).toEqual([[1234]]);
    for (let again = 0; again < 8; again++) expect(await value(reader, asked)).not.toBe(1234);
    await expect(
      reader.query({
        query: 'SELECT 1',
        clickhouse_settings: { no_such_setting: 1 } as Record<string, number>,
      }),
    ).rejects.toMatchObject({ code: '115', type: 'UNKNOWN_SETTING' });
    expect(await value(reader, 'SELECT 1')).toBe(1);
  });

  test.each(['readonly=1', 'readonly=2', 'allow_ddl=0'])(
    '%s, which cannot be taken back, holds for its own request only',
    async (search) => {
      const insert = { url: server.writerUrl, body: '7000001\tx\n' };
      for (let time = 0; time < 3; time++) {
        expect((await post('SELECT 1', { url: server.writerUrl, search })).text).toBe('1\n');
        expect((await post('INSERT INTO immutable.t (a, b) FORMAT TSV', insert)).text).toBe('');
      }
      const readOnly = await post('INSERT INTO immutable.t (a, b) FORMAT TSV', { ...insert, search });
      expect(readOnly.status === 200).toBe(search === 'allow_ddl=0');
      await post('SELECT 1', { url: server.analystUrl, search });
      for (const query of [
        "SELECT getSetting('readonly')",
        "SELECT getSetting('readonly') SETTINGS readonly = 2",
      ])
        expect((await post(query, { url: server.analystUrl })).text).toBe('2\n');
      await post('SELECT 1 SETTINGS readonly = 1', { url: server.writerUrl });
      expect((await post('INSERT INTO immutable.t (a, b) FORMAT TSV', insert)).text).toBe('');
    },
  );

  test.each([
    ['profile', "SELECT 1 SETTINGS profile = 'writer'", ''],
    ['profile', "SELECT 1 SETTINGS max_threads = 1, `profile` = 'writer' FORMAT TSV", ''],
    ['profile', "SELECT * FROM (SELECT 1 SETTINGS profile = 'writer')", ''],
    ['profile', "SELECT 1 FORMAT TSV SETTINGS profile = 'writer'", ''],
    ['profile', "EXPLAIN SELECT 1 SETTINGS profile = 'writer'", ''],
    ['profile', "INSERT INTO immutable.t SETTINGS profile = 'writer' VALUES (1, '', '')", ''],
    ['log_comment', "SELECT 1 SETTINGS log_comment = 'x'", ''],
    ['log_comment', 'SELECT 1', 'log_comment=x'],
    ['param_x', "SELECT 1 SETTINGS param_x = 'x'", ''],
  ])('%s is refused: %s %s', async (name, query, search) => {
    for (const url of [server.adminUrl, server.writerUrl, server.readerUrl]) {
      const answer = await post(query, { url, search });
      expect(answer.text, query).toContain('(NOT_IMPLEMENTED)');
      expect(answer.text).toContain(name);
    }
    expect((await post(`SELECT 1 AS ${name}, ${name} = 1`)).text).toBe('1\t1\n');
  });

  test.each([
    'JSON',
    'JSONCompact',
    'JSONEachRow',
    'JSONCompactEachRowWithNamesAndTypes',
    'CSVWithNames',
    'TSV',
    'XML',
    'Pretty',
    'Parquet',
    'Native',
    'ArrowStream',
    'RowBinary',
    'Null',
    'Vertical',
    'Markdown',
  ])('format %s, from the clause, the parameter or the header', async (format) => {
    const query = 'SELECT number AS n, toString(number) AS s FROM numbers(3)';
    const byClause = await post(`${query} FORMAT ${format} SETTINGS output_format_write_statistics = 0`);
    const byParameter = await post(`${query} -- with a comment`, {
      search: `default_format=${format}&output_format_write_statistics=0`,
    });
    const byHeader = await post(`${query};`, {
      headers: { 'X-ClickHouse-Format': format },
      search: 'output_format_write_statistics=0',
    });
    expect(byClause.status).toBe(200);
    expect(byClause.headers.get('x-clickhouse-format')).toBe(format);
    expect(byParameter.text).toBe(byClause.text);
    expect(byHeader.text).toBe(byClause.text);
    if (format !== 'Null') expect(byClause.text.length).toBeGreaterThan(5);
  });

  test('a result of any size streams, row by row', async () => {
    const result = await reader.query({
      query: "SELECT number, repeat('x', 100) FROM numbers(300000)",
      format: 'JSONCompactEachRow',
    });
    let rows = 0;
    for await (const chunk of result.stream()) rows += chunk.length;
    expect(rows).toBe(300_000);
  });

  test('statements other than SELECT answer too', async () => {
    expect((await post('SHOW TABLES FROM immutable')).text).toContain('events\n');
    expect((await post('DESCRIBE TABLE immutable.boundaries FORMAT JSONEachRow')).text).toContain(
      '"workspace_id"',
    );
    expect((await post('EXISTS immutable.events')).text).toBe('1\n');
    expect((await post('EXPLAIN SELECT 1')).text).toContain('ReadFrom');
    expect((await post('(SELECT 1) UNION ALL (SELECT 2)')).text.split('\n').sort().join('')).toBe('12');
    expect((await post('WITH 1 AS x SELECT x /* FORMAT CSV */ FORMAT TSVWithNames')).text).toBe('x\n1\n');
    expect((await post("SELECT 'FORMAT JSON', ';' AS `FORMAT TSV`")).text).toBe('FORMAT JSON\t;\n');
    expect((await post('SELECT count() FROM events', { search: 'database=immutable' })).text).toBe('0\n');
    expect((await post('SET max_threads = 1')).status).toBe(200);
  });

  test('compressed both ways', async () => {
    const client = createClient({ url: server.adminUrl, compression: { request: true, response: true } });
    await client.insert({ table: 'immutable.t', values: [{ a: 900, b: 'zipped' }], format: 'JSONEachRow' });
    const result = await client.query({
      query: 'SELECT b FROM immutable.t WHERE a = 900',
      format: 'JSONEachRow',
    });
    expect(await result.json()).toEqual([{ b: 'zipped' }]);
    await client.close();
    const answer = await post('SELECT number FROM numbers(1000)', {
      search: 'enable_http_compression=1',
      headers: { 'Accept-Encoding': 'gzip' },
    });
    expect(answer.headers.get('content-encoding')).toBe('gzip');
    const plain = await post('SELECT 1', { headers: { 'Accept-Encoding': 'gzip' } });
    expect(plain.headers.get('content-encoding')).toBe(null);
  });

  test('headers say what happened', async () => {
    const answer = await post('INSERT INTO immutable.t (a, b) FORMAT TSV', {
      body: '1000\tx\n1001\ty\n',
      search: 'query_id=my-query',
    });
    expect(answer.headers.get('x-clickhouse-query-id')).toBe('my-query');
    expect(JSON.parse(answer.headers.get('x-clickhouse-summary') ?? '')).toMatchObject({ written_rows: '2' });
    const { query_id } = await reader.query({ query: 'SELECT 1' });
    expect(query_id).toMatch(/^[0-9a-f-]{36}$/);
  });

  test('ready is a query that was answered', async () => {
    const { hostname: host, port } = new URL(server.adminUrl);
    const passwordsFile = join(server.path, '..', 'passwords.json');
    const spec = (file: string) =>
      chdbSpec({ path: server.path, host, port: Number(port), passwordsFile: file });
    expect(await spec(passwordsFile).ready()).toBe(true);
    const wrong = join(server.path, '..', 'wrong.json');
    writeFileSync(
      wrong,
      JSON.stringify({ admin: 'a', writer: 'b', reader: 'c', analyst: 'd', retention: 'e' }),
    );
    expect(await spec(wrong).ready()).toBe(false);
  });

  test('/ping, / and unknown paths', async () => {
    const { base } = raw(server.adminUrl);
    expect(await (await fetch(`${base}/ping`)).text()).toBe('Ok.\n');
    expect(await (await fetch(base)).text()).toBe('Ok.\n');
    expect(await (await fetch(`${base}/replicas_status`)).text()).toBe('Ok.\n');
    expect((await fetch(`${base}/nowhere`)).status).toBe(404);
    expect((await reader.ping({ select: true })).success).toBe(true);
  });

  test('curl, as in every example of the documentation', async () => {
    const { origin, username, password } = new URL(server.readerUrl);
    const curl = async (...args: string[]) => (await promisify(execFile)('curl', ['-sS', ...args])).stdout;
    expect(await curl(`${origin}/?user=${username}&password=${password}&query=SELECT%201`)).toBe('1\n');
    expect(await curl('--user', `${username}:${password}`, origin, '--data-binary', 'SELECT 2')).toBe('2\n');
    expect(
      await curl(
        '-H',
        `X-ClickHouse-User: ${username}`,
        '-H',
        `X-ClickHouse-Key: ${password}`,
        `${origin}/?query=SELECT`,
        '-d',
        '3',
      ),
    ).toBe('3\n');
    expect(
      await curl(
        '--compressed',
        '-u',
        `${username}:${password}`,
        `${origin}/?enable_http_compression=1`,
        '-d',
        'SELECT 4',
      ),
    ).toBe('4\n');
    expect(await curl('-u', `${username}:${password}`, '-I', `${origin}/?query=SELECT%205`)).toContain(
      '200 OK',
    );
  });
});

describe('errors', () => {
  test.each([
    ['SELEC 1', 400, 62, 'SYNTAX_ERROR'],
    ['SELECT 1; SELECT 2', 400, 62, 'SYNTAX_ERROR'],
    ['SELECT nothing', 404, 47, 'UNKNOWN_IDENTIFIER'],
    ['SELECT * FROM nothing', 404, 60, 'UNKNOWN_TABLE'],
    ['SELECT no_such_function()', 404, 46, 'UNKNOWN_FUNCTION'],
    ['SELECT 1 FORMAT Nothing', 404, 73, 'UNKNOWN_FORMAT'],
    ['SELECT throwIf(1)', 500, 395, 'FUNCTION_THROW_IF_VALUE_IS_NON_ZERO'],
    ["SELECT 1 INTO OUTFILE '/tmp/never'", 501, 48, 'NOT_IMPLEMENTED'],
    ["INSERT INTO immutable.t FROM INFILE '/etc/passwd' FORMAT LineAsString", 501, 48, 'NOT_IMPLEMENTED'],
    ['', 400, 62, 'SYNTAX_ERROR'],
  ])('%s', async (query, status, code, type) => {
    const answer = await post(query);
    expect(answer).toMatchObject({ status });
    expect(answer.headers.get('x-clickhouse-exception-code')).toBe(String(code));
    expect(answer.text).toMatch(
      new RegExp(`^Code: ${code}\\. DB::Exception: [\\s\\S]*\\(${type}\\) \\(version [\\d.]+\\)\\n$`),
    );
  });

  test('the client library reads code and type', async () => {
    const error = await reader.query({ query: 'SELECT * FROM missing' }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ClickHouseError);
    expect(error).toMatchObject({ code: '60', type: 'UNKNOWN_TABLE' });
  });

  test('an error in the middle of a stream reaches the client', async () => {
    const query =
      "SELECT throwIf(number = 400000), repeat('x', 100) FROM numbers(500000) SETTINGS max_block_size = 1000, max_threads = 1";
    const result = await reader.query({ query, format: 'JSONCompactEachRow' });
    await expect(
      (async () => {
        for await (const _ of result.stream());
      })(),
    ).rejects.toMatchObject({ type: 'FUNCTION_THROW_IF_VALUE_IS_NON_ZERO' });
    await expect(post(query)).rejects.toThrow('terminated');
    expect((await post(query, { search: 'wait_end_of_query=1' })).status).toBe(500);
    await expect(
      post(query, { search: 'enable_http_compression=1', headers: { 'Accept-Encoding': 'gzip' } }),
    ).rejects.toThrow('terminated');
  });

  test.each([
    ['SELECT 1', `default_format=${encodeURIComponent('中')}`],
    ['SELECT 1', 'default_format=TSV%0d%0aX:%20y'],
    ['SELECT 1 FORMAT `中`', ''],
    ['SHOW TABLES', `default_format=${encodeURIComponent('中')}`],
    ['SELECT 1', `query_id=${encodeURIComponent('中')}`],
    ['SELECT 1', 'query_id=a%0ab'],
    ['SELECT 1', `query_id=${'x'.repeat(300)}`],
  ])('a format or query id that no header can carry: %s %s', async (query, search) => {
    const answer = await post(query, { search });
    expect(answer.status).toBe(400);
    expect(answer.text).toContain('(BAD_ARGUMENTS)');
  });

  test('what is not supported says so', async () => {
    for (const search of ['session_id=x', 'decompress=1', 'compress=1', 'role=admin', 'profile=default']) {
      const answer = await post('SELECT 1', { search });
      expect(answer.status).toBe(501);
      expect(answer.text).toContain(search.split('=')[0]);
    }
    expect(
      (
        await post('INSERT INTO immutable.t FORMAT TSV', {
          body: 'x',
          headers: { 'Content-Encoding': 'snappy' },
        })
      ).text,
    ).toContain('(UNKNOWN_COMPRESSION_METHOD)');
    for (const name of ['constructor', 'toString', '__proto__']) {
      const answer = await post('SELECT 1', { headers: { 'Content-Encoding': name } });
      expect(answer.text, name).toContain('(UNKNOWN_COMPRESSION_METHOD)');
    }
    expect(
      (
        await post('INSERT INTO immutable.t FORMAT TSV', {
          body: 'x',
          headers: { 'Content-Encoding': 'gzip' },
        })
      ).text,
    ).toContain('(CANNOT_DECOMPRESS)');
  });
});

describe('inserts', () => {
  async function count(from: number, to: number): Promise<unknown> {
    return value(reader, 'SELECT count() FROM immutable.t WHERE a BETWEEN {from:UInt64} AND {to:UInt64}', {
      from,
      to,
    });
  }

  test('by the client library: values, a stream, from a SELECT', async () => {
    await writer.insert({
      table: 'immutable.t',
      values: [
        { a: 1, b: "it's \t \\ \n" },
        { a: 2, b: 'y', c: null },
      ],
      format: 'JSONEachRow',
    });
    await writer.insert({
      table: 'immutable.t',
      columns: ['b', 'a'],
      values: Readable.from([
        ['three', 3],
        ['four', 4],
      ]),
      format: 'JSONCompactEachRow',
    });
    await writer.command({
      query: 'INSERT INTO immutable.t SELECT number + 5, toString(number), NULL FROM numbers(3)',
    });
    await writer.command({
      query: "INSERT INTO immutable.t VALUES (8, 'eight; SELECT 1', NULL), (9, 'n', 'c')",
    });
    expect(await count(1, 9)).toBe(9);
    expect(await value(reader, 'SELECT b FROM immutable.t WHERE a = 1')).toBe("it's \t \\ \n");
    expect(await value(reader, 'SELECT b FROM immutable.t WHERE a = 8')).toBe('eight; SELECT 1');
  });

  test.each([
    'TSV',
    'CSV',
    'JSONEachRow',
    'JSON',
    'JSONColumns',
    'TSKV',
    'Native',
    'RowBinary',
    'RowBinaryWithNamesAndTypes',
    'Parquet',
    'ArrowStream',
    'Arrow',
    'ORC',
    'Values',
    'TSVWithNames',
  ])('in %s', async (format) => {
    const { base, headers } = raw(server.writerUrl);
    const start = 10_000 + Math.floor(Math.random() * 1e9);
    const rows = `SELECT toUInt64(number + ${start}) AS a, concat('x\\n;\\'', toString(number)) AS b, if(number = 1, NULL, 'c')::Nullable(String) AS c FROM numbers(3)`;
    const data = await (
      await fetch(`${base}/?default_format=${format}`, { method: 'POST', headers, body: rows })
    ).arrayBuffer();
    const answer = await post(`INSERT INTO immutable.t (a, b, c) FORMAT ${format}`, {
      url: server.writerUrl,
      body: data,
    });
    expect(answer).toMatchObject({ status: 200, text: '' });
    expect(await count(start, start + 2)).toBe(3);
    expect(await value(reader, 'SELECT b FROM immutable.t WHERE a = {a:UInt64}', { a: start + 2 })).toBe(
      "x\n;'2",
    );
  });

  test('data may follow the query in the body, or in both places, compressed or not', async () => {
    expect(
      (
        await post('INSERT INTO immutable.t (a, b) FORMAT TSV\n2001\tin the body\n', {
          url: server.writerUrl,
        })
      ).status,
    ).toBe(200);
    expect(
      (
        await post('INSERT INTO immutable.t (a, b) FORMAT JSONEachRow {"a":2002,"b":"one line"}', {
          url: server.writerUrl,
        })
      ).status,
    ).toBe(200);
    expect(
      (await post('INSERT INTO immutable.t (a, b) VALUES', { url: server.writerUrl, body: "(2003, 'body')" }))
        .status,
    ).toBe(200);
    expect(
      (
        await post('INSERT INTO immutable.t (a, b) FORMAT CSV', {
          url: server.writerUrl,
          body: gzipSync('2004,"zip\nped"\n'),
          headers: { 'Content-Encoding': 'gzip' },
        })
      ).status,
    ).toBe(200);
    expect(
      (
        await post("INSERT INTO immutable.t (a, b) SETTINGS insert_deduplication_token = 'x' FORMAT TSV", {
          url: server.writerUrl,
          body: '2005\tsettings\n',
        })
      ).status,
    ).toBe(200);
    expect(await count(2001, 2005)).toBe(5);
  });

  test('data are never run as SQL', async () => {
    const before = await value(reader, 'SELECT count() FROM immutable.t');
    const attack = '1\tx\n;\nDROP TABLE immutable.t;\n\n\nSELECT 1; SET ROLE admin;\n';
    expect(
      (await post('INSERT INTO immutable.t (a, b) FORMAT TSV', { url: server.writerUrl, body: attack }))
        .status,
    ).toBe(400);
    expect(
      (
        await post(`INSERT INTO immutable.t (a, b) FORMAT TSV ; DROP TABLE immutable.t`, {
          url: server.writerUrl,
        })
      ).status,
    ).toBe(400);
    expect(await value(reader, 'SELECT count() FROM immutable.t')).toBe(before);
    await post(`INSERT INTO immutable.t (a, b) VALUES (1, 'x'); DROP TABLE immutable.t`);
    expect(await value(reader, 'EXISTS immutable.t')).toBe(1);
    const expression = "INSERT INTO immutable.t (b) VALUES (file('/etc/hostname'))";
    expect((await post(expression, { url: server.writerUrl })).text).toContain('Exception');
  });

  test('a token makes a repeated insert nothing, and a refused one leaves nothing', async () => {
    for (let time = 0; time < 3; time++) {
      await writer.insert({
        table: 'immutable.t',
        values: [{ a: 3001, b: String(time) }],
        format: 'JSONEachRow',
        clickhouse_settings: { insert_deduplication_token: 'token-1' },
      });
    }
    expect(await count(3001, 3001)).toBe(1);
    await writer.insert({
      table: 'immutable.t',
      values: [{ a: 3001, b: 'other' }],
      format: 'JSONEachRow',
      clickhouse_settings: { insert_deduplication_token: 'token-2' },
    });
    expect(await count(3001, 3001)).toBe(2);
    const bad = `${Array.from({ length: 5_000 }, (_, i) => `${4000 + i}\tx`).join('\n')}\nnot a number\tx\n`;
    const refused = await post('INSERT INTO immutable.t (a, b) FORMAT TSV', {
      url: server.writerUrl,
      body: bad,
    });
    expect(refused.status).toBe(400);
    expect(refused.text).not.toContain('/tmp');
    expect(await count(4000, 9_000)).toBe(0);
  });

  test('64 MiB in one piece are one part', async () => {
    await admin.command({
      query:
        'CREATE TABLE immutable.big (a UInt64, b String, c String MATERIALIZED lowerUTF8(b)) ENGINE = MergeTree ORDER BY a SETTINGS fsync_after_insert = 1, fsync_part_directory = 1',
    });
    await admin.command({ query: 'SYSTEM STOP MERGES immutable.big' });
    const filler = randomBytes(600).toString('hex');
    const body = Array.from({ length: 50_000 }, (_, i) => `${i}\t${filler}${i}`).join('\n');
    const answer = await post('INSERT INTO immutable.big (a, b) FORMAT TSV', { url: server.writerUrl, body });
    expect(answer.status).toBe(200);
    const parts = await admin.query({
      query: "SELECT rows FROM system.parts WHERE table = 'big' AND active",
      format: 'JSONCompactEachRow',
    });
    expect(await parts.json()).toEqual([[50_000]]);
    const small = Array.from({ length: 1_000_000 }, (_, i) => i + 1e6).join('\n');
    await post('INSERT INTO immutable.big (a) FORMAT TSV', { url: server.writerUrl, body: small });
    expect(await value(admin, "SELECT count() FROM system.parts WHERE table = 'big' AND active")).toBe(2);
    await admin.command({ query: 'DROP TABLE immutable.big' });
  });

  test('above the largest body: refused', async () => {
    const { base, headers } = raw(server.writerUrl);
    const answer = await fetch(`${base}/?query=${encodeURIComponent('INSERT INTO immutable.t FORMAT TSV')}`, {
      method: 'POST',
      headers: { ...headers, 'Content-Encoding': 'gzip' },
      body: gzipSync(Buffer.alloc(130 * 1024 * 1024)),
    });
    expect(await answer.text()).toContain('(TOO_MANY_BYTES)');
  });
});

describe('side by side', () => {
  const LONG = 'SELECT count() FROM numbers(100000000000) WHERE number % 3 = 1';

  test('a long query, even while it is analysed, delays neither inserts nor other queries', async () => {
    const long = new AbortController();
    const scalar = `SELECT (${LONG})`;
    const running = [scalar, LONG].map((query) =>
      analyst.query({ query, abort_signal: long.signal }).catch((error: unknown) => error),
    );
    await sleep(200);
    const times: number[] = [];
    for (let i = 0; i < 10; i++) {
      const startedAt = performance.now();
      await writer.insert({
        table: 'immutable.t',
        values: [{ a: 5_000_000 + i, b: 'x' }],
        format: 'JSONEachRow',
      });
      await value(reader, 'SELECT 1');
      times.push(performance.now() - startedAt);
    }
    // Not a measure of speed: before results went through pipes, the first of them waited for the long query.
    expect(Math.max(...times)).toBeLessThan(5_000);
    long.abort();
    await Promise.all(running);
  });

  test('a query whose client goes away is cancelled', async () => {
    for (const query of [LONG, "SELECT number, repeat('x', 1000) FROM numbers(100000000000)"]) {
      const leaving = new AbortController();
      const running = analyst
        .query({ query, format: 'JSONEachRow', abort_signal: leaving.signal })
        .then((result) => result.text())
        .catch((error: unknown) => error);
      await sleep(300);
      leaving.abort();
      await running;
      await expect
        .poll(
          () =>
            value(
              admin,
              "SELECT count() FROM system.processes WHERE query LIKE '%100000000000%' AND query NOT LIKE '%system.processes%'",
            ),
          { timeout: 5_000 },
        )
        .toBe(0);
    }
  });

  test('KILL QUERY, and a second query with the same id', async () => {
    const long = analyst.query({ query: LONG, query_id: 'the-long-one' }).catch((error: unknown) => error);
    await sleep(200);
    await expect(analyst.query({ query: 'SELECT 1', query_id: 'the-long-one' })).rejects.toMatchObject({
      code: '216',
    });
    expect((await post("KILL QUERY WHERE query_id = 'the-long-one'", { url: server.readerUrl })).text).toBe(
      '',
    );
    expect(
      (await post("KILL QUERY WHERE query_id = 'the-long-one' SYNC", { url: server.analystUrl })).status,
    ).toBe(200);
    expect(await long).toMatchObject({ code: '394' });
    const replaced = analyst.query({ query: LONG, query_id: 'again' }).catch((error: unknown) => error);
    await sleep(200);
    await analyst.query({
      query: 'SELECT 1',
      query_id: 'again',
      clickhouse_settings: { replace_running_query: 1 },
    });
    expect(await replaced).toMatchObject({ code: '394' });
  });

  test('too many at once: some wait, the rest is told to come back', async () => {
    const { base, headers } = raw(server.analystUrl);
    const statuses = await Promise.all(
      Array.from({ length: 30 }, async () => {
        const response = await fetch(base, { method: 'POST', headers, body: 'SELECT sleep(1)' });
        const text = await response.text();
        if (response.status === 503) expect(text).toContain('(TOO_MANY_SIMULTANEOUS_QUERIES)');
        return response.status;
      }),
    );
    // 2 run and 16 wait; on a busy machine some are done before the last ones come.
    expect(statuses.filter((status) => status === 200).length).toBeGreaterThanOrEqual(18);
    expect(statuses.filter((status) => status === 503).length).toBeGreaterThan(0);
    expect(await value(analyst, 'SELECT 1')).toBe(1);
  });

  test('many short queries at once', async () => {
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, i) => value(reader, 'SELECT {i:UInt32} * 2', { i })),
    );
    expect(answers).toEqual(Array.from({ length: 200 }, (_, i) => i * 2));
  });
});

describe('rights', () => {
  async function denied(url: string, query: string): Promise<void> {
    const answer = await post(query, { url });
    expect(answer.text, query).toMatch(
      /\((ACCESS_DENIED|SETTING_CONSTRAINT_VIOLATION|READONLY|NOT_IMPLEMENTED|UNKNOWN_TABLE)\)/,
    );
    expect(answer.status, query).not.toBe(200);
  }

  test('wrong user or password', async () => {
    const { base } = raw(server.adminUrl);
    for (const [user, password] of [
      ['admin', 'wrong'],
      ['nobody', 'test-admin'],
      ['admin', ''],
      ['', ''],
      ['default', ''],
    ]) {
      const headers = { Authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` };
      const answer = await fetch(base, { method: 'POST', headers, body: 'SELECT 1' });
      expect(answer.status).toBe(403);
      expect(answer.headers.get('x-clickhouse-exception-code')).toBe('516');
    }
    expect((await fetch(base, { method: 'POST', body: 'SELECT 1' })).status).toBe(403);
    expect(
      (await fetch(`${base}/?query=SELECT+1&user=admin&password=test-admin`, raw(server.adminUrl))).status,
    ).toBe(403);
  });

  test.each([
    'ALTER TABLE immutable.t DELETE WHERE 1',
    'DELETE FROM immutable.t WHERE 1',
    "ALTER TABLE immutable.t UPDATE b = '' WHERE 1",
    "UPDATE immutable.t SET b = '' WHERE 1",
    'ALTER TABLE immutable.t DROP PARTITION tuple()',
    'ALTER TABLE immutable.t MODIFY TTL now()',
    'TRUNCATE TABLE immutable.t',
    'DROP TABLE immutable.t',
    'DROP DATABASE immutable',
    'RENAME TABLE immutable.t TO immutable.u',
    'DETACH TABLE immutable.t',
    'OPTIMIZE TABLE immutable.t FINAL',
    'CREATE TABLE immutable.u (a Int8) ENGINE = Memory',
    'CREATE TEMPORARY TABLE u (a Int8)',
    'CREATE OR REPLACE VIEW immutable.audit_events AS SELECT 1',
    'CREATE USER x',
    'GRANT ALL ON *.* TO default',
    'SET ROLE admin; DROP TABLE immutable.t',
    'SYSTEM SHUTDOWN',
    'KILL QUERY WHERE 1',
    'EXECUTE AS default SELECT 1',
    "SELECT * FROM file('/etc/passwd', LineAsString)",
    "SELECT file('/etc/passwd')",
    "INSERT INTO immutable.t (b) SELECT file('/etc/passwd')",
    "INSERT INTO FUNCTION file('/tmp/never', TSV, 'a String') SELECT 'x'",
    "SELECT * FROM url('http://127.0.0.1:1/', LineAsString)",
    "BACKUP TABLE immutable.t TO File('/tmp/never')",
    "SELECT 1 INTO OUTFILE '/tmp/never'",
  ])('the writer may not: %s', async (query) => {
    if (query.startsWith('SET ROLE'))
      return expect((await post(query, { url: server.writerUrl })).status).toBe(400);
    await denied(server.writerUrl, query);
  });

  test('SET ROLE changes nothing', async () => {
    await post('SET ROLE admin', { url: server.analystUrl });
    for (let again = 0; again < 4; again++) {
      expect(await value(analyst, 'SELECT currentRoles()')).toEqual(['analyst']);
    }
  });

  test.each([
    'INSERT INTO immutable.t (a) VALUES (1)',
    'INSERT INTO immutable.t (a) SELECT 1',
    'ALTER TABLE immutable.t DELETE WHERE 1',
    'CREATE TABLE immutable.u (a Int8) ENGINE = Memory',
    "SELECT * FROM file('/etc/passwd', LineAsString)",
    'SELECT * FROM system.processes',
    'SHOW PROCESSLIST',
  ])('neither reader nor analyst may: %s', async (query) => {
    await denied(server.readerUrl, query);
    await denied(server.analystUrl, query);
  });

  test.each([
    'SELECT * FROM immutable.events',
    'SELECT * FROM immutable.t',
    'SELECT * FROM immutable.schema_migrations',
    'DESCRIBE TABLE immutable.events',
    'SHOW CREATE TABLE immutable.events',
    "SELECT file('/etc/passwd')",
    "SELECT `file`('/etc/passwd')",
    "SELECT * APPLY(file) FROM (SELECT '/etc/passwd' AS p)",
    "SELECT * FROM eval('SELECT file(\\'/etc/passwd\\')')",
    'SELECT * FROM system.users',
    'SELECT * FROM system.`processes`',
    'SELECT * FROM "system"."processes"',
    "SELECT * FROM mergeTreeIndex('immutable', 'events')",
    "SELECT * FROM mergeTreeProjection('immutable', 'events', 'positions')",
    "SELECT * FROM url('http://127.0.0.1:1/', LineAsString)",
    "SELECT * FROM s3('http://127.0.0.1:1/bucket/key', 'LineAsString')",
    "SELECT * FROM remote('127.0.0.1', 'immutable', 'events')",
    "SELECT * FROM executable('id', TSV, 'a String')",
    "SELECT 1 SETTINGS output_format_schema = '/tmp/never' FORMAT CapnProto",
    "SELECT 1 SETTINGS format_template_resultset = '/etc/passwd' FORMAT Template",
    'SELECT 1 SETTINGS max_execution_time = 0',
    'SELECT 1 SETTINGS max_memory_usage = 0',
    'SELECT 1 SETTINGS readonly = 0',
    'SELECT 1 SETTINGS readonly = DEFAULT',
    'SELECT 1 SETTINGS max_execution_time = DEFAULT',
    'SELECT 1 SETTINGS max_memory_usage = DEFAULT, max_threads = 1',
    'SELECT * FROM (SELECT 1 SETTINGS max_threads = 1, max_memory_usage = DEFAULT)',
    "SELECT 1 SETTINGS dialect = 'kusto'",
  ])('the analyst may not: %s', async (query) => {
    await denied(server.analystUrl, query);
  });

  test('what the analyst may', async () => {
    expect(await value(analyst, 'SELECT count() FROM immutable.audit_events')).toBe(0);
    expect(
      await value(
        analyst,
        "SELECT arraySort(groupArray(name)) FROM system.tables WHERE database = 'immutable'",
      ),
    ).toEqual(['audit_anchors', 'audit_chain', 'audit_events']);
    expect(await value(analyst, 'SELECT groupArray(name) FROM system.databases')).not.toContain('system');
    expect(
      await value(analyst, "SELECT groupArray(query) FROM merge('system', '^proc') ").catch(() => 'denied'),
    ).toBe('denied');
    const limited = await post('SELECT * FROM system.{t:Identifier}', {
      url: server.analystUrl,
      search: 'param_t=processes',
    });
    expect(limited.status).toBe(403);
    expect((await post('SELECT 1', { url: server.analystUrl, search: 'readonly=0' })).status).not.toBe(200);
    expect(
      (await post('SELECT 1', { url: server.analystUrl, search: 'max_execution_time=100000' })).status,
    ).not.toBe(200);
    expect(await value(analyst, "SELECT getSetting('max_execution_time')")).toBe(60);
  });

  test('of system, nobody but the admin reads more than a short list of tables', async () => {
    await post('SELECT toUInt8({s:String})', { url: server.readerUrl, search: 'param_s=customer-secret' });
    const names = await admin.query({
      query: "SELECT name FROM system.tables WHERE database = 'system' ORDER BY name",
      format: 'JSONCompactEachRow',
    });
    const readable: string[] = [];
    for (const [name] of await names.json<[string]>()) {
      for (const url of [server.analystUrl, server.readerUrl, server.writerUrl]) {
        const answer = await post(`SELECT * FROM system.${name} LIMIT 1000`, { url });
        expect(answer.text.includes('customer-secret'), name).toBe(false);
        if (answer.status === 200) readable.push(name);
        else expect(answer.text, name).toContain('(ACCESS_DENIED)');
      }
    }
    expect([...new Set(readable)]).toEqual(SYSTEM_TABLES);
  });

  const SYSTEM_TABLES = [
    'aggregate_function_combinators',
    'build_options',
    'codecs',
    'collations',
    'columns',
    'data_type_families',
    'database_engines',
    'databases',
    'formats',
    'functions',
    'keywords',
    'merge_tree_settings',
    'numbers',
    'numbers_mt',
    'one',
    'settings',
    'settings_changes',
    'table_engines',
    'table_functions',
    'tables',
    'time_zones',
    'zeros',
    'zeros_mt',
  ];

  test.each([
    ['SELECT last_error_message FROM system.errors', ''],
    ['SELECT last_error_message FROM `system`."errors"', ''],
    ['SELECT last_error_message FROM `sys\\x74em`.errors', ''],
    ['SELECT last_error_message FROM system . /* one */ errors', ''],
    ['SELECT last_error_message FROM system.{t:Identifier}', 'param_t=errors'],
    ['SELECT last_error_message FROM {d:Identifier}.errors', 'param_d=system'],
    ['SELECT last_error_message FROM {d:Identifier}.{t:Identifier}', 'param_d=system&param_t=errors'],
    ['SELECT last_error_message FROM {t:Identifier}', 'param_t=system.errors'],
    ["SELECT '{d:Identifier}', last_error_message FROM system.errors", "param_d='"],
    ['SELECT last_error_message FROM errors', 'database=system'],
    ["SELECT last_error_message FROM merge('system', '^errors$')", ''],
    ["SELECT last_error_message FROM merge('sys' || 'tem', '^errors$')", ''],
    ["SELECT last_error_message FROM loop('system', 'errors')", ''],
    ["SELECT last_error_message FROM cluster('default', 'system', 'errors')", ''],
    ["SELECT last_error_message FROM remote('127.0.0.1', 'system.errors')", ''],
    ["SELECT last_error_message FROM remote('127.0.0.1', system, errors)", ''],
    ["SELECT last_error_message FROM remote('127.0.0.1', system.errors)", ''],
    ['SELECT * FROM view(SELECT last_error_message FROM system.errors)', ''],
    ["SELECT ('a', 1) IN (SELECT last_error_message, code FROM system.errors)", ''],
    ["SELECT ('a', 1) IN system.errors", ''],
    ['EXPLAIN SELECT * FROM system.errors', ''],
    ['DESCRIBE TABLE system.errors', ''],
    ['INSERT INTO immutable.t (b) SELECT last_error_message FROM system.errors', ''],
  ])('no way around that: %s %s', async (query, search) => {
    for (const url of [server.analystUrl, server.readerUrl, server.writerUrl]) {
      const answer = await post(query, { url, search });
      expect(answer.text, url).toContain('(ACCESS_DENIED)');
      expect(answer.status, url).toBe(403);
    }
  });

  test('GET never changes anything', async () => {
    const { base, headers } = raw(server.adminUrl);
    const answer = await fetch(
      `${base}/?query=${encodeURIComponent('INSERT INTO immutable.t (a) SELECT 77')}`,
      { headers },
    );
    expect(await answer.text()).toContain('(READONLY)');
  });
});
