import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventHash } from '../../core/chain.ts';
import { verifierKeyOf, verifyNote } from '../../core/checkpoint.ts';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import { nativeHasher } from '../../infra/hash.ts';
import type { Verification } from '../../query/verify.ts';
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts';
import { startTestQuery, type TestQuery } from '../support/query.ts';
import { chainEvents, insertSeeded, randomFrom, type SeededEvent, variedEvents } from '../support/seed.ts';
import { checkpointNote, storeTree, type TestLog, testLog } from '../support/tree.ts';

/** Several full tiles, and one that is not. */
const ROWS = 800;
const SIZES = [100, 256, 700, ROWS];

let server: TestClickHouse;
let admin: ClickHouseClient;
let api: TestQuery;
let workspaces = 0;
const logs = new Map<string, TestLog>();
/** What the signer itself remembers. */
const signed = new Map<string, number>();

beforeAll(async () => {
  server = await startTestClickHouse();
  admin = connectClickHouse(server.adminUrl);
  api = await startTestQuery(server.readerUrl, {
    signer: {
      isSigned: (workspaceId, note) => {
        const log = logs.get(workspaceId);
        return log !== undefined && verifyNote(note, [verifierKeyOf(log.key)], nativeHasher).ok;
      },
      signedSize: async (workspaceId) => signed.get(workspaceId) ?? 0,
      copyLagMs: 200,
    },
  });
  // What is tampered with here is written minutes after it was chained, as whoever tampers would.
  await run(`ALTER TABLE ${TABLES.events} DROP CONSTRAINT chained_recently`);
});

afterAll(async () => {
  await api?.stop();
  await admin?.close();
  await server?.stop();
});

async function run(query: string): Promise<void> {
  await admin.command({ query, clickhouse_settings: { mutations_sync: '2' } });
}

async function seeded(sizes: readonly number[] = SIZES): Promise<{ log: TestLog; events: SeededEvent[] }> {
  workspaces += 1;
  const workspaceId = `ws_${workspaces.toString(16).padStart(16, '0')}`;
  const events = chainEvents(workspaceId, variedEvents(ROWS, randomFrom(workspaces)), {
    random: randomFrom(9),
  });
  await insertSeeded(admin, events);
  const log = testLog(workspaceId);
  logs.set(workspaceId, log);
  await storeTree(admin, log, events, sizes);
  return { log, events };
}

async function verify(workspaceId: string, query = ''): Promise<Verification> {
  const answer = await api.get(workspaceId, `/verify${query}`);
  expect(answer.status, JSON.stringify(answer.json)).toBe(200);
  return answer.json.data;
}

/** `15 tree_mismatch leaf`, `15 hash_mismatch` … */
function summaryOf({ breaks }: Verification): string[] {
  return breaks.map(({ seq, type, column, part }) =>
    [seq, type, column, part].filter((member) => member !== null).join(' '),
  );
}

const inWorkspace = (workspaceId: string) => `workspace_id = '${workspaceId}'`;

function deleteFrom(table: string, condition: string) {
  return ({ workspaceId }: TestLog) =>
    run(`ALTER TABLE ${table} DELETE WHERE ${inWorkspace(workspaceId)} AND ${condition}`);
}

function update(table: string, assignments: string, condition: string) {
  return ({ workspaceId }: TestLog) =>
    run(`ALTER TABLE ${table} UPDATE ${assignments} WHERE ${inWorkspace(workspaceId)} AND ${condition}`);
}

