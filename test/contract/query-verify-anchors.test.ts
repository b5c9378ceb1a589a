import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { anchorIdOf } from '../../core/anchor.ts';
import { verifierKeyOf, verifyNote } from '../../core/checkpoint.ts';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import { nativeHasher } from '../../infra/hash.ts';
import type { Verification } from '../../query/verify.ts';
import { createTestAnchors, PENDING, type StoredAnchor, type TestAnchors } from '../support/anchors.ts';
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts';
import { startTestQuery, type TestQuery } from '../support/query.ts';
import { chainEvents, insertSeeded, randomFrom, type SeededEvent, variedEvents } from '../support/seed.ts';
import { checkpointNote, storeTree, type TestLog, testLog } from '../support/tree.ts';

/** Anchors are tampered with in every column, and `GET /verify` names each. */

const ROWS = 600;
const SIZES = [100, 256, 500];

let server: TestClickHouse;
let admin: ClickHouseClient;
let api: TestQuery;
let anchors: TestAnchors;
const logs = new Map<string, TestLog>();
let workspaces = 0;

beforeAll(async () => {
  server = await startTestClickHouse();
  admin = connectClickHouse(server.adminUrl);
  anchors = createTestAnchors(admin);
  api = await startTestQuery(server.readerUrl, {
    anchors: anchors.records,
    signer: {
      isSigned: (workspaceId, note) => {
        const log = logs.get(workspaceId);
        return log !== undefined && verifyNote(note, [verifierKeyOf(log.key)], nativeHasher).ok;
      },
      signedSize: async () => ROWS,
      copyLagMs: 200,
    },
  });
});

afterAll(async () => {
  await api?.stop();
  await admin?.close();
  await server?.stop();
});

async function run(query: string): Promise<void> {
  await admin.command({ query, clickhouse_settings: { mutations_sync: '2' } });
}

interface Seeded {
  log: TestLog;
  events: SeededEvent[];
  /** Oldest first. */
  rows: StoredAnchor[];
}

