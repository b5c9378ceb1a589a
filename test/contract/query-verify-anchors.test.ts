import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { AnchorBatch } from '../../control/anchors.ts';
import { anchorIdOf } from '../../core/anchor.ts';
import { openNote, verifierKeyOf, verifyNote } from '../../core/checkpoint.ts';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import { nativeHasher } from '../../infra/hash.ts';
import { ask } from '../../query/ask.ts';
import type { SqlQuery } from '../../query/sql.ts';
import type { Verification } from '../../query/verify.ts';
import { type AnchorVerification, verifyAnchors } from '../../query/verify-anchors.ts';
import type { Signer } from '../../query/verify-tree.ts';
import { createTestAnchors, PENDING, type StoredAnchor, type TestAnchors } from '../support/anchors.ts';
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts';
import { startTestQuery, type TestQuery } from '../support/query.ts';
import { chainEvents, insertSeeded, randomFrom, type SeededEvent, variedEvents } from '../support/seed.ts';
import { checkpointNote, storeTree, type TestLog, testLog } from '../support/tree.ts';

/** Anchors are tampered with in every column, and each is named. `GET /verify` tells what `verifyAnchors` finds. */

const ROWS = 600;
const SIZES = [100, 256, 500];

let server: TestClickHouse;
let admin: ClickHouseClient;
let reader: ClickHouseClient;
let api: TestQuery;
let anchors: TestAnchors;
const logs = new Map<string, TestLog>();
let workspaces = 0;

/** What every test begins with, seeded once: three confirmed anchors, and two with a third that is pending. */
let anchored: Seeded;
let pending: Seeded;

beforeAll(async () => {
  server = await startTestClickHouse();
  admin = connectClickHouse(server.adminUrl);
  anchors = createTestAnchors(admin);
  reader = connectClickHouse(server.readerUrl);
  api = await startApi(0);
  [anchored, pending] = [await seeded(), await seeded(PENDING)];
  for (const table of ANCHOR_TABLES) {
    await run(`CREATE TABLE ${seededIn(table)} AS ${table} ENGINE = MergeTree ORDER BY tuple()`);
    await run(`INSERT INTO ${seededIn(table)} SELECT * FROM ${table}`);
  }
});

afterEach(async () => {
  for (const table of ANCHOR_TABLES) await write(table);
});

afterAll(async () => {
  await api?.stop();
  await admin?.close();
  await reader?.close();
  await server?.stop();
});

/** @param copyLagMs how long verification waits for the copy of a record */
async function startApi(copyLagMs: number): Promise<TestQuery> {
  return await startTestQuery(server.readerUrl, {
    anchors: anchors.records,
    signer: { ...SIGNER, copyLagMs },
  });
}

const SIGNER: Signer = {
  isSigned: (workspaceId, note) => {
    const log = logs.get(workspaceId);
    return log !== undefined && verifyNote(note, [verifierKeyOf(log.key)], nativeHasher).ok;
  },
  signedSize: async () => ROWS,
  copyLagMs: 0,
};

async function run(query: string): Promise<void> {
  await admin.command({ query, clickhouse_settings: { mutations_sync: '2' } });
}

interface Seeded {
  log: TestLog;
  events: SeededEvent[];
  /** Oldest first. */
  rows: StoredAnchor[];
}

/** A log with three anchors, of which another log is part too. `newest` changes how the last one stands with the chain. */
async function seeded(newest: Partial<AnchorBatch> = {}): Promise<Seeded> {
  const [one, other] = [await seededLog(), await seededLog()];
  const rows: StoredAnchor[] = [];
  for (const size of SIZES) {
    const both = [one, other].map((log) => ({ ...log, size }));
    rows.push(...(await anchors.anchor(both, size === SIZES.at(-1) ? newest : {})).slice(0, 1));
  }
  return { ...one, rows };
}

async function seededLog() {
  workspaces += 1;
  const workspaceId = `ws_${workspaces.toString(16).padStart(16, '0')}`;
  const events = chainEvents(workspaceId, variedEvents(ROWS, randomFrom(workspaces)), {
    random: randomFrom(9),
  });
  await insertSeeded(admin, events);
  const log = testLog(workspaceId);
  logs.set(workspaceId, log);
  await storeTree(admin, log, events, [...SIZES, ROWS]);
  return { log, events };
}

