import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Workspace } from '../../control/workspaces.ts';
import { verifierKeyOf, verifyNote } from '../../core/checkpoint.ts';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import { createLogger } from '../../infra/log.ts';
import { directoryStore } from '../../infra/object-store/directory.ts';
import type { ObjectStore } from '../../infra/object-store/types.ts';
import { createCoverage } from '../../query/proofs/coverage.ts';
import { verifyChain } from '../../query/verify.ts';
import { startTestClickHouse, type TestClickHouse } from '../../test/support/clickhouse.ts';
import { chainEvents, headOf, insertSeeded, type SeededEvent } from '../../test/support/seed.ts';
import { storeTree, type TestLog, testLog } from '../../test/support/tree.ts';
import { checkArchive, listArchives, readManifest } from './archives.ts';
import { clickHouseRetentionStore } from './clickhouse-store.ts';
import { type Removal, type RetentionOptions, runRetention } from './run.ts';
import type { SignedLog } from './signed-log.ts';
import type { RetentionStore } from './store.ts';

const DAY_MICROS = 24 * 3600 * 1_000_000;
const NOW_MS = Date.UTC(2026, 5, 30, 3);
const LIMITS = { rows: 7, bytes: 1024 ** 2 };

let server: TestClickHouse;
let writer: ClickHouseClient;
let admin: ClickHouseClient;
let retention: ClickHouseClient;
let folder: string;
let number = 0;

beforeAll(async () => {
  server = await startTestClickHouse();
  writer = connectClickHouse(server.writerUrl);
  admin = connectClickHouse(server.adminUrl);
  retention = connectClickHouse(server.retentionUrl);
});
afterAll(async () => {
  await Promise.all([writer, admin, retention].map((client) => client?.close()));
  await server?.stop();
});
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'immutable-retention-'));
  return () => rmSync(folder, { recursive: true, force: true });
});

/** A workspace with one event a day, the last of them today. */
async function seedDays(days: number): Promise<{ workspace: Workspace; events: SeededEvent[] }> {
  number += 1;
  const id = `ws_${String(number).padStart(16, '0')}`;
  const inputs = Array.from({ length: days }, (_, day) => ({
    actor_id: 'user_1',
    action: 'document.read',
    metadata: { day, text: 'line\nfeed \u2028 €' },
  }));
  const events = chainEvents(id, inputs, {
    startMicros: NOW_MS * 1000 - (days - 1) * DAY_MICROS,
    stepMicros: DAY_MICROS,
  });
  await insertSeeded(writer, events);
  const log = testLog(id);
  logs.set(id, log);
  await storeTree(writer, log, events);
  return {
    workspace: { id, name: 'Test', plan: 'enterprise', created_at: '', retention_days: 10 },
    events,
  };
}

const logs = new Map<string, TestLog>();

const SIGNED: SignedLog = {
  placeOf: (workspaceId, seq) =>
    createCoverage(retention, { witnessedOnly: false, patienceMs: 0 })(
      workspaceId,
      seq,
      new AbortController().signal,
    ),
  isSigned: (workspaceId, note) => {
    const log = logs.get(workspaceId);
    return log !== undefined && verifyNote(note, [verifierKeyOf(log.key)]).ok;
  },
};

function store(): RetentionStore {
  return clickHouseRetentionStore(retention);
}

function options(workspaces: Workspace[], changed: Partial<RetentionOptions> = {}): RetentionOptions {
  return {
    store: store(),
    objects: directoryStore(folder),
    signed: SIGNED,
    workspaces: async () => workspaces,
    tell: async () => {},
    onRefused: async () => {},
    mayGoOn: () => true,
    nowMs: NOW_MS,
    log: createLogger('test', 'silent'),
    limits: LIMITS,
    ...changed,
  };
}

async function storedSeqs(workspaceId: string): Promise<number[]> {
  const result = await admin.query({
    query: `SELECT seq FROM ${TABLES.events} WHERE workspace_id = {id:String} ORDER BY seq`,
    query_params: { id: workspaceId },
    format: 'JSONEachRow',
  });
  return (await result.json<{ seq: number }>()).map((row) => row.seq);
}