/** A log with three anchors, of which another log is part too. */
async function seeded(pendingToo = false): Promise<Seeded> {
  const [one, other] = [await seededLog(), await seededLog()];
  const rows: StoredAnchor[] = [];
  for (const [index, size] of SIZES.entries()) {
    const bend = pendingToo && index === SIZES.length - 1 ? PENDING : {};
    const both = [one, other].map((log) => ({ ...log, size }));
    rows.push(...(await anchors.anchor(both, bend)).slice(0, 1));
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

async function verify(workspaceId: string, query = ''): Promise<Verification> {
  const answer = await api.get(workspaceId, `/verify${query}`);
  expect(answer.status, JSON.stringify(answer.json)).toBe(200);
  return answer.json.data;
}

/** What is said of anchors, each with its place among them instead of its id. */
function named({ breaks }: Verification, rows: readonly StoredAnchor[]): string[] {
  const ofAnchors = breaks.filter(({ part }) => part?.startsWith('anchor '));
  for (const { type } of ofAnchors) expect(type).toBe('tree_mismatch');
  return ofAnchors.map(({ seq, part }) => {
    const place = rows.findIndex(({ id }) => part?.includes(id));
    return `${seq} ${(part ?? '').replace(/^anchor \w+: /, `anchor ${place}: `)}`;
  });
}

const ofLog = ({ log }: Seeded, row: StoredAnchor | undefined) =>
  `workspace_id = '${log.workspaceId}' AND period_end = toDateTime64('${row?.periodEnd.slice(0, 26)}', 6, 'UTC')`;

/** One column of the anchor in the middle; key columns are written anew. */
function anchorColumn(column: string, value: string) {
  return async (given: Seeded) => {
    await run(
      `ALTER TABLE ${TABLES.anchors} UPDATE ${column} = ${value} WHERE ${ofLog(given, given.rows[1])}`,
    );
  };
}

function batchColumn(column: string, value: string) {
  return async ({ rows }: Seeded) => {
    await run(
      `ALTER TABLE ${TABLES.anchorBatches} UPDATE ${column} = ${value} WHERE id = '${rows[1]?.batch.id}'`,
    );
  };
}

/** Key columns cannot be updated: the row is written again, changed, and the old one removed. */
async function rewrite(table: string, columns: Record<string, string>, condition: string): Promise<void> {
  const all = await columnsOf(table);
  const values = all.map((name) => columns[name] ?? name).join();
  const staged = `immutable.staged_${Math.random().toString(36).slice(2)}`;
  await run(`CREATE TABLE ${staged} AS ${table} ENGINE = MergeTree ORDER BY tuple()`);
  await run(`INSERT INTO ${staged} (${all.join()}) SELECT ${values} FROM ${table} WHERE ${condition}`);
  await run(`ALTER TABLE ${table} DELETE WHERE ${condition}`);
  await run(`INSERT INTO ${table} (${all.join()}) SELECT ${all.join()} FROM ${staged}`);
  await run(`DROP TABLE ${staged}`);
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
  {
    ...anchorTampering('id', '', '256 anchor 1: id is "anc_abab'),
    tamper: (given) =>
      rewrite(TABLES.anchors, { id: "concat('anc_', repeat('ab', 16))" }, ofLog(given, given.rows[1])),
  },
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
  anchorTampering('leaf_index', '1 - leaf_index', '256 anchor 1: its path does not lead'),
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
    name: 'anchor_batches.id',
    table: 'anchor_batches',
    column: 'id',
    tamper: ({ rows }) =>
      rewrite(TABLES.anchorBatches, { id: "repeat('ab', 16)" }, `id = '${rows[1]?.batch.id}'`),
    named: ['256 anchor 1: its tree is missing in anchor_batches'],
  },
  {
    name: 'anchors.period_end',
    table: 'anchors',
    column: 'period_end',
    tamper: (given) => rewrite(TABLES.anchors, { period_end: 'period_end + 1' }, ofLog(given, given.rows[1])),
    named: ['256 anchor 1: period_end is "2026-', '500 anchor 2: period_start is 2026-'],
  },
  {
    name: 'anchors.workspace_id',
    table: 'anchors',
    column: 'workspace_id',
    tamper: (given) =>
      rewrite(TABLES.anchors, { workspace_id: "'ws_00000000ffffffff'" }, ofLog(given, given.rows[2])),
    named: ['500 anchor 2: it is missing, and it was anchored'],
  },
  {
    name: 'the newest row cut off',
    tamper: (given) => run(`ALTER TABLE ${TABLES.anchors} DELETE WHERE ${ofLog(given, given.rows[2])}`),
    named: ['500 anchor 2: it is missing, and it was anchored'],
  },
  {
    name: 'all rows removed',
    tamper: ({ log }) =>
      run(`ALTER TABLE ${TABLES.anchors} DELETE WHERE workspace_id = '${log.workspaceId}'`),
    named: ['500 anchor 2: it is missing, and it was anchored'],
  },
  {
    name: 'the oldest row removed',
    tamper: (given) => run(`ALTER TABLE ${TABLES.anchors} DELETE WHERE ${ofLog(given, given.rows[0])}`),
    named: [
      '256 anchor 1: events_count is 156, and not 256',
      '256 anchor 1: first_event_hash is not event 1 of the tree',
      '256 anchor 1: it names an anchor before it, and there is none',
      '256 anchor 1: period_start is',
    ],
  },
  {
    name: 'a row in the middle removed',
    tamper: (given) => run(`ALTER TABLE ${TABLES.anchors} DELETE WHERE ${ofLog(given, given.rows[1])}`),
    named: [
      '500 anchor 2: events_count is 244, and not 400',
      '500 anchor 2: first_event_hash is not event 101 of the tree',
      '500 anchor 2: previous_anchor_hash is not that of the anchor before it',
      '500 anchor 2: period_start is',
    ],
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
      await rewrite(
        TABLES.anchors,
        { period_end: `if(size = 100, ${end(given.rows[1])}, ${end(given.rows[0])})` },
        `(${one}) OR (${two})`,
      );
    },
    named: ['100 anchor 0: '],
  },
  {
    name: 'the trees of two days swapped',
    tamper: async ({ rows }) => {
      const [one, two] = [rows[0]?.batch.id, rows[1]?.batch.id];
      await rewrite(
        TABLES.anchorBatches,
        { id: `if(id = '${one}', '${two}', '${one}')` },
        `id IN ('${one}', '${two}')`,
      );
    },
    named: ['100 anchor 0: period_end of its tree is'],
  },
  {
    name: 'the tree of a day removed',
    tamper: ({ rows }) => run(`ALTER TABLE ${TABLES.anchorBatches} DELETE WHERE id = '${rows[2]?.batch.id}'`),
    named: ['500 anchor 2: its tree is missing in anchor_batches'],
  },
  {
    name: 'an anchor of a fork, signed with the right key',
    tamper: async (given) => {
      const { log, events } = given;
      const note = checkpointNote(log, [...events.slice(1, 257)], 256);
      await run(
        `ALTER TABLE ${TABLES.anchors} UPDATE checkpoint = '${note}' WHERE ${ofLog(given, given.rows[1])}`,
      );
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
      await run(
        `ALTER TABLE ${TABLES.anchors} UPDATE checkpoint = '${note}' WHERE ${ofLog(given, given.rows[1])}`,
      );
    },
    named: ['256 anchor 1: its checkpoint is signed by no key of this log'],
  },
  {
    name: 'the newest anchor with another checkpoint, signed with the right key',
    tamper: async (given) => {
      const note = checkpointNote(given.log, given.events, 499);
      await run(
        `ALTER TABLE ${TABLES.anchors} UPDATE checkpoint = '${note}' WHERE ${ofLog(given, given.rows[2])}`,
      );
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
      run(`ALTER TABLE ${TABLES.anchors} UPDATE checkpoint = 'x' WHERE ${ofLog(given, given.rows[2])}`),
    named: ['500 anchor 2: its checkpoint cannot be read'],
  },
];

describe('anchors that were not changed', () => {
  test('are valid, also while the newest is pending', async () => {
    for (const pendingToo of [false, true]) {
      const { log } = await seeded(pendingToo);
      expect(await verify(log.workspaceId)).toMatchObject({ valid: true, breaks: [], anchors_checked: 3 });
    }
  });

  test('are valid when a row was written again, or merged', async () => {
    const { log } = await seeded();
    await run(
      `INSERT INTO ${TABLES.anchors} SELECT * FROM ${TABLES.anchors} WHERE workspace_id = '${log.workspaceId}'`,
    );
    expect(await verify(log.workspaceId)).toMatchObject({ valid: true, anchors_checked: 3 });
    for (const table of [TABLES.anchors, TABLES.anchorBatches]) await run(`OPTIMIZE TABLE ${table} FINAL`);
    expect(await verify(log.workspaceId)).toMatchObject({ valid: true, anchors_checked: 3 });
  });

  test('are those of the events asked for, and the newest', async () => {
    const { log } = await seeded();
    expect(await verify(log.workspaceId, '?limit=120')).toMatchObject({ valid: true, anchors_checked: 2 });
  });

  test('are valid, and looked at, when the events were archived', async () => {
    const { log, rows } = await seeded();
    await run(`ALTER TABLE ${TABLES.events} DELETE WHERE workspace_id = '${log.workspaceId}' AND seq <= 550`);
    const verification = await verify(log.workspaceId);
    expect(verification.anchors_checked).toBe(3);
    expect(named(verification, rows)).toEqual([]);
    await anchorColumn('events_count', '1')({ log, rows, events: [] });
    expect(named(await verify(log.workspaceId), rows)).toContain(
      '256 anchor 1: events_count is 1, and not 156',
    );
  });

  test('are none of somebody who was never anchored', async () => {
    const { log } = await seededLog();
    expect(await verify(log.workspaceId)).toMatchObject({ valid: true, anchors_checked: 0 });
  });

  test('are valid while the copy of a record that has just changed is on its way, and not for ever', async () => {
    const { log, rows } = await seeded(true);
    const { batch } = rows[2]!;
    const kept = anchors.batches.get(batch.id)!;
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
    await run(`ALTER TABLE ${TABLES.anchorBatches} UPDATE anchor_root = ${AB} WHERE id = '${batch.id}'`);
    expect(named(await verify(log.workspaceId), rows)).toHaveLength(1);
  });

  test('are valid when what is followed of the records is a moment behind', async () => {
    const { log, rows } = await seeded(true);
    const { batch } = rows[2]!;
    const kept = anchors.batches.get(batch.id)!;
    await run(`INSERT INTO ${TABLES.anchorBatches} SELECT * REPLACE ('submitted' AS status, '' AS reason, version + 500 AS version)
      FROM ${TABLES.anchorBatches} WHERE id = '${batch.id}'`);
    const verified = verify(log.workspaceId);
    await new Promise((resolve) => setTimeout(resolve, 700));
    anchors.batches.set(batch.id, {
      record: { ...batch, status: 'submitted', reason: null },
      revision: kept.revision + 500,
    });
    expect(await verified).toMatchObject({ valid: true });
  });

  test('are told from rows of a tree that the job has not decided on', async () => {
    const { log, rows } = await seeded();
    await run(`INSERT INTO ${TABLES.anchors} SELECT * REPLACE (period_end + INTERVAL 400 DAY AS period_end,
        '${'cd'.repeat(16)}' AS batch_id, '${anchorIdOf('cd'.repeat(16), log.workspaceId)}' AS id)
      FROM (SELECT * FROM ${TABLES.anchors} WHERE id = '${rows[2]?.id}')`);
    expect(await verify(log.workspaceId)).toMatchObject({ valid: true, anchors_checked: 3 });
  });
});

describe('what was tampered with is named:', () => {
  // Some of it could be an insert that is under way, and is waited for.
  test.concurrent.each(TAMPERINGS)('$name', { timeout: 120_000 }, async ({ tamper, named: expected }) => {
    const given = await seeded();
    await tamper(given);
    const verification = await verify(given.log.workspaceId);
    expect(verification.valid).toBe(false);
    const found = named(verification, given.rows);
    for (const [index, said] of expected.entries()) expect(found[index], found.join('\n')).toContain(said);
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
