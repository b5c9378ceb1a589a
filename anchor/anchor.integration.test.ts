import { createHash } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { writeSignedFloor, writeStoredFloor } from '../control/floors.ts';
import { anchorTree, verifyAnchorPath } from '../core/anchor.ts';
import { openNote } from '../core/checkpoint.ts';
import { ImmutableError } from '../core/errors.ts';
import { TABLES } from '../infra/clickhouse/names.ts';
import { nativeHasher } from '../infra/hash.ts';
import { streamEpoch } from '../infra/nats/streams.ts';
import { sampleEvent } from '../pipeline/chain/testing/sample.ts';
import { eventually } from '../pipeline/chain/testing/stage.ts';
import { type Death, mortalProcess } from '../pipeline/tree/testing/mortal.ts';
import { contractCall, deployTestContract } from '../test/support/anchor-contract.ts';
import { DEV_ACCOUNTS, startAnvil, type TestAnvil } from '../test/support/anvil.ts';
import { anvil, describeNeeding } from '../test/support/requirements.ts';
import { baseLedger } from './base.ts';
import type { AnchorRow } from './batch.ts';
import { clickHouseAnchorStore } from './clickhouse-store.ts';
import { createGatherer } from './gatherer.ts';
import { ANCHOR_TIMING, type AnchorJob, startAnchorJob } from './job.ts';
import { createMaker, type Maker, NO_CHAIN } from './maker.ts';
import type { AnchorRecords } from './records.ts';
import { advanceAll, type RunnerOptions } from './runner.ts';
import type { AnchorStore } from './store.ts';
import { type AnchorWorld, openAnchorWorld, partitionInWorld, workspace } from './testing/world.ts';

let world: AnchorWorld;

const [A, B, C] = [workspace(1), workspace(2), workspace(3)] as const;

beforeAll(async () => {
  world = await openAnchorWorld();
});
beforeEach(async () => {
  await world.reset();
  world.clock.now = '2026-11-24T00:05:00Z';
});
afterAll(async () => {
  await world?.close();
});

function isUnderRoot({ checkpoint, leafIndex, treeSize, path, anchorRoot }: AnchorRow): boolean {
  const bytes = (hex: string) => new Uint8Array(Buffer.from(hex, 'hex'));
  const text = openNote(checkpoint)?.text ?? '';
  return verifyAnchorPath(text, { leafIndex, treeSize, path: path.map(bytes) }, bytes(anchorRoot));
}

async function untilConfirmed(job: AnchorJob): Promise<void> {
  for (let block = 0; block < 12; block += 1) {
    await job.advance();
    world.ledger.mine();
  }
}

const shortly = async (rows = world.rows()) =>
  (await rows).map(({ workspaceId, periodStart, periodEnd, size, eventsCount }) => [
    workspaceId,
    periodStart.slice(0, 10),
    periodEnd.slice(0, 10),
    size,
    eventsCount,
  ]);