/** Every event is in the store or in a sound archive, exactly as it was, and the chain of the rest holds. */
async function expectNothingLost(events: readonly SeededEvent[], workspaceId: string): Promise<void> {
  const kept = new Set(await storedSeqs(workspaceId));
  const archived = new Map<number, string>();
  const objects = directoryStore(folder);
  for (const name of await listArchives(objects, workspaceId)) {
    const content = await objects.read(`archives/${workspaceId}/${fileName(name)}.jsonl.gz`);
    if (content === undefined) throw new Error('an archive without its file');
    const report = await checkArchive(content, await readManifest(objects, name), (event) => {
      archived.set(event.seq, `${event.event_hash}${event.private}${event.salt}`);
    });
    if (!report.valid) continue;
  }
  for (const event of events) {
    const wanted = `${event.eventHash}${event.private}${event.salt}`;
    if (!kept.has(event.seq)) expect(archived.get(event.seq), `event ${event.seq}`).toBe(wanted);
  }
  const verification = await verifyChain(retention, { workspaceId });
  expect(verification).toMatchObject({ valid: true, complete: true });
}

function fileName({ first, last }: { first: number; last: number }): string {
  return [first, last].map((seq) => String(seq).padStart(15, '0')).join('-');
}

describe('a run of the retention', () => {
  it('archives and removes what is past it, and the chain holds from the oldest kept event', async () => {
    const { workspace, events } = await seedDays(40);
    const told: Removal[] = [];
    const report = await runRetention(
      options([workspace], { tell: async (removal) => void told.push(removal) }),
    );
    // The event of ten days ago to the microsecond is not before the moment, and stays.
    const last = 29;
    expect(report).toEqual({
      removals: [
        {
          workspaceId: workspace.id,
          first: 1,
          last,
          lastHash: events[last - 1]?.eventHash,
          archives: 5,
        },
      ],
      refused: [],
    });
    expect(told).toEqual(report.removals);
    expect(await storedSeqs(workspace.id)).toEqual([30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40]);
    expect(await verifyChain(retention, { workspaceId: workspace.id })).toMatchObject({
      valid: true,
      events_checked: 11,
      from_seq: 30,
      to_seq: 40,
    });
    await expectNothingLost(events, workspace.id);
    expect((await listArchives(directoryStore(folder))).map(({ first, last: end }) => [first, end])).toEqual([
      [1, 7],
      [8, 14],
      [15, 21],
      [22, 28],
      [29, 29],
    ]);
  });

  it('goes on day by day, and does nothing twice', async () => {
    const { workspace, events } = await seedDays(30);
    await runRetention(options([workspace]));
    expect(await runRetention(options([workspace]))).toEqual({ removals: [], refused: [] });
    const tomorrow = options([workspace], { nowMs: NOW_MS + 24 * 3600 * 1000 });
    expect((await runRetention(tomorrow)).removals).toMatchObject([{ first: 20, last: 20 }]);
    await expectNothingLost(events, workspace.id);
  });

  it('does not archive what is in no checkpoint yet', async () => {
    const { workspace, events } = await seedDays(20);
    await admin.command({
      query: `ALTER TABLE ${TABLES.checkpoints} DELETE WHERE workspace_id = '${workspace.id}'`,
      clickhouse_settings: { mutations_sync: '2' },
    });
    const log = logs.get(workspace.id) as TestLog;
    await storeTree(writer, log, events, [6]);
    const refused: string[] = [];
    const onRefused = async (_: string, { message }: Error) => void refused.push(message);
    expect((await runRetention(options([workspace], { onRefused }))).removals).toEqual([]);
    expect(refused).toEqual([expect.stringContaining('no checkpoint has event 7 yet')]);
    expect(await storedSeqs(workspace.id)).toHaveLength(20);
  });

  it('does not archive what is not what was signed, although its hashes hold together', async () => {
    const { workspace, events } = await seedDays(20);
    const forged = chainEvents(
      workspace.id,
      events.map(({ event }) => ({ actor_id: event.actor_id, action: 'document.forged' })),
      { startMicros: events[0]?.createdAtMicros as number, stepMicros: DAY_MICROS },
    );
    await admin.command({
      query: `ALTER TABLE ${TABLES.events} DELETE WHERE workspace_id = '${workspace.id}'`,
      clickhouse_settings: { mutations_sync: '2' },
    });
    await insertSeeded(writer, forged);
    const report = await runRetention(options([workspace]));
    expect(report.removals).toEqual([]);
    expect(report.refused).toMatchObject([
      { reason: expect.stringContaining('is not the one that was signed') },
    ]);
    expect(await storedSeqs(workspace.id)).toHaveLength(20);
  });

  it('never removes the newest event, from which the chain goes on', async () => {
    const { workspace, events } = await seedDays(5);
    const inAYear = NOW_MS + 365 * 24 * 3600 * 1000;
    await runRetention(options([workspace], { nowMs: inAYear }));
    expect(await storedSeqs(workspace.id)).toEqual([5]);
    const more = chainEvents(workspace.id, [{ actor_id: 'user_1', action: 'document.read' }], {
      head: headOf(events),
      startMicros: inAYear * 1000,
    });
    await insertSeeded(writer, more);
    await storeTree(writer, logs.get(workspace.id) as TestLog, [...events, ...more]);
    expect(await verifyChain(retention, { workspaceId: workspace.id })).toMatchObject({
      valid: true,
      events_checked: 2,
    });
    await runRetention(options([workspace], { nowMs: inAYear }));
    expect(await storedSeqs(workspace.id)).toEqual([6]);
    await expectNothingLost([...events, ...more], workspace.id);
  });

  it('leaves alone what has no retention, is held, or is all young; of its own and of others', async () => {
    const unlimited = await seedDays(30);
    const held = await seedDays(30);
    const young = await seedDays(5);
    const due = await seedDays(30);
    const report = await runRetention(
      options([
        { ...unlimited.workspace, retention_days: null },
        { ...held.workspace, legal_hold: { reason: 'case 7', since: '' } },
        young.workspace,
        due.workspace,
      ]),
    );
    expect(report.removals.map(({ workspaceId }) => workspaceId)).toEqual([due.workspace.id]);
    expect(await storedSeqs(unlimited.workspace.id)).toHaveLength(30);
    expect(await storedSeqs(held.workspace.id)).toHaveLength(30);
    expect(await storedSeqs(young.workspace.id)).toHaveLength(5);
    expect(await storedSeqs(due.workspace.id)).toHaveLength(11);
  });

  it('heeds a hold that is set while it archives', async () => {
    const { workspace, events } = await seedDays(30);
    let asked = 0;
    const report = await runRetention(
      options([workspace], {
        workspaces: async () => {
          asked += 1;
          return asked === 1 ? [workspace] : [{ ...workspace, legal_hold: { reason: 'now', since: '' } }];
        },
      }),
    );
    expect(report.removals).toEqual([]);
    expect(await storedSeqs(workspace.id)).toHaveLength(30);
    await expectNothingLost(events, workspace.id);
  });

  it('removes nothing once another process may be at it', async () => {
    const { workspace } = await seedDays(30);
    let asked = 0;
    const lost = options([workspace], {
      mayGoOn: () => {
        asked += 1;
        return asked === 1;
      },
    });
    await expect(runRetention(lost)).rejects.toMatchObject({ code: 'conflict' });
    expect(await storedSeqs(workspace.id)).toHaveLength(30);
  });

  it('cuts archives by size too, and holds large events', async () => {
    const { workspace, events } = await seedDays(30);
    await runRetention(options([workspace], { limits: { rows: 1000, bytes: 1 } }));
    expect(await listArchives(directoryStore(folder))).toHaveLength(19);
    await expectNothingLost(events, workspace.id);
  });
});

