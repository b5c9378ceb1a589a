import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BEFORE_ALL } from '../../control/position.ts';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import { clickHouseStore } from '../../pipeline/chain/clickhouse-store.ts';
import type { ChainRow, Source } from '../../pipeline/chain/row.ts';
import type { ChainStore } from '../../pipeline/chain/store.ts';
import { memoryStore } from '../../pipeline/chain/testing/memory-store.ts';
import { chainOf, readSample, SAMPLE_EPOCH, sampleEvent } from '../../pipeline/chain/testing/sample.ts';
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts';

const FIVE_MINUTES_MICROS = 300_000_000;

/** What the chain stage relies on, whatever keeps its rows. Each test has a partition of its own. */
function storeContract(open: () => { store: ChainStore; count(partition: number): Promise<number> }): void {
  let nextPartition = 0;

  function fresh() {
    const source: Source = { partition: nextPartition++, epoch: SAMPLE_EPOCH };
    const { store, count } = open();
    const workspaces = ['a', 'b', 'c'].map(
      (name) => `ws_${name}${String(source.partition).padStart(15, '0')}`,
    );
    const [a = '', b = '', c = ''] = workspaces;
    return { source, store, a, b, c, count: () => count(source.partition) };
  }

  async function insertNow(store: ChainStore, source: Source, rows: ChainRow[], token: string) {
    const { clockMicros } = await store.highestPosition(source.partition);
    return await store.insert(source, rows, `${source.partition}:${token}`, clockMicros);
  }

  it('has no highest position while it is empty', async () => {
    const { store, source } = fresh();
    expect((await store.highestPosition(source.partition)).highest).toBeUndefined();
    expect((await store.heads(source.partition, ['ws_none'], BEFORE_ALL)).size).toBe(0);
  });

  it('gives back what it stored', async () => {
    const { store, source, a, b, count } = fresh();
    const rows = chainOf(source, [
      readSample(7, a, [
        sampleEvent(a),
        sampleEvent(a, { note: 'tab\there, newline\nhere, ünïcode 😀, nul \0' }),
      ]),
      readSample(9, b, [sampleEvent(b)]),
    ]);
    expect(await insertNow(store, source, rows, 't')).toEqual({ kind: 'answered' });
    expect(await count()).toBe(3);
    expect((await store.highestPosition(source.partition)).highest).toEqual({
      sequence: 9,
      index: 0,
      epoch: SAMPLE_EPOCH,
      eventHash: rows[2]?.eventHash,
    });
    expect(await store.epochs()).toContain(SAMPLE_EPOCH);
    expect((await store.rowsAfter(source.partition, BEFORE_ALL, 10)).map(plain)).toEqual(rows.map(plain));
    expect(await store.rowAt(source.partition, { sequence: 7, index: 1 })).toMatchObject({
      workspaceId: a,
      seq: 2,
      body: rows[1]?.body,
    });
    expect(await store.rowAt(source.partition, { sequence: 8, index: 0 })).toBeUndefined();
    expect(await store.positionOf(source.partition, a, 2)).toEqual({ sequence: 7, index: 1 });
    expect(await store.positionOf(source.partition, a, 3)).toBeUndefined();
  });

  it('tells its own clock', async () => {
    const { store, source } = fresh();
    const { clockMicros } = await store.highestPosition(source.partition);
    expect(Math.abs(clockMicros - Date.now() * 1000)).toBeLessThan(60_000_000);
  });

  it('keeps partitions apart', async () => {
    const one = fresh();
    const other = fresh();
    const rows = chainOf(one.source, [readSample(100, one.a, [sampleEvent(one.a)])]);
    await insertNow(one.store, one.source, rows, 'one');
    const { store } = one;
    expect((await store.highestPosition(other.source.partition)).highest).toBeUndefined();
    expect((await store.heads(other.source.partition, [one.a], { sequence: 999, index: 0 })).size).toBe(0);
    expect(await store.rowsAfter(other.source.partition, BEFORE_ALL, 10)).toEqual([]);
  });

  it('gives the head of each workspace at or before a position', async () => {
    const { store, source, a, b, c } = fresh();
    const rows = chainOf(source, [
      readSample(1, a, [sampleEvent(a), sampleEvent(a)]),
      readSample(2, b, [sampleEvent(b)]),
      readSample(3, a, [sampleEvent(a)]),
    ]);
    await insertNow(store, source, rows, 't');
    const headAt = async (sequence: number, index: number) =>
      await store.heads(source.partition, [a, b, c], { sequence, index });
    expect(await headAt(3, 0)).toEqual(
      new Map([
        [a, headOf(rows[3])],
        [b, headOf(rows[2])],
      ]),
    );
    expect(await headAt(2, 0)).toEqual(
      new Map([
        [a, headOf(rows[1])],
        [b, headOf(rows[2])],
      ]),
    );
    expect(await headAt(1, 0)).toEqual(new Map([[a, headOf(rows[0])]]));
    expect(await headAt(0, 0)).toEqual(new Map());
  });

  it('looks up the heads of many workspaces', async () => {
    const { store, source, a } = fresh();
    const many = Array.from({ length: 150 }, (_, number) => `${a}_${number}`);
    const rows = chainOf(
      source,
      many.map((id, index) => readSample(index + 1, id, [sampleEvent(id)])),
    );
    await insertNow(store, source, rows, 't');
    const found = await store.heads(source.partition, many, { sequence: 999, index: 0 });
    expect(found.size).toBe(150);
    expect(found.get(many[149]!)).toEqual(headOf(rows[149]));
  });

  it('knows ids at or before a position, within their workspace', async () => {
    const { store, source, a, b } = fresh();
    const [early, late] = [sampleEvent(a, { key: 'early' }), sampleEvent(a, { key: 'late' })];
    const rows = chainOf(source, [readSample(1, a, [early]), readSample(2, a, [late])]);
    await insertNow(store, source, rows, 't');
    const ids = [early.id, late.id, 'a8098c1a-f86e-81da-bd1a-00112444be1e'];
    const known = (workspace: string, sequence: number) =>
      store.knownIds(source.partition, new Map([[workspace, ids]]), { sequence, index: 0 });
    expect(await known(a, 2)).toEqual(new Set([early.id, late.id]));
    expect(await known(a, 1)).toEqual(new Set([early.id]));
    expect(await known(b, 2)).toEqual(new Set());
  });

  it('looks up as many ids as an insert can bring', async () => {
    const { store, source, a } = fresh();
    const event = sampleEvent(a, { key: 'the one' });
    await insertNow(store, source, chainOf(source, [readSample(1, a, [event])]), 't');
    const others = Array.from({ length: 50_000 }, () => crypto.randomUUID());
    const known = await store.knownIds(source.partition, new Map([[a, [...others, event.id]]]), {
      sequence: 1,
      index: 0,
    });
    expect(known).toEqual(new Set([event.id]));
  });

  it('stores nothing under a token it has seen, and answers', async () => {
    const { store, source, a, count } = fresh();
    const rows = chainOf(source, [readSample(1, a, [sampleEvent(a)]), readSample(2, a, [sampleEvent(a)])]);
    await insertNow(store, source, rows.slice(0, 1), '1.0');
    expect(await insertNow(store, source, rows, '1.0')).toEqual({ kind: 'answered' });
    expect(await count()).toBe(1);
    expect(await insertNow(store, source, rows.slice(1), '1.0:1')).toEqual({ kind: 'answered' });
    expect(await count()).toBe(2);
  });

  it('refuses rows that were chained more than five minutes ago', async () => {
    const { store, source, a, count } = fresh();
    const rows = chainOf(source, [readSample(1, a, [sampleEvent(a)])]);
    const { clockMicros } = await store.highestPosition(source.partition);
    const late = await store.insert(
      source,
      rows,
      `${source.partition}:late`,
      clockMicros - FIVE_MINUTES_MICROS - 1_000_000,
    );
    expect(late.kind).toBe('refused');
    const inTime = await store.insert(
      source,
      rows,
      `${source.partition}:in time`,
      clockMicros - FIVE_MINUTES_MICROS + 20_000_000,
    );
    expect(inTime.kind).toBe('answered');
    expect(await count()).toBe(1);
  });

  it('stores the largest insert whole', async () => {
    const { store, source, a, count } = fresh();
    const events = Array.from({ length: 50_000 }, () => sampleEvent(a));
    await insertNow(store, source, chainOf(source, [readSample(1, a, events)]), 'large');
    expect(await count()).toBe(50_000);
  });

  it('reads rows back in the order of the stream, so many messages at a time', async () => {
    const { store, source, a, b } = fresh();
    const rows = chainOf(source, [
      readSample(10, b, [sampleEvent(b), sampleEvent(b), sampleEvent(b)]),
      readSample(20, a, [sampleEvent(a)]),
      readSample(30, b, [sampleEvent(b)]),
    ]);
    await insertNow(store, source, rows, 't');
    const after = async (sequence: number, index: number, messages: number) =>
      (await store.rowsAfter(source.partition, { sequence, index }, messages)).map(
        ({ position }) => `${position.sequence}.${position.index}`,
      );
    expect(await after(0, 0, 2)).toEqual(['10.0', '10.1', '10.2', '20.0']);
    expect(await after(10, 1, 2)).toEqual(['10.2', '20.0']);
    expect(await after(10, 2 ** 32 - 1, 1)).toEqual(['20.0']);
    expect(await after(30, 0, 5)).toEqual([]);
  });

  it('finds the first position that was stored since a time', async () => {
    const { store, source, a } = fresh();
    const rows = chainOf(source, [readSample(1, a, [sampleEvent(a)]), readSample(2, a, [sampleEvent(a)])]);
    const { clockMicros } = await store.highestPosition(source.partition);
    await store.insert(source, rows.slice(0, 1), `${source.partition}:1`, clockMicros - 60_000_000);
    await store.insert(source, rows.slice(1), `${source.partition}:2`, clockMicros);
    const since = (micros: number) => store.firstPositionSince(source.partition, micros);
    expect(await since(clockMicros - 90_000_000)).toEqual({ sequence: 1, index: 0 });
    expect(await since(clockMicros - 30_000_000)).toEqual({ sequence: 2, index: 0 });
    expect(await since(clockMicros + 1)).toBeUndefined();
  });

  it('takes any bytes into quarantine, and the same entry again', async () => {
    const { store, source } = fresh();
    const entry = {
      position: { sequence: 5, index: 0 },
      subject: 'events.0.ws_x',
      workspaceId: 'ws_x',
      reason: 'a "reason"\twith \\ signs',
      bytes: Uint8Array.from({ length: 256 }, (_, byte) => byte),
    };
    await store.quarantine(source, entry);
    await store.quarantine(source, entry);
  });
}