/** Key columns cannot be updated: the row is written again, changed, and the old one removed. */
function rewrite(table: string, columns: Record<string, string>, condition: string) {
  return async ({ workspaceId }: TestLog) => {
    const names = table === TABLES.tiles ? TILE_COLUMNS : CHECKPOINT_COLUMNS;
    const rows = await admin.query({
      query: `SELECT ${names.map((name) => `${columns[name] ?? READ[name] ?? name} AS c_${name}`).join()} FROM ${table}
        WHERE ${inWorkspace(workspaceId)} AND ${condition}`,
      format: 'JSONEachRow',
    });
    const found = await rows.json<Record<string, unknown>>();
    expect(found.length).toBeGreaterThan(0);
    await deleteFrom(table, condition)({ workspaceId } as TestLog);
    await admin.insert({
      table,
      columns: names as [string, ...string[]],
      format: 'JSONEachRow',
      values: found.map((row) => Object.fromEntries(names.map((name) => [name, row[`c_${name}`]]))),
      clickhouse_settings: { date_time_input_format: 'best_effort' },
    });
  };
}

const TILE_COLUMNS = ['workspace_id', 'level', 'tile_index', 'width', 'hashes_hex'];
const CHECKPOINT_COLUMNS = [
  'workspace_id',
  'size',
  'root',
  'note',
  'cosignatures',
  'is_witnessed',
  'signed_at',
];
const READ: Record<string, string> = { hashes_hex: 'hex(hashes)' };

/** A whole chain forged from event `from` on, every hash computed again, as whoever owns the database could. */
async function rewriteChain(
  { workspaceId }: TestLog,
  events: readonly SeededEvent[],
  from: number,
): Promise<SeededEvent[]> {
  let previous = events[from - 2]?.eventHash ?? '';
  const forged = events.slice(from - 1).map((event, at): SeededEvent => {
    const body = at === 0 ? event.body.replace('"action":"', '"action":"x') : event.body;
    const hash = eventHash(previous, event.seq, event.createdAt, body, nativeHasher);
    const row = { ...event, body, previousEventHash: previous, eventHash: hash };
    previous = hash;
    return row;
  });
  await run(`ALTER TABLE ${TABLES.events} DELETE WHERE ${inWorkspace(workspaceId)} AND seq >= ${from}`);
  await insertSeeded(admin, forged);
  return [...events.slice(0, from - 1), ...forged];
}

interface Tampering {
  name: string;
  tamper(log: TestLog, events: SeededEvent[]): Promise<unknown>;
  /** Breaks it must be named by, all of them unless `first`: then the first ones. */
  named: string[];
  first?: true;
}

const TILE = 'tree_mismatch tile/0/';
const rootsOf = (...sizes: number[]) =>
  sizes.map((size) => `${size} tree_mismatch checkpoint ${size}: the tiles have another root`);