describe('events that were tampered with', () => {
  it.each([
    ['edited', `UPDATE body = replace(body, 'document.read', 'document.open') WHERE seq = 5`],
    ['deleted', 'DELETE WHERE seq = 5'],
    ['deleted at the beginning', 'DELETE WHERE seq <= 3'],
    ['given other personal data', `UPDATE private = '{}' WHERE seq = 5`],
  ])('are not archived when %s, and nothing of the workspace is removed', async (_, change) => {
    const { workspace } = await seedDays(30);
    const other = await seedDays(30);
    await admin.command({
      query: `ALTER TABLE ${TABLES.events} ${change} AND workspace_id = '${workspace.id}'`,
      clickhouse_settings: { mutations_sync: '2' },
    });
    const before = await storedSeqs(workspace.id);
    const refusals: string[] = [];
    const report = await runRetention(
      options([workspace, other.workspace], { onRefused: async (id) => void refusals.push(id) }),
    );
    expect(refusals).toEqual([workspace.id]);
    expect(report.refused[0]?.reason).toMatch(/cannot be archived/);
    expect(await storedSeqs(workspace.id)).toEqual(before);
    expect(await storedSeqs(other.workspace.id)).toHaveLength(11);
  });

  it('are not taken for archived because a boundary says so', async () => {
    const { workspace } = await seedDays(30);
    const forged = { workspaceId: workspace.id, oldestKeptSeq: 10, previousHash: 'a'.repeat(64) };
    await store().addBoundaries([forged]);
    const report = await runRetention(options([workspace]));
    expect(report).toMatchObject({ removals: [], refused: [{ workspaceId: workspace.id }] });
    expect(await storedSeqs(workspace.id)).toHaveLength(30);
  });
});

