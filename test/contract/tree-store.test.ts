import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import { clickHouseStore } from '../../pipeline/chain/clickhouse-store.ts';
import type { ChainRow, Source } from '../../pipeline/chain/row.ts';
import { memoryStore } from '../../pipeline/chain/testing/memory-store.ts';
import { chainOf, readSample, SAMPLE_EPOCH, sampleEvent } from '../../pipeline/chain/testing/sample.ts';
import { clickHouseTreeStore } from '../../pipeline/tree/clickhouse-store.ts';
import { EMPTY_TREE_HEAD } from '../../pipeline/tree/growing-tree.ts';
import type { SignedCheckpoint, TreeStore, WorkspaceTile } from '../../pipeline/tree/store.ts';
import { memoryTreeStore } from '../../pipeline/tree/testing/memory-store.ts';
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts';

interface Opened {
  store: TreeStore;
  putEvents(source: Source, rows: readonly ChainRow[]): Promise<void>;
}

/** What the tree stage relies on, whatever keeps its rows. Each test has a partition and workspaces of its own. */
function storeContract(open: () => Opened, merged: () => Promise<void>): void {
  let nextPartition = 0;

  function fresh() {
    const source: Source = { partition: nextPartition++, epoch: SAMPLE_EPOCH };
    const [a, b] = ['a', 'b'].map((name) => `ws_${name}${String(source.partition).padStart(15, '0')}`);
    return { ...open(), source, a: a ?? '', b: b ?? '' };
  }

  function tile(workspaceId: string, width: number, fill: number, level = 0, index = 0): WorkspaceTile {
    return { workspaceId, level, index, width, hashes: new Uint8Array(32 * width).fill(fill) };
  }

  function checkpoint(workspaceId: string, size: number, given: Partial<SignedCheckpoint> = {}) {
    return {
      workspaceId,
      size,
      root: 'ab'.repeat(32),
      note: `origin/${workspaceId}\n${size}\nroot=\n\n— origin/${workspaceId} c2ln\n`,
      cosignatures: 0,
      isWitnessed: false,
      signedAt: '2026-03-15T12:00:00.123456Z',
      ...given,
    };
  }

  describe('events', () => {
    it('are none before there are any', async () => {
      const { store, source, a } = fresh();
      expect(await store.heads(source.partition)).toEqual(new Map());
      expect(await store.eventsAfter(a, EMPTY_TREE_HEAD, 10)).toEqual([]);
      expect(await store.eventAt(a, 1)).toBeUndefined();
      expect(await store.positionOf(a, { seq: 1, createdAt: '2026-03-15T12:00:00.000000Z' })).toBeUndefined();
    });

    it('come in the order of the chain, of one workspace, with what their hash was made of', async () => {
      const { store, putEvents, source, a, b } = fresh();
      const rows = chainOf(source, [
        readSample(3, b, [sampleEvent(b)]),
        readSample(4, a, [
          sampleEvent(a),
          sampleEvent(a, { note: 'tab\there, "quoted", ünïcode 😀, nul \0' }),
        ]),
        readSample(6, b, [sampleEvent(b)]),
        readSample(9, a, [sampleEvent(a), sampleEvent(a)]),
      ]);
      await putEvents(source, rows);
      const ofA = rows.filter((row) => row.workspaceId === a).map(asStored);
      expect(await store.heads(source.partition)).toEqual(
        new Map([
          [a, 4],
          [b, 2],
        ]),
      );
      expect(await store.eventsAfter(a, EMPTY_TREE_HEAD, 10)).toEqual(ofA);
      expect(await store.eventsAfter(a, EMPTY_TREE_HEAD, 3)).toEqual(ofA.slice(0, 3));
      expect(await store.eventsAfter(a, ofA[1]!, 10)).toEqual(ofA.slice(2));
      expect(await store.eventsAfter(a, ofA[3]!, 10)).toEqual([]);
      // Where retention has removed what was before, only the number of the newest leaf is known.
      expect(await store.eventsAfter(a, { seq: 2, createdAt: '', eventHash: 'x' }, 1)).toEqual([ofA[2]]);
      expect(await store.eventAt(a, 3)).toEqual(ofA[2]);
      expect(await store.eventAt(a, 5)).toBeUndefined();
      expect(await store.positionOf(a, ofA[3]!)).toEqual({ sequence: 9, index: 1, epoch: SAMPLE_EPOCH });
      expect(await store.positionOf(b, ofA[3]!)).toBeUndefined();
      expect(await store.positionOf(a, { ...ofA[3]!, seq: 3 })).toBeUndefined();
    });

    it('are told apart by a microsecond', async () => {
      const { store, putEvents, source, a } = fresh();
      const midnight = Date.UTC(2026, 3, 2) * 1000;
      const at = (micros: number) => readSample(micros - midnight + 10, a, [sampleEvent(a)], micros);
      const rows = chainOf(source, [at(midnight - 1), at(midnight), at(midnight + 1)]);
      await putEvents(source, rows);
      const [before, exactly, after] = await store.eventsAfter(a, EMPTY_TREE_HEAD, 10);
      expect([before?.createdAt, exactly?.createdAt, after?.createdAt]).toEqual([
        '2026-04-01T23:59:59.999999Z',
        '2026-04-02T00:00:00.000000Z',
        '2026-04-02T00:00:00.000001Z',
      ]);
      expect(await store.eventsAfter(a, before!, 10)).toEqual([exactly, after]);
      expect((await store.positionOf(a, exactly!))?.sequence).toBe(10);
      expect(await store.positionOf(a, { ...exactly!, createdAt: before!.createdAt })).toBeUndefined();
    });

    it('of another partition are not among the heads', async () => {
      const [one, other] = [fresh(), fresh()];
      await one.putEvents(one.source, chainOf(one.source, [readSample(1, one.a, [sampleEvent(one.a)])]));
      expect(await one.store.heads(other.source.partition)).toEqual(new Map());
    });
  });

  describe('tiles', () => {
    it('come back as they were written, those that are asked for and are there', async () => {
      const { store, a, b } = fresh();
      const hashes = Uint8Array.from({ length: 64 }, (_, byte) => 255 - byte);
      await store.writeTiles([
        { workspaceId: a, level: 0, index: 0, width: 2, hashes },
        tile(a, 256, 7, 1, 3),
        tile(b, 1, 9),
      ]);
      expect(await store.tiles(a, [{ level: 0, index: 0 }])).toEqual([
        { level: 0, index: 0, width: 2, hashes },
      ]);
      const both = await store.tiles(a, [
        { level: 1, index: 3 },
        { level: 1, index: 4 },
        { level: 0, index: 0 },
      ]);
      expect(both.map(({ level, index, width }) => [level, index, width]).sort()).toEqual([
        [0, 0, 2],
        [1, 3, 256],
      ]);
      expect(await store.tiles(a, [])).toEqual([]);
      await store.writeTiles([]);
    });

    for (const when of ['before', 'after'] as const) {
      const settle = when === 'after' ? merged : async () => {};

      it(`are the widest, in whatever order they came, ${when} a merge`, async () => {
        const { store, a, b } = fresh();
        await store.writeTiles([tile(a, 3, 1)]);
        await store.writeTiles([tile(a, 200, 1)]);
        await store.writeTiles([tile(a, 5, 1)]);
        await store.writeTiles([tile(b, 256, 2), tile(b, 255, 2)]);
        await settle();
        const width = async (workspaceId: string) =>
          (await store.tiles(workspaceId, [{ level: 0, index: 0 }])).map((found) => found.width);
        expect(await width(a)).toEqual([200]);
        expect(await width(b)).toEqual([256]);
      });

      it(`of the same width are the last that were written, ${when} a merge`, async () => {
        const { store, a } = fresh();
        for (const fill of [1, 2, 3]) {
          await store.writeTiles([tile(a, 17, fill)]);
          if (fill === 2) await settle();
        }
        await settle();
        const [found] = await store.tiles(a, [{ level: 0, index: 0 }]);
        expect(found?.hashes).toEqual(new Uint8Array(32 * 17).fill(3));
      });

      it(`written again change nothing, ${when} a merge`, async () => {
        const { store, a } = fresh();
        const tiles = [tile(a, 256, 4), tile(a, 12, 5, 0, 1), tile(a, 1, 6, 1)];
        for (let time = 0; time < 3; time += 1) await store.writeTiles(tiles);
        await settle();
        const found = await store.tiles(a, tiles);
        expect(found.map(({ level, index, width }) => [level, index, width]).sort()).toEqual([
          [0, 0, 256],
          [0, 1, 12],
          [1, 0, 1],
        ]);
      });
    }

    it('are read by the thousand', async () => {
      const { store, a } = fresh();
      const tiles = Array.from({ length: 1_000 }, (_, index) => tile(a, 256, index % 256, 0, index));
      await store.writeTiles(tiles);
      expect(await store.tiles(a, tiles)).toHaveLength(1_000);
    });
  });

  describe('checkpoints', () => {
    it('are none before the first was signed', async () => {
      const { store, a } = fresh();
      await store.writeCheckpoints([]);
      expect(await store.newestCheckpoint(a)).toBeUndefined();
    });

    it('come back as they were written, the largest of the workspace', async () => {
      const { store, a, b } = fresh();
      await store.writeCheckpoints([checkpoint(a, 12), checkpoint(a, 9), checkpoint(b, 400)]);
      await store.writeCheckpoints([checkpoint(a, 3)]);
      expect(await store.newestCheckpoint(a)).toEqual(checkpoint(a, 12));
      expect(await store.newestCheckpoint(b)).toEqual(checkpoint(b, 400));
      expect(await store.largestSizes([b, 'ws_none', a])).toEqual(
        new Map([
          [a, 12],
          [b, 400],
        ]),
      );
      expect(await store.largestSizes([])).toEqual(new Map());
    });

    for (const when of ['before', 'after'] as const) {
      it(`with more cosignatures take the place of the same with fewer, ${when} a merge`, async () => {
        const { store, a } = fresh();
        const bare = checkpoint(a, 7);
        const witnessed = checkpoint(a, 7, {
          cosignatures: 2,
          isWitnessed: true,
          note: `${bare.note}— witness c2ln\n— other c2ln\n`,
        });
        await store.writeCheckpoints([bare]);
        await store.writeCheckpoints([witnessed]);
        // At a start the newest are written again, as they were signed.
        await store.writeCheckpoints([bare]);
        if (when === 'after') await merged();
        expect(await store.newestCheckpoint(a)).toEqual(witnessed);
      });
    }
  });
}

