import { createHash } from 'node:crypto';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parquetReadObjects } from 'hyparquet';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { verifyExportFile } from '../../cli/verify/export-file.ts';
import type { EventInput } from '../../core/event.ts';
import { parseExportManifest } from '../../core/export.ts';
import { canonicalJson } from '../../core/json.ts';
import { parseTimestamp } from '../../core/time.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import { CSV_COLUMNS, EVIDENCE_COLUMNS } from '../../query/export/format.ts';
import { createExportSource } from '../../query/export/source.ts';
import { openApiDocument } from '../../query/openapi/document.ts';
import {
  type ExportApi,
  type ExportProcess,
  type ExportWorld,
  ended,
  SMALL_PARTS,
  startExportApi,
  startExportProcess,
  startExportWorld,
} from '../support/exports.ts';
import { answerChecker } from '../support/openapi.ts';
import {
  chainEvents,
  headOf,
  insertSeeded,
  randomFrom,
  type SeededEvent,
  variedEvents,
} from '../support/seed.ts';

const WORKSPACE = 'ws_00000000000000a1';
const OTHER = 'ws_00000000000000b2';
const EMPTY = 'ws_00000000000000e0';
const HOSTILE = 'ws_00000000000000f0';

const differences = answerChecker(openApiDocument());

let world: ExportWorld;
let worker: ExportProcess;
let api: ExportApi;
let events: SeededEvent[];
let hostile: SeededEvent[];

beforeAll(async () => {
  world = await startExportWorld();
  events = chainEvents(WORKSPACE, variedEvents(1_230, randomFrom(1)), { random: randomFrom(2) });
  await insertSeeded(world.writer, events);
  await insertSeeded(world.writer, chainEvents(OTHER, variedEvents(50, randomFrom(3))));
  hostile = chainEvents(HOSTILE, hostileEvents());
  await insertSeeded(world.writer, hostile);
});

afterAll(async () => {
  await world?.stop();
});

beforeEach(async () => {
  worker = await startExportProcess(world);
  api = await startExportApi(worker.jobs, world.store);
});

afterEach(async () => {
  await api?.stop();
  await worker?.stop();
});

const FORMULAS = [
  '=1+1',
  '+1',
  '-1',
  '@SUM(A1)',
  '\t=1',
  '\r=1',
  '\n=1',
  ' =1',
  '"=1',
  "'=1",
  '\u00a0=1',
  '\u200b=1',
  '＝1+1',
  '＋1',
  '－1',
  '＠x',
  '\ttext',
  "'\ttext",
];
const PLAIN = [
  'a=1',
  '1-2',
  "'quoted'",
  'comma, and "quotes"',
  'two\r\nlines',
  'Zoë',
  '李 小龙',
  '/=',
  '.5',
  '\\',
];

function* hostileEvents(): Generator<EventInput> {
  for (const text of [...FORMULAS, ...PLAIN]) {
    yield {
      actor_id: text,
      actor_name: text,
      action: text,
      resource_name: text,
      user_agent: text,
      tenant_id: text,
      metadata: { text },
      targets: [{ type: text, name: text }],
    };
  }
  yield {
    actor_id: 'numbers',
    actor_name: 'Numa',
    action: 'numbers.recorded',
    metadata: {
      // Canonical JSON writes these as integers that no 64 bits hold.
      big: 123456789012345680000,
      list: [1e20, -1e20, -9.3e18, 5, 1e21],
      text: 'in a text:100000000000000000000, [100000000000000000000] "',
    },
  };
}

async function make(workspaceId: string, body?: unknown) {
  const created = await api.as(workspaceId, 'POST', '/exports', body);
  expect(created.status, created.bytes.toString()).toBe(202);
  expect(created.json.data).toEqual({ id: expect.stringMatching(/^exp_[0-9a-f]{16}$/), status: 'pending' });
  const shown = await ended(api, workspaceId, created.json.data.id);
  expect(shown.error_message).toBeNull();
  expect(shown).toMatchObject({ status: 'completed', progress: 100 });
  const file = await api.call(null, 'GET', pathOf(shown.download_url));
  expect(file.status).toBe(200);
  const manifest = await api.call(null, 'GET', pathOf(shown.manifest_url));
  return { shown, file, manifest: manifest.json };
}