const TAMPERINGS: Tampering[] = [
  {
    name: 'the chain rewritten from an event on, every hash computed again',
    tamper: (log, events) => rewriteChain(log, events, 750),
    named: Array.from({ length: 51 }, (_, at) => `${750 + at} tree_mismatch leaf`),
  },
  {
    name: 'the chain and its tiles rewritten, under the old checkpoints',
    tamper: async (log, events) => {
      const forged = await rewriteChain(log, events, 750);
      const checkpoints = await savedCheckpoints(log);
      await run(`ALTER TABLE ${TABLES.tiles} DELETE WHERE ${inWorkspace(log.workspaceId)}`);
      await storeTree(admin, { ...log, key: testLog(log.workspaceId).key }, forged);
      await run(`ALTER TABLE ${TABLES.checkpoints} DELETE WHERE ${inWorkspace(log.workspaceId)}`);
      await restoreCheckpoints(checkpoints);
    },
    named: rootsOf(800),
  },
  {
    name: 'everything rewritten and signed with another key',
    tamper: async (log, events) => {
      const forged = await rewriteChain(log, events, 750);
      await run(`ALTER TABLE ${TABLES.tiles} DELETE WHERE ${inWorkspace(log.workspaceId)}`);
      await run(`ALTER TABLE ${TABLES.checkpoints} DELETE WHERE ${inWorkspace(log.workspaceId)}`);
      await storeTree(admin, { ...log, key: testLog(log.workspaceId).key }, forged);
    },
    named: ['800 tree_mismatch checkpoint 800: it is signed by no key of this log'],
  },
  {
    name: 'the newest events cut off',
    tamper: deleteFrom(TABLES.events, 'seq > 790'),
    named: ['791 tree_mismatch missing: events 791 to 800, which were signed'],
  },
  {
    name: 'all events removed',
    tamper: deleteFrom(TABLES.events, '1'),
    named: ['1 tree_mismatch missing: events 1 to 800, which were signed'],
  },
  {
    name: 'the newest events cut off, with their checkpoint and tiles',
    tamper: async (log, events) => {
      signed.set(log.workspaceId, ROWS);
      await deleteFrom(TABLES.events, 'seq > 700')(log);
      await deleteFrom(TABLES.checkpoints, 'size > 700')(log);
      await run(`ALTER TABLE ${TABLES.tiles} DELETE WHERE ${inWorkspace(log.workspaceId)}`);
      await storeTree(admin, log, events, [100, 256, 700]);
    },
    named: [
      '513 tree_mismatch tile/0/002',
      '701 tree_mismatch missing: events 701 to 800, which were signed',
      '800 tree_mismatch missing: checkpoint 800, which was signed',
    ],
  },
  {
    name: 'a leaf changed in a full tile',
    tamper: rewrite(
      TABLES.tiles,
      { hashes_hex: `concat(substring(hex(hashes), 1, 64), repeat('ab', 32), substring(hex(hashes), 129))` },
      'level = 0 AND tile_index = 1',
    ),
    named: ['257 tree_mismatch tile/0/001', '258 tree_mismatch leaf'],
  },
  {
    name: 'a leaf changed in the tile at the edge',
    tamper: rewrite(
      TABLES.tiles,
      { hashes_hex: `concat(repeat('ab', 32), substring(hex(hashes), 65))` },
      'level = 0 AND tile_index = 3',
    ),
    named: ['769 tree_mismatch leaf', ...rootsOf(800)],
  },
  {
    name: 'two tiles swapped',
    tamper: rewrite(TABLES.tiles, { tile_index: '1 - tile_index' }, 'level = 0 AND tile_index IN (0, 1)'),
    named: ['1 tree_mismatch leaf', '1 tree_mismatch tile/0/000', '2 tree_mismatch leaf'],
    first: true,
  },
  {
    name: 'a tile removed',
    tamper: deleteFrom(TABLES.tiles, 'level = 0 AND tile_index = 1'),
    named: ['257 tree_mismatch leaf', `257 ${TILE}001`, '258 tree_mismatch leaf'],
    first: true,
  },
  {
    name: 'a tile of another level in its place',
    tamper: async (log) => {
      await deleteFrom(TABLES.tiles, 'level = 0 AND tile_index = 0')(log);
      await rewrite(TABLES.tiles, { level: '0', tile_index: '0', width: '256' }, 'level = 1')(log);
    },
    named: ['1 tree_mismatch leaf'],
    first: true,
  },
  {
    name: 'a tile above the leaves changed',
    tamper: rewrite(
      TABLES.tiles,
      { hashes_hex: `concat(substring(hex(hashes), 1, 64), repeat('ab', 32), substring(hex(hashes), 129))` },
      'level = 1',
    ),
    named: [`257 ${TILE}001`, ...rootsOf(700, 800)],
  },
  {
    name: 'a tile said to be narrower than it is',
    tamper: rewrite(
      TABLES.tiles,
      { hashes_hex: 'substring(hex(hashes), 1, 640)', width: '10' },
      'level = 0 AND tile_index = 3',
    ),
    named: ['779 tree_mismatch leaf'],
    first: true,
  },
  {
    name: 'tiles of another workspace',
    tamper: async (log) => {
      const { log: other } = await seeded();
      await deleteFrom(TABLES.tiles, '1')(log);
      await run(`INSERT INTO ${TABLES.tiles} (${TILE_COLUMNS.join()})
        SELECT '${log.workspaceId}', level, tile_index, width, hex(hashes) FROM ${TABLES.tiles} WHERE ${inWorkspace(other.workspaceId)}`);
    },
    named: ['1 tree_mismatch leaf'],
    first: true,
  },
  {
    name: 'a checkpoint of another root in its column',
    tamper: update(TABLES.checkpoints, `root = repeat('ab', 32)`, 'size = 700'),
    named: ['700 tree_mismatch checkpoint 700: its text has another root than its column'],
  },
  {
    name: 'a checkpoint of another size in its column',
    tamper: rewrite(TABLES.checkpoints, { size: '699' }, 'size = 700'),
    named: ['699 tree_mismatch checkpoint 699: its text is of another size'],
  },
  {
    name: 'an old checkpoint in the place of the newest',
    tamper: async (log, events) => {
      const old = checkpointNote(log, events, 700);
      await update(TABLES.checkpoints, `note = '${old}'`, 'size = 800')(log);
    },
    named: ['800 tree_mismatch checkpoint 800: its text is of another size'],
  },
  {
    name: 'a fork, signed with the right key',
    tamper: async (log, events) => {
      const forged = await rewriteChain(log, events, 750);
      await run(`ALTER TABLE ${TABLES.tiles} DELETE WHERE ${inWorkspace(log.workspaceId)}`);
      await deleteFrom(TABLES.checkpoints, 'size = 800')(log);
      const older = await savedCheckpoints(log);
      await storeTree(admin, log, forged, [ROWS]);
      await restoreCheckpoints(older.filter(({ size }) => size === 700));
      await rewriteOldest(log, events);
    },
    // What was signed before does not follow: the fork begins at the event before its first forged one.
    named: rootsOf(760),
  },
  {
    name: 'a checkpoint whose signature was changed',
    tamper: update(TABLES.checkpoints, `note = replaceRegexpOne(note, 'A', 'B')`, 'size = 800'),
    named: ['800 tree_mismatch checkpoint 800: it is signed by no key of this log'],
  },
  {
    name: 'a checkpoint removed that the signer knows of',
    tamper: async (log) => {
      signed.set(log.workspaceId, ROWS);
      await deleteFrom(TABLES.checkpoints, 'size = 800')(log);
    },
    named: ['800 tree_mismatch missing: checkpoint 800, which was signed'],
  },
];