describe('the store in memory', () => {
  const events = memoryStore();
  const store = memoryTreeStore(() => events.rows);
  storeContract(
    () => ({
      store,
      putEvents: async (source, rows) => events.put(source, rows),
    }),
    async () => {},
  );
});

describe('the store in ClickHouse', () => {
  let server: TestClickHouse;
  let client: ClickHouseClient;
  let admin: ClickHouseClient;
  beforeAll(async () => {
    server = await startTestClickHouse();
    client = connectClickHouse(server.writerUrl);
    admin = connectClickHouse(server.adminUrl);
  });
  afterAll(async () => {
    await client?.close();
    await admin?.close();
    await server?.stop();
  });

  storeContract(
    () => ({
      store: clickHouseTreeStore(client),
      putEvents: async (source, rows) => {
        const events = clickHouseStore(client);
        for (const month of new Set(rows.map((row) => row.createdAt.slice(0, 7)))) {
          const { clockMicros } = await events.highestPosition(source.partition);
          const ofMonth = rows.filter((row) => row.createdAt.startsWith(month));
          const token = `${source.partition}:${month}:${ofMonth[0]?.position.sequence}`;
          expect(await events.insert(source, ofMonth, token, clockMicros)).toEqual({ kind: 'answered' });
        }
      },
    }),
    async () => {
      for (const table of [TABLES.tiles, TABLES.checkpoints]) {
        await admin.command({ query: `OPTIMIZE TABLE ${table} FINAL` });
      }
    },
  );

  it('keeps every size that was signed, each once', async () => {
    const store = clickHouseTreeStore(client);
    const workspaceId = 'ws_00000000000000cc';
    const signed = [1, 2, 3].map((size) => ({
      workspaceId,
      size,
      root: '00'.repeat(32),
      note: String(size),
      cosignatures: 0,
      isWitnessed: false,
      signedAt: '2026-03-15T12:00:00.000000Z',
    }));
    await store.writeCheckpoints(signed);
    await store.writeCheckpoints(signed.slice(1));
    await admin.command({ query: `OPTIMIZE TABLE ${TABLES.checkpoints} FINAL` });
    const result = await admin.query({
      query: `SELECT size, note FROM ${TABLES.checkpoints} WHERE workspace_id = '${workspaceId}' ORDER BY size`,
      format: 'JSONCompactEachRow',
    });
    expect(await result.json()).toEqual([
      [1, '1'],
      [2, '2'],
      [3, '3'],
    ]);
  });
});

function asStored({ seq, createdAt, body, eventHash, previousEventHash }: ChainRow) {
  return { seq, createdAt, body, eventHash, previousEventHash };
}