function pathOf(url: string): string {
  expect(url.startsWith('https://audit.example.com/api/v1/')).toBe(true);
  return url.slice('https://audit.example.com/api/v1'.length);
}

/** RFC 4180, strictly: every line ends in CRLF, every quote is doubled within quotes. */
function parseCsv(text: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  let at = 0;
  while (at < text.length) {
    let cell = '';
    if (text[at] === '"') {
      for (at += 1; ; at += 1) {
        if (text[at] === undefined) throw new Error('a cell does not end');
        if (text[at] !== '"') cell += text[at];
        else if (text[at + 1] === '"') {
          cell += '"';
          at += 1;
        } else break;
      }
      at += 1;
    } else {
      while (at < text.length && !',\r\n"'.includes(text[at]!)) {
        cell += text[at];
        at += 1;
      }
    }
    row.push(cell);
    if (text[at] === ',') at += 1;
    else if (text.startsWith('\r\n', at)) {
      rows.push(row);
      row = [];
      at += 2;
    } else throw new Error(`at ${at}: ${JSON.stringify(text.slice(at, at + 20))}`);
  }
  expect(row).toEqual([]);
  return rows;
}

/** What a row says of a stored event, made from the event itself. */
function expectedRow({ event, ...stored }: SeededEvent): Record<string, unknown> {
  return {
    id: event.id,
    created_at: stored.createdAt,
    occurred_at: event.occurred_at,
    actor_id: event.actor_id,
    actor_name: event.actor_name ?? null,
    actor_type: event.actor_type ?? null,
    action: event.action,
    action_category: event.action_category ?? null,
    resource: event.resource ?? null,
    resource_id: event.resource_id ?? null,
    resource_name: event.resource_name ?? null,
    tenant_id: event.tenant_id ?? null,
    session_id: event.session_id ?? null,
    ip_address: event.ip_address ?? null,
    ip_country: event.ip_country ?? null,
    ip_city: event.ip_city ?? null,
    user_agent: event.user_agent ?? null,
    version: event.version ?? null,
    idempotency_key: event.idempotency_key ?? null,
    targets: JSON.parse(canonicalJson(event.targets ?? [])),
    metadata: event.metadata === undefined ? null : JSON.parse(canonicalJson(event.metadata)),
    seq: stored.seq,
    event_hash: stored.eventHash,
    previous_event_hash: stored.previousEventHash || null,
    body: stored.body,
    private: stored.private,
    salt: stored.salt,
  };
}

const FORMULA = /^[\p{Z}\p{C}'"]*[\t\r\n=+@\-＝＋－＠]/u;

/** The documented way back. */
function unprotected(cell: string): string {
  return cell.startsWith("'") && FORMULA.test(cell.slice(1)) ? cell.slice(1) : cell;
}

function fromCsv(cells: string[]): Record<string, unknown> {
  const row: Record<string, unknown> = Object.fromEntries(
    CSV_COLUMNS.map((name, index) => [name, unprotected(cells[index]!) || null]),
  );
  for (const name of ['seq', 'version']) row[name] = row[name] === null ? null : Number(row[name]);
  for (const name of ['targets', 'metadata'])
    row[name] = row[name] === null ? null : JSON.parse(String(row[name]));
  return row;
}

function withoutEvidence(row: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(row).filter(([name]) => CSV_COLUMNS.some((column) => column === name)),
  );
}

function linesOf(bytes: Buffer): Record<string, unknown>[] {
  const text = bytes.toString();
  expect(text === '' || text.endsWith('\n')).toBe(true);
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));
}

async function parquetRows(bytes: Buffer): Promise<Record<string, unknown>[]> {
  const rows = await parquetReadObjects({ file: new Uint8Array(bytes).buffer });
  return rows.map((row) => ({
    ...row,
    created_at: timeOf(row.created_at),
    occurred_at: timeOf(row.occurred_at),
    seq: Number(row.seq),
    targets: JSON.parse(row.targets),
    metadata: row.metadata === null ? null : JSON.parse(row.metadata),
  }));
}