describe('a day', () => {
  it('is anchored with the size that each workspace had at its end, and confirmed', async () => {
    await world.grow([
      { workspaceId: A, at: '2026-11-23T12:00:00Z', events: 5 },
      { workspaceId: B, at: '2026-11-23T23:59:58Z', events: 4 },
      { workspaceId: C, at: '2026-11-24T00:00:00Z', events: 3 },
    ]);
    const job = world.job();
    await job.round();
    expect(await shortly()).toEqual([
      [A, '2026-11-23', '2026-11-24', 5, 5],
      [B, '2026-11-23', '2026-11-24', 2, 2],
    ]);
    await untilConfirmed(job);
    const rows = await world.rows();
    expect(rows.every(isUnderRoot)).toBe(true);
    const [{ batch } = { batch: undefined }] = await world.records().batches();
    expect(batch).toMatchObject({ status: 'confirmed', leaves: 2, anchor_root: rows[0]?.anchorRoot });
    expect(await world.copies()).toEqual([
      { id: batch?.id, status: 'confirmed', reason: '', tx_hash: batch?.inclusion?.tx_hash },
    ]);
    expect(await world.alarms()).toEqual([]);
  });

  it('has the hashes of its first and last event, and the anchor before', async () => {
    await world.grow([{ workspaceId: A, at: '2026-11-22T12:00:00Z', events: 2 }]);
    await world.grow([{ workspaceId: A, at: '2026-11-23T12:00:00Z', events: 3 }]);
    await world.job().round();
    const [first, second] = await world.rows();
    const hashes = await eventHashes(A);
    expect([first?.firstEventHash, first?.lastEventHash]).toEqual([hashes[0], hashes[1]]);
    expect([second?.firstEventHash, second?.lastEventHash]).toEqual([hashes[2], hashes[4]]);
    expect(first?.previousAnchorHash).toBe('');
    const text = openNote(first?.checkpoint ?? '')?.text ?? '';
    expect(second?.previousAnchorHash).toBe(createHash('sha256').update(text).digest('hex'));
  });

  it('takes the note with most cosignatures', async () => {
    await world.grow([{ workspaceId: A, at: '2026-11-23T12:00:00Z', events: 2 }]);
    const [{ note } = { note: '' }] = await checkpointRows(A);
    const cosigned = `${note}— witness.test/w1 ${'A'.repeat(100)}\n`;
    await world.clickhouse.command({
      query: `INSERT INTO ${TABLES.checkpoints} SELECT workspace_id, size, root, {cosigned:String}, 1, true, signed_at
        FROM ${TABLES.checkpoints} WHERE workspace_id = {id:String}`,
      query_params: { id: A, cosigned },
    });
    await world.job().round();
    expect((await world.rows())[0]?.checkpoint).toBe(cosigned);
  });

  it('that brought nothing has no anchor, and costs nothing', async () => {
    await world.grow([{ workspaceId: A, at: '2026-11-23T12:00:00Z', events: 2 }]);
    const job = world.job();
    await job.round();
    await untilConfirmed(job);
    world.clock.now = '2026-11-25T00:05:00Z';
    await job.round();
    expect(await world.rows()).toHaveLength(1);
    expect(world.ledger.transactions()).toHaveLength(1);
  });

  it('that nobody anchored is caught up with, each day after the other', async () => {
    await world.grow([
      { workspaceId: A, at: '2026-11-19T12:00:00Z', events: 1 },
      { workspaceId: B, at: '2026-11-20T12:00:00Z', events: 1 },
    ]);
    await world.grow([
      { workspaceId: A, at: '2026-11-20T12:00:00Z', events: 2 },
      { workspaceId: B, at: '2026-11-23T12:00:00Z', events: 1 },
    ]);
    const job = world.job();
    await job.round();
    expect(await shortly()).toEqual([
      [A, '2026-11-19', '2026-11-20', 1, 1],
      [A, '2026-11-20', '2026-11-21', 3, 2],
      [B, '2026-11-20', '2026-11-21', 1, 1],
      [B, '2026-11-21', '2026-11-24', 2, 1],
    ]);
    await untilConfirmed(job);
    expect((await world.copies()).map(({ status }) => status)).toEqual(Array(3).fill('confirmed'));
    const inOrder = (await world.records().batches()).map(({ batch }) => batch.inclusion?.block_number ?? 0);
    expect(inOrder).toEqual(inOrder.toSorted((a, b) => a - b));
  });

  it('is made without a chain too, waits, and says why', async () => {
    await world.grow([{ workspaceId: A, at: '2026-11-23T12:00:00Z', events: 2 }]);
    await world.job({ ledger: undefined }).round();
    expect(await world.copies()).toMatchObject([{ status: 'pending', reason: NO_CHAIN, tx_hash: '' }]);
    expect(await world.alarms()).toEqual([]);
    world.clock.now = '2026-11-25T00:05:00Z';
    await world.job({ ledger: undefined }).round();
    expect(await world.alarms()).toEqual([]);
    // Once there is a chain, what has waited goes there.
    await untilConfirmed(world.job());
    expect(await world.copies()).toMatchObject([{ status: 'confirmed', reason: '' }]);
  });
});