async function verify(workspaceId: string, query = '', of = api): Promise<Verification> {
  const answer = await of.get(workspaceId, `/verify${query}`);
  expect(answer.status, JSON.stringify(answer.json)).toBe(200);
  return answer.json.data;
}

/** The part of `GET /verify` that is about anchors, without the rest of it: that costs most of the time. */
async function verifyAnchorsOf({ log }: Seeded): Promise<AnchorVerification> {
  const query = <Row>(question: SqlQuery) => ask<Row>(reader, question, {});
  const options = { ...SIGNER, clickhouse: reader, query, records: anchors.records };
  const { checked, breaks } = await verifyAnchors(options, log.workspaceId, { fromSeq: 1, toSeq: ROWS });
  return { checked, breaks: breaks.toSorted((left, right) => left.seq - right.seq) };
}

/** What is said of anchors, each with its place among them instead of its id. */
function named({ breaks }: Pick<Verification, 'breaks'>, rows: readonly StoredAnchor[]): string[] {
  const ofAnchors = breaks.filter(({ part }) => part?.startsWith('anchor '));
  for (const { type } of ofAnchors) expect(type).toBe('tree_mismatch');
  return ofAnchors.map(({ seq, part }) => {
    const place = rows.findIndex(({ id }) => part?.includes(id));
    return `${seq} ${(part ?? '').replace(/^anchor \w+: /, `anchor ${place}: `)}`;
  });
}

const ofLog = ({ log }: Seeded, row: StoredAnchor | undefined) =>
  `workspace_id = '${log.workspaceId}' AND period_end = toDateTime64('${row?.periodEnd.slice(0, 26)}', 6, 'UTC')`;

const ANCHOR_TABLES = [TABLES.anchors, TABLES.anchorBatches];

/** The same table as it was seeded, which nobody tampers with. */
const seededIn = (table: string) => `${table}_as_seeded`;

interface Change {
  /** By column, in the rows of `where`. */
  columns?: Record<string, string>;
  where?: string;
  /** Rows that are left out. */
  without?: string;
}

/** Writes the seeded rows of a table anew, as somebody changed them: an insert costs less than a mutation does. */
async function write(table: string, { columns = {}, where = '1', without = '0' }: Change = {}) {
  const replaced = Object.entries(columns).map(
    ([column, value]) => `if(${where}, ${value}, ${column}) AS ${column}`,
  );
  const shown = replaced.length === 0 ? '*' : `* REPLACE (${replaced.join()})`;
  await run(`TRUNCATE TABLE ${table}`);
  await run(`INSERT INTO ${table} SELECT ${shown} FROM ${seededIn(table)} WHERE NOT (${without})`);
}

/** One column of the anchor in the middle. */
function anchorColumn(column: string, value: string) {
  return (given: Seeded) =>
    write(TABLES.anchors, { columns: { [column]: value }, where: ofLog(given, given.rows[1]) });
}

function batchColumn(column: string, value: string) {
  return ({ rows }: Seeded) =>
    write(TABLES.anchorBatches, { columns: { [column]: value }, where: `id = '${rows[1]?.batch.id}'` });
}

async function columnsOf(table: string): Promise<string[]> {
  const [database, name] = table.split('.');
  const rows = await admin.query({
    query: `SELECT name FROM system.columns WHERE database = '${database}' AND table = '${name}' ORDER BY position`,
    format: 'JSONEachRow',
  });
  return (await rows.json<{ name: string }>()).map((row) => row.name);
}

const AB = "repeat('ab', 32)";

interface Tampering {
  name: string;
  table?: 'anchors' | 'anchor_batches';
  /** The column of it that is tampered with. */
  column?: string;
  tamper(given: Seeded): Promise<unknown>;
  /** In order; each the beginning of what is said. */
  named: string[];
}

const anchorTampering = (column: string, value: string, ...said: string[]): Tampering => ({
  name: `anchors.${column}`,
  table: 'anchors',
  column,
  tamper: anchorColumn(column, value),
  named: said,
});

