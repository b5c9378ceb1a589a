import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { BEFORE_ALL } from '../../control/position.ts';
import { type ClickHouseClient, connectClickHouse } from '../../infra/clickhouse/client.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import { clickHouseStore } from '../../pipeline/chain/clickhouse-store.ts';
import type { ChainRow } from '../../pipeline/chain/row.ts';
import type { Chain } from '../../pipeline/chain/start.ts';
import type { ChainStore } from '../../pipeline/chain/store.ts';
import { chainOf, readSample, sampleEvent } from '../../pipeline/chain/testing/sample.ts';
import {
  eventually,
  everybodysLeases,
  expectedRows,
  openTestStage,
  type TestStage,
  workspacesOf,
} from '../../pipeline/chain/testing/stage.ts';
import { startTestClickHouse, type TestClickHouse } from '../support/clickhouse.ts';

/* The chain stage on real NATS and real ClickHouse: the rules that ClickHouse has a part in. */

const PARTITIONS = 2;
const [A = '', B = ''] = workspacesOf(0, PARTITIONS, 2);
const [D = ''] = workspacesOf(1, PARTITIONS, 1);

let stage: TestStage;
let server: TestClickHouse;
let writer: ClickHouseClient;
let admin: ClickHouseClient;
let store: ChainStore;

beforeAll(async () => {
  [stage, server] = await Promise.all([openTestStage(PARTITIONS), startTestClickHouse()]);
  writer = connectClickHouse(server.writerUrl);
  admin = connectClickHouse(server.adminUrl);
  store = clickHouseStore(writer);
});
beforeEach(async () => {
  await stage.reset();
  // Forgets the tokens, too: the sequences of every test begin with 1.
  await admin.command({ query: `TRUNCATE TABLE ${TABLES.events}` });
  await admin.command({ query: `TRUNCATE TABLE ${TABLES.quarantine}` });
});
afterAll(async () => {
  await stage?.close();
  await writer?.close();
  await admin?.close();
  await server?.stop();
});

async function storedCount(): Promise<number> {
  const answer = await writer.query({
    query: `SELECT count() AS n FROM ${TABLES.events}`,
    format: 'JSONEachRow',
  });
  return Number((await answer.json<{ n: number }>())[0]?.n);
}

async function untilStored(count: number): Promise<void> {
  await eventually(storedCount, (stored) => stored >= count, 60_000);
}

async function storedRows(partition: number): Promise<ChainRow[]> {
  return await store.rowsAfter(partition, BEFORE_ALL, 100_000);
}

async function expectWhole(): Promise<void> {
  const stored: ChainRow[] = [];
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const rows = await storedRows(partition);
    expect(rows).toEqual(await expectedRows(stage, partition));
    stored.push(...rows);
  }
  const chained = await eventually(
    async () => [...(await stage.chained()).values()].flat(),
    (events) => events.length >= stored.length,
  );
  expect(chained.map((event) => event.id).sort()).toEqual(stored.map((row) => row.id).sort());
}

function startWithoutLease(): Chain {
  const leases = everybodysLeases(stage.buckets.leases);
  return stage.start(store, { buckets: { ...stage.buckets, leases } });
}

describe('the chain stage on ClickHouse', () => {
  it('stores what EVENTS has, across restarts', async () => {
    const chain = stage.start(store);
    await stage.publish(A, [sampleEvent(A), sampleEvent(A, { key: 'k' })]);
    await stage.publish(D, [sampleEvent(D)]);
    await untilStored(3);
    await chain.stop();
    await stage.publish(A, [sampleEvent(A, { key: 'k' }), sampleEvent(A)]);
    stage.start(store);
    await untilStored(4);
    await expectWhole();
  });

  it('stores events of two months in two inserts', async () => {
    const midnight = Date.UTC(2026, 2, 1) * 1000;
    await stage.publish(A, [sampleEvent(A), sampleEvent(A), sampleEvent(A)], midnight - 2);
    await stage.publish(B, [sampleEvent(B)], midnight - 1);
    stage.start(store);
    await untilStored(4);
    await expectWhole();
  });

  it('does not fork the chain when two processes hold one partition', async () => {
    startWithoutLease();
    startWithoutLease();
    for (let round = 0; round < 25; round++) {
      await stage.publish(A, [sampleEvent(A), sampleEvent(A, { key: `k${round % 5}` })]);
      await stage.publish(B, [sampleEvent(B)]);
    }
    await untilStored(55);
    await expectWhole();
  });

  it('repeats an insert whose token ClickHouse knows although it has no rows of it', async () => {
    const sequence = await stage.publish(A, [sampleEvent(A)]);
    const source = { partition: 0, epoch: '0'.repeat(16) };
    const rows = chainOf(source, [readSample(1, A, [sampleEvent(A)])]);
    const { clockMicros } = await store.highestPosition(0);
    await store.insert(source, rows, `0:${sequence}.0`, clockMicros);
    // What a kill between token and rename leaves behind: a mutation keeps the token, too.
    await admin.command({ query: `ALTER TABLE ${TABLES.events} DELETE WHERE 1 SETTINGS mutations_sync = 2` });
    expect(await storedCount()).toBe(0);
    await store.insert(source, rows, `0:${sequence}.0`, clockMicros);
    expect(await storedCount()).toBe(0);
    stage.start(store);
    await untilStored(1);
    await expectWhole();
  });

  describe('with a table that refuses some rows', () => {
    beforeEach(async () => {
      await admin.command({
        query: `ALTER TABLE ${TABLES.events} ADD CONSTRAINT no_poison CHECK position(private, 'poison') = 0`,
      });
    });

    it('sets these aside and stores the rest', async () => {
      const events = (count: number) => Array.from({ length: count }, () => sampleEvent(A));
      await stage.publish(A, [...events(9), sampleEvent(A, { note: 'poison' }), ...events(6)]);
      await stage.publish(B, [sampleEvent(B)]);
      stage.start(store);
      await untilStored(17);
      await admin.command({ query: `ALTER TABLE ${TABLES.events} DROP CONSTRAINT no_poison` });
      const rows = await storedRows(0);
      expect(rows.map((row) => JSON.parse(row.body).action)).toEqual([
        ...Array.from({ length: 9 }, () => 'document.viewed'),
        'immutable.event_refused',
        ...Array.from({ length: 7 }, () => 'document.viewed'),
      ]);
      const chain = rows.filter((row) => row.workspaceId === A);
      expect(chain.map((row) => row.seq)).toEqual(chain.map((_, index) => index + 1));
      expect(chain.map((row) => row.previousEventHash)).toEqual([
        '',
        ...chain.slice(0, -1).map((row) => row.eventHash),
      ]);
      const answer = await admin.query({
        query: `SELECT payload, reason FROM ${TABLES.quarantine}`,
        format: 'JSONEachRow',
      });
      expect(await answer.json()).toEqual([
        {
          payload: expect.stringContaining('poison'),
          reason: expect.stringContaining('VIOLATED_CONSTRAINT'),
        },
      ]);
    });
  });

  it('loses and doubles nothing when ClickHouse is killed again and again', async () => {
    stage.start(store);
    let published = 0;
    for (let round = 0; round < 4; round++) {
      for (let number = 0; number < 10; number++) {
        await stage.publish(A, [sampleEvent(A), sampleEvent(A)]);
        await stage.publish(D, [sampleEvent(D)]);
        published += 3;
      }
      await server.kill9();
      await stage.publish(A, [sampleEvent(A)]);
      published += 1;
      await server.restart();
    }
    await untilStored(published);
    await expectWhole();
  }, 120_000);
});