describe('an archive that is damaged where it is kept', () => {
  it('keeps its events in the store', async () => {
    const { workspace } = await seedDays(30);
    const real = directoryStore(folder);
    const lying: ObjectStore = {
      ...real,
      put: (key, bytes) => real.put(key, key.endsWith('.gz') ? flipped(bytes) : bytes),
    };
    const report = await runRetention(options([workspace], { objects: lying }));
    expect(report).toMatchObject({ removals: [], refused: [{ workspaceId: workspace.id }] });
    expect(await storedSeqs(workspace.id)).toHaveLength(30);
  });

  it('cannot fill the memory of who checks it', async () => {
    const { workspace } = await seedDays(20);
    await runRetention(options([workspace], { limits: { rows: 100, bytes: 1024 ** 2 } }));
    const objects = directoryStore(folder);
    const [name] = await listArchives(objects);
    if (name === undefined) throw new Error('no archive');
    const bomb = Readable.from([gzipSync(Buffer.alloc(64 * 1024 ** 2, 0x20))]);
    const report = await checkArchive(bomb, await readManifest(objects, name));
    expect(report).toMatchObject({ valid: false, rows: 0 });
    expect(report.problems.at(-1)?.detail).toContain('longer than any event');
  });

  it('is found by a check, wherever a byte was changed or cut off', async () => {
    const { workspace } = await seedDays(20);
    await runRetention(options([workspace], { limits: { rows: 100, bytes: 1024 ** 2 } }));
    const objects = directoryStore(folder);
    const [name] = await listArchives(objects);
    if (name === undefined) throw new Error('no archive');
    const manifest = await readManifest(objects, name);
    const path = join(folder, 'archives', workspace.id, `${fileName(name)}.jsonl.gz`);
    const bytes = readFileSync(path);
    const step = Math.max(1, Math.floor(bytes.length / 60));
    for (let at = 0; at < bytes.length; at += step) {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ 0x10;
      for (const damaged of [changed, bytes.subarray(0, at)]) {
        writeFileSync(path, damaged);
        const content = await objects.read(`archives/${workspace.id}/${fileName(name)}.jsonl.gz`);
        if (content === undefined) throw new Error('no file');
        expect((await checkArchive(content, manifest)).valid, `byte ${at}`).toBe(false);
      }
    }
  });
});

function flipped(bytes: Uint8Array): Uint8Array {
  const changed = Buffer.from(bytes);
  const middle = changed.length >> 1;
  changed[middle] = (changed[middle] ?? 0) ^ 1;
  return changed;
}

class Death extends Error {}