await describeNeeding(anvil, 'on a real chain', () => {
  it('two hundred workspaces are in one root, which one transaction brings into the contract', async () => {
    const ids = Array.from({ length: 200 }, (_, index) => workspace(index + 1));
    await world.grow(
      ids.map((workspaceId, index) => ({ workspaceId, at: '2026-11-23T12:00:00Z', events: 1 + (index % 3) })),
    );
    const evm = await startAnvil();
    try {
      const { contract } = await deployTestContract(evm);
      const ledger = ledgerOn(evm, contract, 'safe');
      const job = world.job({ ledger });
      await job.makeDue();
      await eventually(
        async () => {
          await job.advance();
          return await world.records().batch(1);
        },
        ({ batch }) => batch.status === 'confirmed',
        20_000,
      );
      const { batch } = await world.records().batch(1);
      expect(batch).toMatchObject({ leaves: 200, contract, chain_id: 8453, attempts: [{ nonce: 1 }] });
      const rows = await world.rows();
      expect(rows.map(({ workspaceId }) => workspaceId)).toEqual(ids);
      expect(rows.filter((row) => row.anchorRoot === batch.anchor_root && isUnderRoot(row))).toHaveLength(
        200,
      );
      const receipt = await evm.call('eth_getTransactionReceipt', batch.inclusion?.tx_hash);
      expect(receipt).toMatchObject({
        status: '0x1',
        to: contract,
        logs: [{ topics: [expect.any(String), `0x${batch.anchor_root}`] }],
      });
      const found = await evm.call(
        'eth_call',
        { to: contract, data: contractCall('blockOf', `0x${batch.anchor_root}`) },
        'latest',
      );
      expect(Number(found)).toBe(batch.inclusion?.block_number);
      // There was no second one.
      expect(Number(await evm.call('eth_getTransactionCount', DEV_ACCOUNTS[0].address, 'latest'))).toBe(2);
    } finally {
      await evm.stop();
    }
  });

  it('what is dropped, or taken back with its block, is sent again byte for byte', async () => {
    await world.grow([{ workspaceId: A, at: '2026-11-23T12:00:00Z', events: 2 }]);
    const evm = await startAnvil({ mining: 'on-request' });
    try {
      const { contract } = await deployTestContract(evm);
      const job = world.job({ ledger: ledgerOn(evm, contract, 'latest') });
      const batch = async () => (await world.records().batch(1)).batch;
      await job.makeDue();
      const before = await evm.snapshot();
      await job.advance();
      const [{ tx_hash: txHash } = { tx_hash: '' }] = (await batch()).attempts;
      await evm.dropTransaction(txHash);
      await job.advance();
      await evm.mine();
      await job.advance();
      expect(await batch()).toMatchObject({ status: 'confirmed', inclusion: { tx_hash: txHash } });

      await evm.revert(before);
      await job.advance();
      expect(await batch()).toMatchObject({ status: 'submitted', inclusion: null });
      await evm.mine();
      await job.advance();
      expect(await batch()).toMatchObject({ status: 'confirmed', inclusion: { tx_hash: txHash } });
      expect((await batch()).attempts).toHaveLength(1);
    } finally {
      await evm.stop();
    }
  });

  function ledgerOn(evm: TestAnvil, contract: string, confirm: 'latest' | 'safe') {
    return baseLedger({
      place: { chainId: evm.chainId, contract },
      rpcUrls: [evm.url],
      privateKey: DEV_ACCOUNTS[0].privateKey,
      confirm,
      log: world.options().log,
    });
  }
});