/** hyparquet reads times as Date, which ends at milliseconds. */
function timeOf(value: unknown): string {
  return value instanceof Date ? value.toISOString() : String(value);
}

function toMillis(row: Record<string, unknown>): Record<string, unknown> {
  const cut = (time: unknown) => new Date(Math.floor(parseTimestamp(String(time))! / 1000)).toISOString();
  return { ...row, created_at: cut(row.created_at), occurred_at: cut(row.occurred_at) };
}

describe('a file', () => {
  test('of CSV holds every event, in the order of the chain and the columns of the contract', async () => {
    const { shown, file, manifest } = await make(WORKSPACE);
    const [header, ...rows] = parseCsv(file.bytes.toString());
    expect(header).toEqual([...CSV_COLUMNS]);
    expect(rows.map(fromCsv)).toEqual(events.map(expectedRow).map(withoutEvidence));
    expect(file.headers.get('content-type')).toContain('text/csv');
    expect(file.headers.get('content-disposition')).toBe(`attachment; filename="immutable-${shown.id}.csv"`);
    expect(file.headers.get('content-length')).toBe(String(file.bytes.length));
    const head = await api.call(null, 'HEAD', pathOf(shown.download_url));
    expect(head.status).toBe(200);
    expect(head.headers.get('content-length')).toBe(String(file.bytes.length));
    expect(head.bytes.length).toBe(0);
    expect(shown).toMatchObject({ total_rows: events.length, file_size: file.bytes.length, filters: {} });
    expect(manifest).toEqual({
      version: 'immutable/export/v1',
      export_id: shown.id,
      workspace_id: WORKSPACE,
      created_at: shown.created_at,
      file_name: `immutable-${shown.id}.csv`,
      format: 'csv',
      columns: [...CSV_COLUMNS],
      filters: {},
      complete: true,
      rows: events.length,
      file_size: file.bytes.length,
      sha256: createHash('sha256').update(file.bytes).digest('hex'),
      first: { seq: 1, event_hash: events[0]!.eventHash, previous_event_hash: null },
      last: {
        seq: events.length,
        event_hash: events.at(-1)!.eventHash,
        previous_event_hash: events.at(-1)!.previousEventHash,
      },
      checkpoint: null,
      inclusion: null,
    });
  });

  test('has the same parts wherever each is guessed to end', async () => {
    const source = createExportSource(world.reader);
    const filter = { filters: {}, from: undefined, to: undefined };
    const stretch = { after: events[0]!.createdAtMicros - 1, through: events.at(-1)!.createdAtMicros };
    const plan = (guess?: number) => source.plan(WORKSPACE, filter, stretch, SMALL_PARTS.csv, guess);
    const known = await plan();
    expect(known.plan).toMatchObject({ first_seq: 1, is_cut: 1 });
    const { rows } = known.plan;
    for (const guessed of [0, 1, rows - 2, rows - 1, rows, rows + 1, events.length - 1]) {
      expect(await plan(events[guessed]!.createdAtMicros), `at event ${guessed}`).toEqual(known);
    }
    expect(await plan(stretch.after)).toEqual(known);
    expect(await plan(stretch.through + 1)).toEqual(known);
  });

  test('of CSV begins with a byte order mark only if that was asked for', async () => {
    const { file } = await make(WORKSPACE, { bom: true, actor_id: 'nobody' });
    expect(file.bytes.toString()).toBe(`\ufeff${CSV_COLUMNS.join(',')}\r\n`);
    expect((await make(EMPTY)).file.bytes.toString()).toBe(`${CSV_COLUMNS.join(',')}\r\n`);
  });

  test('of NDJSON carries the texts that were hashed', async () => {
    const { file, manifest } = await make(WORKSPACE, { format: 'ndjson' });
    expect(linesOf(file.bytes)).toEqual(events.map(expectedRow));
    expect(Object.keys(linesOf(file.bytes)[0]!)).toEqual([...CSV_COLUMNS, ...EVIDENCE_COLUMNS]);
    expect(manifest.sha256).toBe(createHash('sha256').update(file.bytes).digest('hex'));
    expect((await make(EMPTY, { format: 'ndjson' })).file.bytes.length).toBe(0);
  });

  test('of Parquet is one file of several row groups, for hyparquet and for ClickHouse', async () => {
    const { file, manifest } = await make(WORKSPACE, { format: 'parquet' });
    const rows = await parquetRows(file.bytes);
    expect(rows).toEqual(events.map(expectedRow).map(toMillis));
    expect(manifest.sha256).toBe(createHash('sha256').update(file.bytes).digest('hex'));

    const admin = new URL(world.clickhouse.adminUrl);
    const ask = async (query: string, data?: Buffer) => {
      const url = `${admin.origin}/?${new URLSearchParams(data === undefined ? {} : { query })}`;
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'x-clickhouse-user': admin.username, 'x-clickhouse-key': admin.password },
        body: data === undefined ? query : new Uint8Array(data),
      });
      const text = await response.text();
      expect(response.status, text).toBe(200);
      return text.trim();
    };
    await ask(`CREATE TABLE default.back (id String, created_at DateTime64(6, 'UTC'), seq UInt64, version Nullable(Int32),
      actor_name Nullable(String), body String, private String, salt String, event_hash String) ENGINE = MergeTree ORDER BY seq`);
    await ask('INSERT INTO default.back FORMAT Parquet', file.bytes);
    const equal =
      await ask(`SELECT count() FROM default.back AS b INNER JOIN ${TABLES.events} AS e ON b.seq = e.seq
      WHERE e.workspace_id = '${WORKSPACE}' AND b.id = e.id AND b.created_at = e.created_at AND b.body = e.body
        AND b.private = e.private AND b.salt = e.salt AND b.event_hash = lower(hex(e.event_hash))
        AND ifNull(b.actor_name, '') = e.actor_name AND b.version IS NOT DISTINCT FROM e.version`);
    expect(equal).toBe(String(events.length));
    await ask('DROP TABLE default.back');
  });

  test('of Parquet without rows has its columns', async () => {
    const { file } = await make(EMPTY, { format: 'parquet' });
    expect(await parquetRows(file.bytes)).toEqual([]);
    const { file: one } = await make(WORKSPACE, { format: 'parquet', to: events[0]!.createdAt });
    expect(await parquetRows(one.bytes)).toHaveLength(1);
  });

  test('of CSV runs no formula, and gives every text back', async () => {
    const { file } = await make(HOSTILE);
    const [, ...rows] = parseCsv(file.bytes.toString());
    const dangerous = rows.flat().filter((cell) => /^[\p{Z}\p{C}"]*[\t\r\n=+@\-＝＋－＠]/u.test(cell));
    expect(dangerous).toEqual([]);
    expect(rows.map(fromCsv)).toEqual(hostile.map(expectedRow).map(withoutEvidence));
    const names = rows.map((row) => row[CSV_COLUMNS.indexOf('actor_name')]);
    expect(names.slice(0, FORMULAS.length)).toEqual(FORMULAS.map((text) => `'${text}`));
    expect(names.slice(FORMULAS.length, -1)).toEqual(PLAIN);
  });

  test('keeps numbers that no integer of 64 bits holds, and what stands beside them', async () => {
    const { file } = await make(HOSTILE, { format: 'ndjson' });
    expect(linesOf(file.bytes)).toEqual(hostile.map(expectedRow));
    const { file: parquet } = await make(HOSTILE, { format: 'parquet' });
    expect(await parquetRows(parquet.bytes)).toEqual(hostile.map(expectedRow).map(toMillis));
  });
});