const batchTampering = (column: string, value: string, said: string): Tampering => ({
  name: `anchor_batches.${column}`,
  table: 'anchor_batches',
  column,
  tamper: batchColumn(column, value),
  named: [`256 anchor 1: ${column} of its tree is ${said}`],
});

const TAMPERINGS: Tampering[] = [
  anchorTampering('id', "concat('anc_', repeat('ab', 16))", '256 anchor 1: id is "anc_abab'),
  anchorTampering('batch_id', "repeat('ab', 16)", '256 anchor 1: its tree abab'),
  anchorTampering('period_start', 'period_start + 1', '256 anchor 1: period_start is 2026-'),
  anchorTampering('size', '257', '257 anchor 1: size is 257, its checkpoint says 256'),
  anchorTampering('events_count', '157', '256 anchor 1: events_count is 157, and not 156'),
  anchorTampering('merkle_root', AB, '256 anchor 1: merkle_root is abab'),
  anchorTampering('first_event_hash', AB, '256 anchor 1: first_event_hash is not event 101 of the tree'),
  {
    ...anchorTampering('first_event_hash', "''", '256 anchor 1: first_event_hash is not event 101'),
    name: 'anchors.first_event_hash taken away',
  },
  anchorTampering(
    'last_event_hash',
    'first_event_hash',
    '256 anchor 1: last_event_hash is not event 256 of the tree',
  ),
  anchorTampering(
    'checkpoint',
    `concat(substring(checkpoint, 1, length(checkpoint) - 20),
      if(substring(checkpoint, length(checkpoint) - 19, 1) = 'A', 'B', 'A'), substring(checkpoint, length(checkpoint) - 18))`,
    '256 anchor 1: its checkpoint is signed by no key of this log',
  ),
  anchorTampering(
    'previous_anchor_hash',
    AB,
    '256 anchor 1: previous_anchor_hash is not that of the anchor before it',
  ),
  anchorTampering(
    'anchor_root',
    AB,
    '256 anchor 1: its path does not lead from the checkpoint to anchor_root',
    '256 anchor 1: anchor_root is "abab',
  ),
  anchorTampering('leaf_index', 'toUInt64(1 - leaf_index)', '256 anchor 1: its path does not lead'),
  anchorTampering(
    'tree_size',
    '3',
    '256 anchor 1: its path does not lead',
    '256 anchor 1: tree_size is 3, on record 2',
  ),
  anchorTampering('path', `[${AB}]`, '256 anchor 1: its path does not lead'),
  anchorTampering('created_at', 'created_at + 1', '256 anchor 1: created_at is "2026-'),
  batchTampering('period_end', 'period_end + 86400', '"2026-'),
  batchTampering('anchor_root', AB, '"abab'),
  batchTampering('leaves', '1', '1, on record 2'),
  batchTampering('status', "'failed'", '"failed", on record "confirmed"'),
  batchTampering('reason', "'well'", '"well", on record ""'),
  batchTampering('chain_id', '1', '1, on record 8453'),
  batchTampering('contract', "concat('0x', repeat('ab', 20))", '"0xabab'),
  batchTampering('tx_hash', `concat('0x', ${AB})`, '"0xabab'),
  batchTampering('block_number', 'block_number + 1', '10'),
  batchTampering('block_hash', `concat('0x', ${AB})`, '"0xabab'),
  batchTampering('block_time', 'block_time + 1', '"2026-'),
  batchTampering('updated_at', 'updated_at + 1', '"2026-'),
  {
    name: 'anchor_batches.version, of a row that was put in its place',
    table: 'anchor_batches',
    column: 'version',
    tamper: ({ rows }) =>
      run(
        `INSERT INTO ${TABLES.anchorBatches} SELECT * REPLACE (version + 1000 AS version) FROM ${TABLES.anchorBatches} WHERE id = '${rows[1]?.batch.id}'`,
      ),
    named: ['256 anchor 1: version of its tree is 1'],
  },
  {
    ...batchTampering('id', "repeat('ab', 16)", ''),
    named: ['256 anchor 1: its tree is missing in anchor_batches'],
  },
  anchorTampering(
    'period_end',
    'period_end + 1',
    '256 anchor 1: period_end is "2026-',
    '500 anchor 2: period_start is 2026-',
  ),
  {
    name: 'anchors.workspace_id',
    table: 'anchors',
    column: 'workspace_id',
    tamper: (given) =>
      write(TABLES.anchors, {
        columns: { workspace_id: "'ws_00000000ffffffff'" },
        where: ofLog(given, given.rows[2]),
      }),
    named: ['500 anchor 2: it is missing, and it was anchored'],
  },
  {
    name: 'the newest row cut off',
    tamper: (given) => write(TABLES.anchors, { without: ofLog(given, given.rows[2]) }),
    named: ['500 anchor 2: it is missing, and it was anchored'],
  },
  {
    name: 'all rows removed',
    tamper: ({ log }) => write(TABLES.anchors, { without: `workspace_id = '${log.workspaceId}'` }),
    named: ['500 anchor 2: it is missing, and it was anchored'],
  },
  {
    name: 'the oldest row removed',
    tamper: (given) => write(TABLES.anchors, { without: ofLog(given, given.rows[0]) }),
    named: [
      '256 anchor 1: events_count is 156, and not 256',
      '256 anchor 1: first_event_hash is not event 1 of the tree',
      '256 anchor 1: it names an anchor before it, and there is none',
      '256 anchor 1: period_start is',
    ],
  },
  {
    name: 'a row in the middle removed',
    tamper: (given) => write(TABLES.anchors, { without: ofLog(given, given.rows[1]) }),
    named: [
      '500 anchor 2: events_count is 244, and not 400',
      '500 anchor 2: first_event_hash is not event 101 of the tree',
      '500 anchor 2: previous_anchor_hash is not that of the anchor before it',
      '500 anchor 2: period_start is',
    ],
  },
  {
    name: 'a row in the middle removed, and the one after it made to fit',
    tamper: async (given) => {
      const { log, rows } = given;
      const of = (row: StoredAnchor | undefined) => ofLog(given, row);
      const first = `toDateTime64('${rows[0]?.periodEnd.slice(0, 26)}', 6, 'UTC')`;
      await write(TABLES.anchors, {
        columns: {
          period_start: first,
          events_count: '400',
          first_event_hash: `'${given.events[100]?.eventHash}'`,
          previous_anchor_hash: `'${nativeHasher.hex(openNote(checkpointNote(log, given.events, 100))?.text ?? '')}'`,
        },
        where: of(rows[2]),
        without: of(rows[1]),
      });
    },
    named: ['500 anchor 2: it is number 3 of its workspace on record, and 2 are stored'],
  },
  {
    name: 'a row doubled, with another number of events',
    tamper: (given) =>
      run(
        `INSERT INTO ${TABLES.anchors} SELECT * REPLACE (events_count + 1 AS events_count) FROM ${TABLES.anchors} WHERE ${ofLog(given, given.rows[2])}`,
      ),
    named: ['500 anchor 2: '],
  },
  {
    name: 'a row doubled a year later',
    tamper: async (given) => {
      const newest = `SELECT * FROM ${TABLES.anchors} WHERE ${ofLog(given, given.rows[2])}`;
      await run(`INSERT INTO ${TABLES.anchors}
        SELECT * REPLACE (period_end + INTERVAL 400 DAY AS period_end, concat('anc_', repeat('ab', 16)) AS id) FROM (${newest})`);
    },
    named: ['500 anchor -1: events_count is 244, and not'],
  },
  {
    name: 'two rows swapped',
    tamper: async (given) => {
      const [one, two] = [ofLog(given, given.rows[0]), ofLog(given, given.rows[1])];
      const end = (row: StoredAnchor | undefined) =>
        `toDateTime64('${row?.periodEnd.slice(0, 26)}', 6, 'UTC')`;
      await write(TABLES.anchors, {
        columns: { period_end: `if(size = 100, ${end(given.rows[1])}, ${end(given.rows[0])})` },
        where: `((${one}) OR (${two}))`,
      });
    },
    named: ['100 anchor 0: '],
  },
  {
    name: 'the trees of two days swapped',
    tamper: async ({ rows }) => {
      const [one, two] = [rows[0]?.batch.id, rows[1]?.batch.id];
      await write(TABLES.anchorBatches, {
        columns: { id: `if(id = '${one}', '${two}', '${one}')` },
        where: `id IN ('${one}', '${two}')`,
      });
    },
    named: ['100 anchor 0: period_end of its tree is'],
  },
  {
    name: 'the tree of a day removed',
    tamper: ({ rows }) => write(TABLES.anchorBatches, { without: `id = '${rows[2]?.batch.id}'` }),
    named: ['500 anchor 2: its tree is missing in anchor_batches'],
  },
  {
    name: 'an anchor of a fork, signed with the right key',
    tamper: async (given) => {
      const { log, events } = given;
      const note = checkpointNote(log, [...events.slice(1, 257)], 256);
      await write(TABLES.anchors, {
        columns: { checkpoint: `'${note}'` },
        where: ofLog(given, given.rows[1]),
      });
    },
    named: ['256 anchor 1: merkle_root is'],
  },
  {
    name: 'an anchor signed with another key',
    tamper: async (given) => {
      const note = checkpointNote(
        { ...given.log, key: testLog(given.log.workspaceId).key },
        given.events,
        256,
      );
      await write(TABLES.anchors, {
        columns: { checkpoint: `'${note}'` },
        where: ofLog(given, given.rows[1]),
      });
    },
    named: ['256 anchor 1: its checkpoint is signed by no key of this log'],
  },
  {
    name: 'the newest anchor with another checkpoint, signed with the right key',
    tamper: async (given) => {
      const note = checkpointNote(given.log, given.events, 499);
      await write(TABLES.anchors, {
        columns: { checkpoint: `'${note}'` },
        where: ofLog(given, given.rows[2]),
      });
    },
    named: [
      '500 anchor 2: size is 500, its checkpoint says 499',
      '500 anchor 2: merkle_root is',
      '500 anchor 2: events_count is 244, and not 243',
      '500 anchor 2: last_event_hash is not event 499 of the tree',
      '500 anchor 2: its path does not lead',
      '500 anchor 2: its checkpoint is another than the one on record',
    ],
  },
  {
    name: 'an anchor whose checkpoint is none',
    tamper: (given) =>
      write(TABLES.anchors, { columns: { checkpoint: "'x'" }, where: ofLog(given, given.rows[2]) }),
    named: ['500 anchor 2: its checkpoint cannot be read'],
  },
];