describe('on demand', () => {
  it('everything that is signed is anchored now, and the rest at midnight', async () => {
    world.clock.now = '2026-11-23T12:00:10Z';
    await world.grow([{ workspaceId: A, at: '2026-11-23T12:00:00Z', events: 3 }]);
    const job = world.job();
    const { batches } = await job.makeNow();
    expect(batches).toMatchObject([{ number: 1, leaves: 1 }]);
    expect((await job.makeNow()).batches).toEqual([]);
    await world.grow([{ workspaceId: A, at: '2026-11-23T13:00:00Z', events: 2 }]);
    world.clock.now = '2026-11-24T00:05:00Z';
    await job.makeDue();
    expect(await shortly()).toEqual([
      [A, '2026-11-23', '2026-11-23', 3, 3],
      [A, '2026-11-23', '2026-11-24', 5, 2],
    ]);
    const [first, second] = await world.rows();
    expect(second?.periodStart).toBe(first?.periodEnd);
  });

  it('takes events that other clocks have received a moment later', async () => {
    world.clock.now = '2026-11-23T12:00:00Z';
    await world.grow([{ workspaceId: A, at: '2026-11-23T12:00:04Z', events: 1 }]);
    await world.job().makeNow();
    expect((await world.rows())[0]).toMatchObject({ size: 1, periodEnd: '2026-11-23T12:00:04.000001Z' });
  });

  it('one day is, if it is the next that needs it', async () => {
    await world.grow([{ workspaceId: A, at: '2026-11-21T12:00:00Z', events: 1 }]);
    await world.grow([{ workspaceId: A, at: '2026-11-22T12:00:00Z', events: 1 }]);
    const job = world.job();
    await expect(job.makeDay('2026-11-22')).rejects.toThrow('2026-11-21 must be anchored before 2026-11-22.');
    await expect(job.makeDay('2026-11-24')).rejects.toThrow('cannot be anchored before 00:05 UTC');
    await expect(job.makeDay('tomorrow')).rejects.toThrow('is not a day');
    await job.makeDay('2026-11-21');
    await expect(job.makeDay('2026-11-21')).rejects.toThrow('is past');
    await job.makeDay('2026-11-22');
    expect((await job.makeDay('2026-11-23')).batches).toEqual([]);
    expect(await shortly()).toEqual([
      [A, '2026-11-21', '2026-11-22', 1, 1],
      [A, '2026-11-22', '2026-11-23', 2, 1],
    ]);
  });
});