/** Until a log signs it, nobody vouches for a file; all else must hold. */
describe('a file is sound to whoever verifies it', () => {
  test.each(
    ['ndjson', 'parquet', 'csv'].flatMap((format) =>
      [WORKSPACE, HOSTILE, EMPTY].map((workspace) => ({ format, workspace })),
    ),
  )('in $format, of $workspace', async ({ format, workspace }) => {
    const { file, manifest } = await make(workspace, { format });
    const path = join(world.folder, `verified.${format}`);
    writeFileSync(path, file.bytes);
    const parsed = parseExportManifest(JSON.stringify(manifest));
    const report = await verifyExportFile(path, parsed, { verifierKeys: [] }, () => {});
    expect(report.rows).toBe(manifest.rows);
    const open = report.checks.filter(({ outcome }) => outcome === 'failed' || outcome === 'unknown_signer');
    expect(open.map(({ name }) => name)).toEqual(format === 'csv' ? ['cells', 'checkpoint'] : ['checkpoint']);
  });
});

describe('filters', () => {
  test('leave out what does not match, and then no completeness is claimed', async () => {
    const { shown, file, manifest } = await make(WORKSPACE, {
      action: '*.deleted',
      resource: 'document',
      search: null,
      tenant_id: '',
      format: 'ndjson',
    });
    const wanted = events.filter(
      ({ event }) => event.action.endsWith('.deleted') && event.resource === 'document',
    );
    expect(wanted.length).toBeGreaterThan(20);
    expect(linesOf(file.bytes)).toEqual(wanted.map(expectedRow));
    expect(shown.filters).toEqual({ action: '*.deleted', resource: 'document' });
    expect(manifest).toMatchObject({
      complete: false,
      rows: wanted.length,
      first: { seq: wanted[0]!.seq, event_hash: wanted[0]!.eventHash },
      last: { seq: wanted.at(-1)!.seq, previous_event_hash: wanted.at(-1)!.previousEventHash },
    });
  });

  test('of time alone make a complete piece of the chain, ends included', async () => {
    const [first, last] = [events[100]!, events[477]!];
    const { file, manifest } = await make(WORKSPACE, {
      format: 'ndjson',
      from: first.createdAt,
      to: last.createdAt,
    });
    expect(linesOf(file.bytes)).toEqual(events.slice(100, 478).map(expectedRow));
    expect(manifest).toMatchObject({ complete: true, rows: 378, first: { seq: 101 }, last: { seq: 478 } });
  });

  test('that match nothing for long are looked at window by window', async () => {
    const { manifest } = await make(WORKSPACE, { session_id: 'sess_never' });
    expect(manifest).toMatchObject({ rows: 0, first: null, last: null, complete: false });
  });

  test('that make no sense are all named, and members that do not exist are said to be ignored', async () => {
    const refused = await api.as(WORKSPACE, 'POST', '/exports', {
      from: 'yesterday',
      actor_id: 7,
      search: 'x'.repeat(1025),
      format: 'xlsx',
      bom: 'yes',
    });
    expect(refused.status).toBe(422);
    expect(refused.json.violations.map(({ path }: { path: string }) => path).sort()).toEqual([
      'actor_id',
      'bom',
      'format',
      'from',
      'search',
    ]);
    for (const body of ['{', '"text"', '[1]', 'null', '\xff']) {
      expect((await api.as(WORKSPACE, 'POST', '/exports', body)).status, body).toBe(400);
    }
    expect((await api.as(WORKSPACE, 'POST', '/exports', `{"search":"${'x'.repeat(20_000)}"}`)).status).toBe(
      413,
    );
    const warned = await api.as(WORKSPACE, 'POST', '/exports', { actor: 'x', to: '2020-01-01T00:00:00Z' });
    expect(warned.json.warnings).toEqual(["unknown member 'actor' was ignored"]);
    for (const body of ['', '[]', '{}']) {
      expect((await api.as(EMPTY, 'POST', '/exports', body)).status, body).toBe(202);
    }
  });
});