/** A checkpoint that was signed before the fork, of a size within it. */
async function rewriteOldest(log: TestLog, events: readonly SeededEvent[]): Promise<void> {
  const note = checkpointNote(log, events, 760);
  await admin.insert({
    table: TABLES.checkpoints,
    columns: ['workspace_id', 'size', 'root', 'note', 'cosignatures', 'is_witnessed', 'signed_at'],
    format: 'JSONEachRow',
    values: [
      {
        workspace_id: log.workspaceId,
        size: 760,
        root: Buffer.from(note.split('\n')[2] ?? '', 'base64').toString('hex'),
        note,
        cosignatures: 0,
        is_witnessed: false,
        signed_at: '2026-03-15T12:00:00.000000Z',
      },
    ],
    clickhouse_settings: { date_time_input_format: 'best_effort' },
  });
}

type SavedCheckpoint = Record<string, unknown> & { size: number };

async function savedCheckpoints({ workspaceId }: TestLog): Promise<SavedCheckpoint[]> {
  const rows = await admin.query({
    query: `SELECT ${CHECKPOINT_COLUMNS.join()} FROM ${TABLES.checkpoints} WHERE ${inWorkspace(workspaceId)} ORDER BY size`,
    format: 'JSONEachRow',
  });
  return await rows.json<SavedCheckpoint>();
}

async function restoreCheckpoints(rows: readonly SavedCheckpoint[]): Promise<void> {
  await admin.insert({
    table: TABLES.checkpoints,
    columns: CHECKPOINT_COLUMNS as [string, ...string[]],
    format: 'JSONEachRow',
    values: [...rows],
    clickhouse_settings: { date_time_input_format: 'best_effort' },
  });
}