describe('what is not signed', () => {
  const PATIENCE_MS = 30 * 60_000;

  it('is waited for, up to what had been received when the job began to look', async () => {
    await world.grow([{ workspaceId: A, at: '2026-11-23T12:00:00Z', events: 1 }]);
    const sequence = await world.stage.publish(A, [sampleEvent(A)]);
    const job = world.job();
    expect((await job.makeDue()).isWaiting).toBe(true);
    expect(await world.rows()).toEqual([]);
    // More keeps coming; it is not of that day.
    await world.stage.publish(A, [sampleEvent(A)]);
    const epoch = await streamEpoch(world.stage.nc);
    const partition = partitionInWorld(A);
    const at = { epoch, sequence: sequence, index: 0 };
    await writeStoredFloor(world.buckets.floors, partition, {
      epoch,
      handled: sequence,
      stored: { sequence, index: 0 },
    });
    await writeSignedFloor(world.buckets.floors, partition, { ...at, kept_revision: 0 });
    expect((await job.makeDue()).isWaiting).toBe(false);
    expect(await shortly()).toEqual([[A, '2026-11-23', '2026-11-24', 1, 1]]);
  });

  it('holds up the other partitions for half an hour, and is part of the next anchor', async () => {
    const other = [B, C, workspace(4), workspace(5), workspace(6)].find(
      (id) => partitionInWorld(id) !== partitionInWorld(A),
    );
    if (other === undefined) throw new Error('all are in one partition');
    await world.grow([
      { workspaceId: A, at: '2026-11-23T12:00:00Z', events: 1 },
      { workspaceId: other, at: '2026-11-23T12:00:00Z', events: 1 },
    ]);
    const sequence = await world.stage.publish(A, [sampleEvent(A)]);
    const job = world.job();
    await job.round();
    world.clock.now = new Date(Date.parse(world.clock.now) + PATIENCE_MS).toISOString();
    await job.round();
    expect(await shortly()).toEqual([[other, '2026-11-23', '2026-11-24', 1, 1]]);
    expect(await world.alarms()).toEqual(['anchor.incomplete']);

    await untilConfirmed(job);
    const epoch = await streamEpoch(world.stage.nc);
    const floor = { epoch, sequence: sequence + 1, index: 0, kept_revision: 0 };
    await writeSignedFloor(world.buckets.floors, partitionInWorld(A), floor);
    world.clock.now = '2026-11-25T00:05:00Z';
    await job.round();
    expect((await shortly()).at(-1)).toEqual([A, '2026-11-23', '2026-11-25', 1, 1]);
    expect(await world.alarms()).toEqual([]);
  });

  it('because the tree stage has stopped is left out at once, with an alarm', async () => {
    await world.grow([
      { workspaceId: A, at: '2026-11-23T12:00:00Z', events: 1 },
      { workspaceId: B, at: '2026-11-23T12:00:00Z', events: 1 },
    ]);
    await world.buckets.alarms.put(`tree.${A}`, { message: 'stopped' });
    const job = world.job();
    await job.round();
    expect(await shortly()).toEqual([[B, '2026-11-23', '2026-11-24', 1, 1]]);
    expect(await world.alarms()).toEqual(['anchor.incomplete', `tree.${A}`]);
    await untilConfirmed(job);
    await world.buckets.alarms.delete(`tree.${A}`);
    world.clock.now = '2026-11-25T00:05:00Z';
    await job.round();
    expect((await shortly()).at(-1)).toEqual([A, '2026-11-23', '2026-11-25', 1, 1]);
    expect(await world.alarms()).toEqual([]);
  });

  it('as it was anchored, or as it is stored, is left out, and the alarm says so', async () => {
    const day = (date: string) =>
      [A, B, C].map((workspaceId) => ({ workspaceId, at: `2026-11-${date}T12:00:00Z`, events: 2 }));
    await world.grow(day('22'));
    world.clock.now = '2026-11-23T00:05:00Z';
    const job = world.job();
    await job.makeDue();
    await world.grow(day('23'));
    await change(`ALTER TABLE ${TABLES.anchors} UPDATE size = 1 WHERE workspace_id = '${A}'`);
    await change(`ALTER TABLE ${TABLES.events} DELETE WHERE workspace_id = '${B}' AND seq = 4`);
    world.clock.now = '2026-11-24T00:05:00Z';
    expect((await job.makeDue()).isWaiting).toBe(true);
    world.clock.now = '2026-11-24T00:35:00Z';
    await job.makeDue();
    expect((await shortly()).slice(3)).toEqual([[C, '2026-11-23', '2026-11-24', 4, 2]]);
    const alarm = await world.buckets.alarms.get('anchor.incomplete');
    expect(alarm?.value).toMatchObject({
      details: {
        workspaces: [
          { workspace_id: A, why: expect.stringContaining('table of anchors') },
          { workspace_id: B, why: expect.stringContaining('not all of them are stored') },
        ],
      },
    });
  });
});

async function change(query: string): Promise<void> {
  await world.admin.command({ query, clickhouse_settings: { mutations_sync: '2' } });
}