describe('events that arrive meanwhile', () => {
  test('are no part of an export that has begun', async () => {
    const growing = 'ws_00000000000000c3';
    let stored = chainEvents(growing, variedEvents(700, randomFrom(5)));
    await insertSeeded(world.writer, stored);
    const created = await api.as(growing, 'POST', '/exports', { format: 'ndjson' });
    const id = created.json.data.id;
    for (let round = 0; round < 5; round += 1) {
      const more = chainEvents(growing, variedEvents(40, randomFrom(6)), { head: headOf(stored) });
      stored = [...stored, ...more];
      await insertSeeded(world.writer, more);
    }
    const shown = await ended(api, growing, id);
    const file = await api.call(null, 'GET', pathOf(shown.download_url));
    const rows = linesOf(file.bytes);
    expect(rows).toEqual(stored.slice(0, rows.length).map(expectedRow));
    expect(rows.length).toBeGreaterThanOrEqual(700);
    const { record } = (await worker.jobs.find(id))!;
    expect(record.range!.last_seq).toBe(rows.length);
  });
});

describe('completeness', () => {
  test('is never claimed over a hole: the export fails and says where', async () => {
    const holed = 'ws_00000000000000d4';
    const stored = chainEvents(holed, variedEvents(500, randomFrom(7)));
    await insertSeeded(world.writer, [...stored.slice(0, 250), ...stored.slice(251)]);
    const created = await api.as(holed, 'POST', '/exports');
    const shown = await ended(api, holed, created.json.data.id);
    expect(shown).toMatchObject({ status: 'failed', download_url: null, manifest_url: null });
    const [, from, to] = /between seq (\d+) and (\d+) are missing/.exec(shown.error_message)!;
    expect(Number(from)).toBeLessThanOrEqual(251);
    expect(Number(to)).toBeGreaterThanOrEqual(251);
    expect(Number(to) - Number(from)).toBeLessThanOrEqual(100);
    expect(existsSync(join(world.folder, 'exports', holed))).toBe(false);
    // With a filter nothing is claimed, and the rest can be had.
    const { manifest } = await make(holed, { action: '*' });
    expect(manifest).toMatchObject({ complete: false, rows: 499 });
  });
});