/** Calls go through until the `step`th, which dies before or after its effect. */
function mortal(step: number, after: boolean) {
  let calls = 0;
  let dead = false;
  async function call<T>(work: () => Promise<T>): Promise<T> {
    if (dead) throw new Death('dead');
    calls += 1;
    const dies = calls === step;
    if (dies) dead = true;
    if (dies && !after) throw new Death(`before call ${step}`);
    const result = await work();
    if (dies) throw new Death(`after call ${step}`);
    return result;
  }
  return { call, died: () => dead };
}

describe('a process that dies at any step', () => {
  it('loses nothing, and the next one finishes the work', { timeout: 300_000 }, async () => {
    for (const after of [false, true]) {
      for (let step = 1; ; step++) {
        const { workspace, events } = await seedDays(24);
        const { call, died } = mortal(step, after);
        const [realStore, realObjects] = [store(), directoryStore(folder)];
        const dying = options([workspace], {
          store: {
            ...realStore,
            span: (...given) => call(() => realStore.span(...given)),
            boundary: (...given) => call(() => realStore.boundary(...given)),
            addBoundaries: (...given) => call(() => realStore.addBoundaries(...given)),
            remove: (...given) => call(() => realStore.remove(...given)),
          },
          objects: {
            ...realObjects,
            put: (...given) => call(() => realObjects.put(...given)),
            read: (...given) => call(() => realObjects.read(...given)),
            remove: (...given) => call(() => realObjects.remove(...given)),
          },
          tell: () => call(async () => {}),
        });
        const outcome = await runRetention(dying).catch((error: unknown) => error);
        const where = `${after ? 'after' : 'before'} call ${step}`;
        if (!died()) {
          expect(outcome).toMatchObject({ removals: [{ last: 13 }] });
          expect(step).toBe(15);
          break;
        }
        expect(outcome, where).toBeInstanceOf(Death);
        await expectNothingLost(events, workspace.id);
        // The next run comes a day later, and other limits cut the archives elsewhere.
        const later = options([workspace], {
          nowMs: NOW_MS + 24 * 3600 * 1000,
          limits: { rows: 5, bytes: 1024 ** 2 },
        });
        const report = await runRetention(later);
        expect(report.refused, where).toEqual([]);
        expect((await storedSeqs(workspace.id))[0], where).toBe(15);
        await expectNothingLost(events, workspace.id);
        expectNoOverlap(await listArchives(realObjects, workspace.id), where);
        rmSync(join(folder, 'archives'), { recursive: true, force: true });
      }
    }
  });
});

function expectNoOverlap(names: readonly { first: number; last: number }[], where: string): void {
  let next = 1;
  for (const { first, last } of names) {
    expect(first, where).toBe(next);
    next = last + 1;
  }
  expect(next, where).toBe(15);
}

describe('a restored archive', () => {
  it('is there for reading, once, however often it is restored', async () => {
    const { workspace, events } = await seedDays(30);
    await runRetention(options([workspace]));
    const objects = directoryStore(folder);
    for (let round = 0; round < 2; round++) {
      for (const name of await listArchives(objects, workspace.id)) {
        const content = await objects.read(`archives/${workspace.id}/${fileName(name)}.jsonl.gz`);
        if (content === undefined) throw new Error('no file');
        await checkArchive(content, await readManifest(objects, name), (event) =>
          store().restore(workspace.id, [event]),
        );
      }
    }
    const result = await admin.query({
      query: `SELECT seq, body, action, event_hash FROM ${TABLES.restoredEvents} FINAL
        WHERE workspace_id = {id:String} ORDER BY seq`,
      query_params: { id: workspace.id },
      format: 'JSONEachRow',
    });
    const rows = await result.json<{ seq: number; body: string; action: string; event_hash: string }>();
    expect(rows.map((row) => row.seq)).toEqual(Array.from({ length: 19 }, (_, index) => index + 1));
    expect(rows[3]).toEqual({
      seq: 4,
      body: events[3]?.body,
      action: 'document.read',
      event_hash: events[3]?.eventHash,
    });
  });
});