describe('the store in memory', () => {
  const store = memoryStore();
  storeContract(() => ({
    store,
    count: async (partition) => store.rows.filter((row) => row.partition === partition).length,
  }));
});

describe('the store in ClickHouse', () => {
  let server: TestClickHouse;
  let client: ClickHouseClient;
  beforeAll(async () => {
    server = await startTestClickHouse();
    client = connectClickHouse(server.writerUrl);
  });
  afterAll(async () => {
    await client?.close();
    await server?.stop();
  });

  async function one(query: string): Promise<Record<string, unknown>> {
    const rows = await (await client.query({ query, format: 'JSONEachRow' })).json<Record<string, unknown>>();
    return rows[0] ?? {};
  }

  storeContract(() => ({
    store: clickHouseStore(client),
    count: async (partition) =>
      Number((await one(`SELECT count() AS n FROM ${TABLES.events} WHERE partition = ${partition}`)).n),
  }));

  it('makes one part of the largest insert', async () => {
    const source: Source = { partition: 5000, epoch: SAMPLE_EPOCH };
    const a = 'ws_00000000000000ff';
    const events = Array.from({ length: 50_000 }, () => sampleEvent(a));
    const rows = chainOf(source, [readSample(1, a, events)]);
    const store = clickHouseStore(client);
    const { clockMicros } = await store.highestPosition(source.partition);
    await store.insert(source, rows, 'one part', clockMicros);
    expect(
      await one(`SELECT uniqExact(_part) AS parts FROM ${TABLES.events} WHERE partition = 5000`),
    ).toEqual({
      parts: 1,
    });
  });

  it('keeps quarantined bytes as they were', async () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, byte) => byte);
    await clickHouseStore(client).quarantine(
      { partition: 4000, epoch: SAMPLE_EPOCH },
      { position: { sequence: 1, index: 2 }, subject: '', workspaceId: 'ws_q', reason: 'a\tb\\', bytes },
    );
    expect(
      await one(`SELECT hex(payload) AS hex, reason FROM ${TABLES.quarantine} WHERE partition = 4000`),
    ).toEqual({
      hex: Buffer.from(bytes).toString('hex').toUpperCase(),
      reason: 'a\tb\\',
    });
  });
});

function headOf(row: ChainRow | undefined) {
  return { seq: row?.seq, createdAtMicros: row?.createdAtMicros, eventHash: row?.eventHash };
}

function plain(row: ChainRow): ChainRow {
  const {
    position,
    workspaceId,
    seq,
    createdAtMicros,
    createdAt,
    id,
    salt,
    body,
    eventHash,
    previousEventHash,
  } = row;
  return {
    position: { sequence: position.sequence, index: position.index },
    workspaceId,
    seq,
    createdAtMicros,
    createdAt,
    id,
    salt,
    body,
    private: row.private,
    eventHash,
    previousEventHash,
    bytes: row.bytes,
  };
}