describe('a log that was not changed', () => {
  test('is valid, with all that was signed', async () => {
    const { log } = await seeded();
    expect(await verify(log.workspaceId)).toEqual({
      valid: true,
      events_checked: ROWS,
      breaks: [],
      breaks_truncated: false,
      complete: true,
      from_seq: 1,
      to_seq: ROWS,
      signed_size: ROWS,
      checkpoints_checked: SIZES.length,
      anchors_checked: 0,
    });
  });

  test('is valid while newer events wait to be signed', async () => {
    const { log } = await seeded([100, 700]);
    expect(await verify(log.workspaceId)).toMatchObject({
      valid: true,
      signed_size: 700,
      checkpoints_checked: 2,
    });
  });

  test('is valid in each part of it', async () => {
    const { log, events } = await seeded();
    const from = encodeURIComponent(events[299]?.createdAt ?? '');
    const to = encodeURIComponent(events[619]?.createdAt ?? '');
    expect(await verify(log.workspaceId, `?from=${from}&to=${to}`)).toMatchObject({
      valid: true,
      from_seq: 300,
      to_seq: 620,
    });
    expect(await verify(log.workspaceId, '?limit=10')).toMatchObject({
      valid: true,
      complete: false,
      to_seq: 10,
    });
  });

  test('is valid before anything was signed', async () => {
    const { log } = await seeded([]);
    expect(await verify(log.workspaceId)).toMatchObject({
      valid: true,
      signed_size: null,
      checkpoints_checked: 0,
    });
  });

  test('is valid after its partial tiles were merged away', async () => {
    const { log } = await seeded();
    await run(`OPTIMIZE TABLE ${TABLES.tiles} FINAL`);
    await run(`OPTIMIZE TABLE ${TABLES.checkpoints} FINAL`);
    expect(await verify(log.workspaceId)).toMatchObject({ valid: true, checkpoints_checked: SIZES.length });
  });
});

describe('what was tampered with is named:', () => {
  test.each(TAMPERINGS)('$name', async ({ tamper, named, first }) => {
    const { log, events } = await seeded();
    await tamper(log, events);
    const verification = await verify(log.workspaceId);
    expect(verification.valid).toBe(false);
    const found = summaryOf(verification);
    expect(first ? found.slice(0, named.length) : found).toEqual(named);
  });

  test('every column of both tables is tampered with above', () => {
    const tampered = new Set([
      'level',
      'tile_index',
      'width',
      'hashes',
      'size',
      'root',
      'note',
      'workspace_id',
    ]);
    // Written beside what was signed, and no evidence of anything: cosignatures are verified from the note itself.
    const notEvidence = ['cosignatures', 'is_witnessed', 'signed_at', 'hashes_hex'];
    const columns = [...TILE_COLUMNS, ...CHECKPOINT_COLUMNS, 'hashes'];
    expect(columns.filter((column) => !tampered.has(column) && !notEvidence.includes(column))).toEqual([]);
  });

  test('across tiles of two levels', async () => {
    workspaces += 1;
    const workspaceId = `ws_${workspaces.toString(16).padStart(16, '0')}`;
    const events = chainEvents(workspaceId, variedEvents(66_000, randomFrom(3)), { random: randomFrom(9) });
    for (let from = 0; from < events.length; from += 20_000)
      await insertSeeded(admin, events.slice(from, from + 20_000));
    const log = testLog(workspaceId);
    logs.set(workspaceId, log);
    await storeTree(admin, log, events);
    expect(await verify(workspaceId, '?limit=100000')).toMatchObject({ valid: true, complete: true });
    await rewrite(
      TABLES.tiles,
      { hashes_hex: `concat(repeat('ab', 32), substring(hex(hashes), 65))` },
      'level = 1 AND tile_index = 0',
    )(log);
    expect(summaryOf(await verify(workspaceId, '?limit=100000'))).toEqual([
      `1 ${TILE}000`,
      '1 tree_mismatch tile/1/000',
    ]);
  });
});