describe('what is left behind', () => {
  test('is the file and its manifest', async () => {
    const { shown } = await make(WORKSPACE, { format: 'parquet' });
    const folder = join(world.folder, 'exports', WORKSPACE, shown.id);
    expect(readdirSync(folder).sort()).toEqual([`immutable-${shown.id}.parquet`, 'manifest.json']);
  });
});

describe('access', () => {
  test('needs the scope read, and ends at the workspace', async () => {
    const { shown } = await make(WORKSPACE, { actor_id: 'user_1' });
    for (const [method, path] of [
      ['POST', '/exports'],
      ['GET', '/exports'],
      ['GET', `/exports/${shown.id}`],
    ] as const) {
      expect((await api.call(null, method, path)).status).toBe(401);
      expect((await api.call('imk_unknown', method, path)).status).toBe(401);
      expect((await api.call(api.addKey(WORKSPACE, ['ingest', 'manage']), method, path)).status).toBe(403);
      expect((await api.call(api.addKey(null, ['operator']), method, path)).status).toBe(403);
    }
    const foreign = await api.as(OTHER, 'GET', `/exports/${shown.id}`);
    expect(foreign.status).toBe(404);
    expect((await api.as(OTHER, 'GET', '/exports')).json.data).toEqual([]);
    for (const id of ['exp_0000000000000000', 'slots.ws_00000000000000a1', '%00', 'x'.repeat(500)]) {
      expect((await api.as(WORKSPACE, 'GET', `/exports/${id}`)).status, id).toBe(404);
    }
  });

  test('to the file is by the signature alone, of this file', async () => {
    const { shown } = await make(WORKSPACE, { actor_id: 'user_2' });
    const { shown: second } = await make(WORKSPACE, { actor_id: 'user_2' });
    const signature = new URL(shown.download_url).searchParams.get('signature')!;
    const other = new URL(second.download_url).searchParams.get('signature')!;
    const ofManifest = new URL(shown.manifest_url).searchParams.get('signature')!;
    const wrong = [
      '',
      'x',
      other,
      ofManifest,
      `${signature}x`,
      signature.slice(1),
      `${signature}=`,
      signature.toLowerCase(),
    ];
    for (const one of wrong) {
      const answer = await api.call(null, 'GET', `/exports/${shown.id}/download?signature=${one}`);
      expect(answer.status, one).toBe(404);
      expect(answer.json.error).toBe('not_found');
    }
    expect(
      (await api.call(null, 'GET', `/exports/exp_0000000000000000/download?signature=${signature}`)).status,
    ).toBe(404);
    expect((await api.call(null, 'GET', pathOf(shown.download_url))).status).toBe(200);
    expect((await api.call(null, 'HEAD', pathOf(shown.download_url))).status).toBe(200);
  });

  test('to a store with addresses of its own is a redirect', async () => {
    const { shown } = await make(WORKSPACE, { actor_id: 'user_3' });
    const asked: unknown[] = [];
    const elsewhere = await startExportApi(worker.jobs, {
      ...world.store,
      presignedUrl: async (key, options) => {
        asked.push({ key, ...options });
        return 'https://objects.example.com/signed';
      },
    });
    try {
      const answer = await elsewhere.call(null, 'GET', pathOf(shown.download_url));
      expect(answer.status).toBe(302);
      expect(answer.headers.get('location')).toBe('https://objects.example.com/signed');
      expect(asked).toEqual([
        {
          key: `exports/${WORKSPACE}/${shown.id}/immutable-${shown.id}.csv`,
          fileName: `immutable-${shown.id}.csv`,
          contentType: expect.stringContaining('text/csv'),
          expiresInSeconds: 300,
        },
      ]);
    } finally {
      await elsewhere.stop();
    }
  });
});