describe('anchors that were not changed', () => {
  test('are valid, also while the newest is pending', async () => {
    for (const { log } of [anchored, pending]) {
      expect(await verify(log.workspaceId)).toMatchObject({ valid: true, breaks: [], anchors_checked: 3 });
    }
  });

  test('are valid when a row was written again, or merged', async () => {
    const { log } = anchored;
    await run(
      `INSERT INTO ${TABLES.anchors} SELECT * FROM ${TABLES.anchors} WHERE workspace_id = '${log.workspaceId}'`,
    );
    expect(await verify(log.workspaceId)).toMatchObject({ valid: true, anchors_checked: 3 });
    for (const table of [TABLES.anchors, TABLES.anchorBatches]) await run(`OPTIMIZE TABLE ${table} FINAL`);
    expect(await verify(log.workspaceId)).toMatchObject({ valid: true, anchors_checked: 3 });
  });

  test('are those of the events asked for, and the newest', async () => {
    const { log } = anchored;
    expect(await verify(log.workspaceId, '?limit=120')).toMatchObject({ valid: true, anchors_checked: 2 });
  });

  test('are valid, and looked at, when the events were archived', async () => {
    const { log, rows, events } = await seeded();
    await run(`ALTER TABLE ${TABLES.events} DELETE WHERE workspace_id = '${log.workspaceId}' AND seq <= 550`);
    const verification = await verify(log.workspaceId);
    expect(verification.anchors_checked).toBe(3);
    expect(named(verification, rows)).toEqual([]);
    await run(
      `ALTER TABLE ${TABLES.anchors} UPDATE events_count = 1 WHERE ${ofLog({ log, rows, events }, rows[1])}`,
    );
    expect(named(await verify(log.workspaceId), rows)).toContain(
      '256 anchor 1: events_count is 1, and not 156',
    );
  });

  test('are none of somebody who was never anchored', async () => {
    const { log } = await seededLog();
    expect(await verify(log.workspaceId)).toMatchObject({ valid: true, anchors_checked: 0 });
  });

  test('are valid while the copy of a record that has just changed is on its way, and not for ever', async () => {
    const { log, rows } = pending;
    const { batch } = rows[2]!;
    const kept = anchors.batches.get(batch.id)!;
    onTestFinished(() => void anchors.batches.set(batch.id, kept));
    const change = (updated_at: string) =>
      anchors.batches.set(batch.id, {
        record: { ...batch, status: 'submitted', reason: null, updated_at },
        revision: kept.revision + 500,
      });
    change(new Date().toISOString());
    expect(await verify(log.workspaceId)).toMatchObject({ valid: true });
    change(new Date(Date.now() - 3600_000).toISOString());
    expect(named(await verify(log.workspaceId), rows)[0]).toContain('status of its tree is "pending"');
    change(new Date().toISOString());
    await write(TABLES.anchorBatches, { columns: { anchor_root: AB }, where: `id = '${batch.id}'` });
    expect(named(await verify(log.workspaceId), rows)).toHaveLength(1);
  });

  test('are valid when what is followed of the records is a moment behind', async () => {
    const { log, rows } = pending;
    const { batch } = rows[2]!;
    const kept = anchors.batches.get(batch.id)!;
    onTestFinished(() => void anchors.batches.set(batch.id, kept));
    const patient = await startApi(10_000);
    onTestFinished(() => patient.stop());
    await run(`INSERT INTO ${TABLES.anchorBatches} SELECT * REPLACE ('submitted' AS status, '' AS reason, version + 500 AS version)
      FROM ${TABLES.anchorBatches} WHERE id = '${batch.id}'`);
    const verified = verify(log.workspaceId, '', patient);
    await new Promise((resolve) => setTimeout(resolve, 700));
    anchors.batches.set(batch.id, {
      record: { ...batch, status: 'submitted', reason: null },
      revision: kept.revision + 500,
    });
    expect(await verified).toMatchObject({ valid: true });
  });

  test('are told from rows of a tree that the job has not decided on', async () => {
    const { log, rows } = anchored;
    await run(`INSERT INTO ${TABLES.anchors} SELECT * REPLACE (period_end + INTERVAL 400 DAY AS period_end,
        '${'cd'.repeat(16)}' AS batch_id, '${anchorIdOf('cd'.repeat(16), log.workspaceId)}' AS id)
      FROM (SELECT * FROM ${TABLES.anchors} WHERE id = '${rows[2]?.id}')`);
    expect(await verify(log.workspaceId)).toMatchObject({ valid: true, anchors_checked: 3 });
  });
});

describe('what was tampered with is named:', () => {
  test.each(TAMPERINGS)('$name', async ({ tamper, named: expected }) => {
    await tamper(anchored);
    const found = named(await verifyAnchorsOf(anchored), anchored.rows);
    for (const [index, said] of expected.entries()) expect(found[index], found.join('\n')).toContain(said);
  });

  test('by GET /verify, which is not valid then', async () => {
    await anchorColumn('events_count', '157')(anchored);
    const { breaks } = await verifyAnchorsOf(anchored);
    expect(breaks).toHaveLength(1);
    expect(await verify(anchored.log.workspaceId)).toMatchObject({
      valid: false,
      breaks,
      anchors_checked: SIZES.length,
    });
  });

  test('every column of both tables is tampered with above', async () => {
    for (const table of ['anchors', 'anchor_batches'] as const) {
      const tampered = TAMPERINGS.filter((one) => one.table === table).map((one) => one.column);
      const columns = await columnsOf(`immutable.${table}`);
      expect(columns.length).toBeGreaterThan(10);
      expect(columns.filter((column) => !tampered.includes(column))).toEqual([]);
    }
  });
});