describe('whatever dies', () => {
  /** Calls of one run, by how often each is made. */
  const CALLS = [
    ...['create', 'writeHeads', 'change', 'heads'].map((operation) => ({
      of: 'records',
      operation,
      times: 1,
    })),
    ...['writeDraft', 'batches'].map((operation) => ({ of: 'records', operation, times: 2 })),
    ...['growths', 'notes', 'writeAnchors', 'writeBatches', 'batchVersions'].map((operation) => ({
      of: 'store',
      operation,
      times: 1,
    })),
  ];
  const deaths: Death[] = CALLS.flatMap(({ of, operation, times }) =>
    (['before', 'after'] as const).flatMap((moment) =>
      Array.from({ length: times }, (_, call) => ({ of, operation, moment, call: call + 1 })),
    ),
  );

  it.each(deaths)(
    'at $operation of the $of, $moment, call $call: the next one ends with the same',
    async (death) => {
      await world.grow([
        { workspaceId: A, at: '2026-11-23T12:00:00Z', events: 3 },
        { workspaceId: B, at: '2026-11-23T12:00:00Z', events: 1 },
      ]);
      const mortal = mortalProcess(death);
      const dying = jobOn(
        mortal.view('records', world.records()),
        mortal.view('store', clickHouseAnchorStore(world.clickhouse)),
      );
      await Promise.race([dying.makeDue(), mortal.died]);
      const found = await allRows();

      const job = world.job();
      await job.round();
      await untilConfirmed(job);
      expect(await shortly()).toEqual([
        [A, '2026-11-23', '2026-11-24', 3, 3],
        [B, '2026-11-23', '2026-11-24', 1, 1],
      ]);
      // What was written before is what is there now, and nothing beside it.
      const rows = await allRows();
      expect(rows).toHaveLength(2);
      if (found.length > 0) expect(rows).toEqual(found);
      expect(await world.copies()).toMatchObject([{ status: 'confirmed' }]);
      expect([...(await world.records().heads()).values()].map(({ anchor_id }) => anchor_id).sort()).toEqual(
        (await world.rows()).map(({ id }) => id).sort(),
      );
      expect(world.ledger.transactions()).toHaveLength(1);
      expect(await world.records().draft()).toBeUndefined();
    },
  );

  it.each([
    ['a column', () => 'size = 1'],
    [
      'a checkpoint, and the root with it',
      (note: string) => {
        const forged = note.replace('\n3\n', '\n2\n');
        const { root } = anchorTree([openNote(forged)?.text ?? ''], nativeHasher);
        const text = forged.replaceAll('\n', '\\n');
        return `checkpoint = '${text}', size = 2, anchor_root = '${Buffer.from(root).toString('hex')}'`;
      },
    ],
  ])('rows that lost %s to somebody before they were decided on are not anchored', async (_, changed) => {
    await world.grow([{ workspaceId: A, at: '2026-11-23T12:00:00Z', events: 3 }]);
    const mortal = mortalProcess({ of: 'records', operation: 'create', moment: 'before', call: 1 });
    const dying = jobOn(mortal.view('records', world.records()), clickHouseAnchorStore(world.clickhouse));
    await Promise.race([dying.makeDue(), mortal.died]);
    const [{ note } = { note: '' }] = await checkpointRows(A);
    await change(`ALTER TABLE ${TABLES.anchors} UPDATE ${changed(note)} WHERE workspace_id = '${A}'`);
    await world.job().round();
    expect((await world.rows()).map(({ size, checkpoint }) => ({ size, checkpoint }))).toEqual([
      { size: 3, checkpoint: note },
    ]);
    expect((await world.records().heads()).get(A)?.size).toBe(3);
  });

  it('on the way to the chain: the same bytes are sent, once', async () => {
    const calls = [
      ['records', 'change'],
      ['ledger', 'sign'],
      ['ledger', 'send'],
      ['ledger', 'observe'],
    ] as const;
    await world.grow([{ workspaceId: A, at: '2026-11-23T12:00:00Z', events: 3 }]);
    await world.job().makeDue();
    for (const [of, operation] of calls) {
      for (const moment of ['before', 'after'] as const) {
        const mortal = mortalProcess({ of, operation, moment, call: 1 });
        const work = advanceAll({
          ...runnerOptions(),
          records: mortal.view('records', world.records()),
          ledger: mortal.view('ledger', world.ledger),
        });
        await Promise.race([work, mortal.died]);
      }
    }
    await untilConfirmed(world.job());
    const [{ batch } = { batch: undefined }] = await world.records().batches();
    expect(batch?.attempts).toHaveLength(1);
    expect(world.ledger.transactions()).toMatchObject([{ hasFailed: false }]);
  });

  function runnerOptions(): RunnerOptions {
    return {
      ...ANCHOR_TIMING,
      settings: { ...ANCHOR_TIMING, maxFeePerGasWei: 5_000_000_000n },
      ledger: world.ledger,
      records: world.records(),
      log: world.options().log,
      now: () => Date.parse(world.clock.now),
    };
  }

  /** A job that sees its records and its store through the eyes of a process that dies. */
  function jobOn(records: AnchorRecords, store: AnchorStore): Maker {
    const options = world.options();
    const now = () => Date.parse(world.clock.now);
    return createMaker({
      records,
      store,
      gatherer: createGatherer({ ...options, records, store, now }),
      log: options.log,
      now,
      patienceMs: 0,
      onGathered: async () => {},
    });
  }

  async function allRows(): Promise<unknown[]> {
    const answer = await world.clickhouse.query({
      query: `SELECT * FROM ${TABLES.anchors} FINAL ORDER BY workspace_id, period_end, id`,
      format: 'JSONEachRow',
    });
    return await answer.json();
  }
});