describe('the list', () => {
  test('is newest first, page by page', async () => {
    const many = 'ws_0000000000000111';
    const ids: string[] = [];
    for (let n = 0; n < 7; n += 1) {
      const { json } = await api.as(many, 'POST', '/exports');
      ids.unshift(json.data.id);
      await ended(api, many, json.data.id);
    }
    const first = await api.as(many, 'GET', '/exports?limit=3');
    expect(first.json.pagination).toMatchObject({ has_more: true, total: 7 });
    const second = await api.as(many, 'GET', `/exports?limit=4&cursor=${first.json.pagination.next_cursor}`);
    expect(second.json.pagination).toMatchObject({ has_more: false, next_cursor: null });
    const seen = [...first.json.data, ...second.json.data].map(({ id }: { id: string }) => id);
    expect(seen).toEqual(ids);
    const foreign = await api.as(OTHER, 'GET', `/exports?cursor=${first.json.pagination.next_cursor}`);
    expect(foreign.status).toBe(400);
    expect((await api.as(many, 'GET', '/exports?limit=0')).status).toBe(422);
  });
});

describe('answers are as described:', () => {
  const expectDescribed = (described: string, { status, json }: { status: number; json: unknown }) => {
    const [method = '', path = ''] = described.split(' ');
    expect(differences(method, path, status, json), described).toEqual([]);
  };

  test('each of them', async () => {
    expectDescribed(
      'post /exports',
      await api.as(WORKSPACE, 'POST', '/exports', { nothing: 1, actor_id: 'x' }),
    );
    expectDescribed('post /exports', await api.as(WORKSPACE, 'POST', '/exports', '{'));
    expectDescribed('post /exports', await api.as(WORKSPACE, 'POST', '/exports', { format: 'x' }));
    expectDescribed('post /exports', await api.call(null, 'POST', '/exports'));
    const { shown } = await make(WORKSPACE, { actor_id: 'user_1', from: '2026-01-01T00:00:00Z' });
    expectDescribed('get /exports', await api.as(WORKSPACE, 'GET', '/exports?limit=2&x=1'));
    expectDescribed('get /exports', await api.as(WORKSPACE, 'GET', '/exports?limit=x'));
    expectDescribed('get /exports', await api.as(WORKSPACE, 'GET', '/exports?cursor=x'));
    expectDescribed('get /exports/{id}', await api.as(WORKSPACE, 'GET', `/exports/${shown.id}`));
    expectDescribed('get /exports/{id}', await api.as(OTHER, 'GET', `/exports/${shown.id}`));
    expectDescribed('get /exports/{id}/manifest', await api.call(null, 'GET', pathOf(shown.manifest_url)));
    expectDescribed(
      'get /exports/{id}/download',
      await api.call(null, 'GET', `/exports/${shown.id}/download`),
    );
  });

  test('and every route is', () => {
    const paths = Object.keys(openApiDocument().paths as object).filter((path) =>
      path.startsWith('/exports'),
    );
    expect(paths.sort()).toEqual(
      ['/exports', '/exports/{id}', '/exports/{id}/download', '/exports/{id}/manifest'].sort(),
    );
  });
});