describe('a person is told', () => {
  const aDay = { workspaceId: A, at: '2026-11-23T12:00:00Z', events: 2 };

  it('that an anchor is late, also while ClickHouse does not answer', async () => {
    await world.grow([aDay]);
    await world.job().round();
    const store = new Proxy(clickHouseAnchorStore(world.clickhouse), {
      get: () => () => Promise.reject(new ImmutableError('unavailable', 'ClickHouse does not answer.')),
    });
    world.clock.now = '2026-11-24T06:00:01Z';
    expect(await world.job({ store }).round()).toBe(true);
    expect(await world.alarms()).toEqual(['anchor.late']);
  });

  it('of what stands, as long as it does, whatever another process thinks of it', async () => {
    world.ledger.balanceWei = 1n;
    const job = world.job();
    await job.round();
    expect(await world.alarms()).toEqual(['anchor.balance']);
    // One that knows nothing of the account says nothing of it.
    world.ledger.isDown = true;
    await world.job().round();
    expect(await world.alarms()).toEqual(['anchor.balance']);
    world.ledger.isDown = false;
    await world.buckets.alarms.delete('anchor.balance');
    await job.round();
    expect(await world.alarms()).toEqual(['anchor.balance']);
    world.ledger.balanceWei = 10n ** 18n;
    await job.round();
    expect(await world.alarms()).toEqual([]);
  });

  it('that a record cannot be read, until it can', async () => {
    await world.grow([aDay]);
    const job = world.job();
    await job.round();
    const { batch } = await world.records().batch(1);
    await world.buckets.anchors.put('batch.1', { ...batch, anchor_root: 'none' });
    await job.round();
    expect(await world.alarms()).toEqual(['anchor.stopped']);
    await world.buckets.anchors.put('batch.1', batch);
    await job.round();
    expect(await world.alarms()).toEqual([]);
  });

  it('of anchors that reach into the future, before the end of which there are no others', async () => {
    world.clock.now = '2027-11-24T12:00:00Z';
    await world.grow([aDay]);
    await world.job().makeNow();
    world.clock.now = '2026-11-24T12:00:00Z';
    await world.job().round();
    expect(await world.alarms()).toEqual(['anchor.late']);
  });

  it('of events of the future, which hold up nobody else', async () => {
    await world.grow([aDay, { workspaceId: B, at: '2027-11-23T12:00:00Z', events: 1 }]);
    const job = world.job();
    await job.makeNow();
    expect(await shortly()).toEqual([[A, '2026-11-23', '2026-11-24', 2, 2]]);
    expect(await world.alarms()).toEqual(['anchor.incomplete']);
    await world.grow([{ workspaceId: A, at: '2026-11-24T12:00:00Z', events: 1 }]);
    world.clock.now = '2026-11-25T00:05:00Z';
    await job.round();
    expect((await shortly()).slice(1)).toEqual([[A, '2026-11-24', '2026-11-25', 3, 1]]);
    const alarm = await world.buckets.alarms.get('anchor.incomplete');
    expect(alarm?.value).toMatchObject({
      details: { workspaces: [{ workspace_id: B, why: expect.stringContaining('2027-11-23T12:00:00') }] },
    });
  });
});

describe('two jobs', () => {
  it('that make the same anchor make one of it', async () => {
    await world.grow([
      { workspaceId: A, at: '2026-11-23T12:00:00Z', events: 3 },
      { workspaceId: B, at: '2026-11-24T00:00:01Z', events: 1 },
    ]);
    const jobs = [world.job(), world.job(), world.job()];
    const outcomes = await Promise.allSettled([jobs[0]?.makeDue(), jobs[1]?.makeDue(), jobs[2]?.makeNow()]);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'conflict' });
    }
    for (const job of jobs) await job.makeDue();
    await jobs[2]?.makeNow();
    const rows = await world.rows();
    const counted = rows.filter(({ workspaceId }) => workspaceId === A);
    expect(counted.reduce((sum, { eventsCount }) => sum + eventsCount, 0)).toBe(3);
    expect(counted).toHaveLength(1);
    await Promise.all(jobs.map((job) => job.advance()));
    for (const job of jobs) await untilConfirmed(job);
    const paid = world.ledger.transactions();
    expect(paid).toHaveLength((await world.records().batches()).length);
    expect(await world.alarms()).toEqual([]);
  });

  it('of which one looked while the other was writing raise no false alarm', async () => {
    await world.grow([{ workspaceId: A, at: '2026-11-23T12:00:00Z', events: 3 }]);
    const [options, now] = [world.options(), () => Date.parse(world.clock.now)];
    const [records, told] = [world.records(), [] as unknown[]];
    const gatherer = createGatherer({ ...options, records, now });
    const late = createMaker({
      records,
      store: options.store,
      log: options.log,
      now,
      patienceMs: 0,
      gatherer: {
        ...gatherer,
        async until(periodEnd, unsettled) {
          await world.job().makeDue();
          // What it may see of heads whose batch is not in the table yet.
          const why = { workspaceId: A, why: 'The table of anchors is not what …', mayCome: false };
          return { ...(await gatherer.until(periodEnd, unsettled)), leftOut: [why] };
        },
      },
      onGathered: async (gathered) => void told.push(gathered),
    });
    await expect(late.makeDue()).rejects.toMatchObject({ code: 'conflict' });
    expect(told).toEqual([]);
    expect((await late.makeDue()).batches).toEqual([]);
  });

  it('of which one was paused while it wrote heads: it takes back nothing of what the other wrote', async () => {
    const head = (size: number) => ({
      anchor_id: `anc_${size}`,
      period_end: `2026-11-2${size}T00:00:00.000000Z`,
      size,
      checkpoint_hash: String(size).repeat(64),
    });
    const [first, second] = [world.records(), world.records()];
    await first.writeHeads(new Map([[A, head(2)]]));
    await second.writeHeads(
      new Map([
        [A, head(3)],
        [B, head(1)],
      ]),
    );
    await first.writeHeads(
      new Map([
        [A, head(2)],
        [B, head(2)],
      ]),
    );
    const heads = [...(await first.heads())].map(([workspaceId, { size, number }]) => [
      workspaceId,
      size,
      number,
    ]);
    expect(heads.sort()).toEqual([
      [A, 3, 2],
      [B, 2, 2],
    ]);
  });

  it('take turns by their lease, and the second goes on when the first is stopped', async () => {
    await world.grow([{ workspaceId: A, at: '2026-11-23T12:00:00Z', events: 3 }]);
    const timing = { leaseTtlMs: 1_000, pollMs: 20, idleMs: 50 };
    const first = startAnchorJob(world.options({ timing }));
    await eventually(world.rows, (rows) => rows.length === 1);
    const second = startAnchorJob(world.options({ timing }));
    await first.stop();
    await world.grow([{ workspaceId: A, at: '2026-11-24T12:00:00Z', events: 3 }]);
    world.clock.now = '2026-11-25T00:05:00Z';
    await eventually(world.rows, (rows) => rows.length === 2);
    await second.stop();
  });
});

async function eventHashes(workspaceId: string): Promise<string[]> {
  const answer = await world.clickhouse.query({
    query: `SELECT lower(hex(event_hash)) AS hash FROM ${TABLES.events} WHERE workspace_id = {id:String} ORDER BY seq`,
    query_params: { id: workspaceId },
    format: 'JSONEachRow',
  });
  return (await answer.json<{ hash: string }>()).map(({ hash }) => hash);
}

async function checkpointRows(workspaceId: string): Promise<{ note: string }[]> {
  const answer = await world.clickhouse.query({
    query: `SELECT note FROM ${TABLES.checkpoints} WHERE workspace_id = {id:String}`,
    query_params: { id: workspaceId },
    format: 'JSONEachRow',
  });
  return await answer.json();
}
