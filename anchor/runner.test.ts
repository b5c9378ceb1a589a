import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createLogger } from '../infra/log.ts';
import { type Death, mortalProcess } from '../pipeline/tree/testing/mortal.ts';
import { advance, advanceAll, explainPending, type RunnerOptions, retryFailed } from './runner.ts';
import { type FakeLedger, fakeLedger } from './testing/fake-ledger.ts';
import { memoryRecords, pendingBatch } from './testing/memory-records.ts';

const log = createLogger('test', 'silent');
const MINUTE_MS = 60_000;
const FORMER = `0x${'12'.repeat(20)}`;
const START_MS = Date.UTC(2026, 10, 24, 0, 5);

interface World extends RunnerOptions {
  ledger: FakeLedger;
  records: ReturnType<typeof memoryRecords>;
  clock: { ms: number };
}

async function world(batches = 1): Promise<World> {
  const clock = { ms: START_MS };
  const now = () => clock.ms;
  const records = memoryRecords();
  for (let number = 1; number <= batches; number += 1) await records.create(pendingBatch(number));
  return {
    clock,
    now,
    records,
    ledger: fakeLedger({ now }),
    log,
    settings: { maxFeePerGasWei: 5_000_000_000n, replaceAfterMs: 3 * MINUTE_MS, nonceSettleMs: MINUTE_MS },
    recheckMs: 24 * 60 * MINUTE_MS,
  };
}

async function statuses({ records }: World): Promise<string[]> {
  return (await records.batches()).map(({ batch }) => batch.status);
}

/** How many transactions of ours were paid for, by root, and how many of them brought it onto the chain. */
function paid({ ledger }: World, number: number) {
  const root = pendingBatch(number).anchor_root;
  const ours = ledger.transactions().filter((one) => one.root === root && one.blockNumber !== null);
  return { paid: ours.length, anchored: ours.filter(({ hasFailed }) => !hasFailed).length };
}

async function settle(w: World, minutes = 40): Promise<void> {
  for (let minute = 0; minute < minutes; minute += 1) {
    await attempt(advanceAll(w));
    w.ledger.mine();
    w.clock.ms += MINUTE_MS;
  }
}

describe('the runner', () => {
  it('keeps a transaction before it is sent', async () => {
    const w = await world();
    w.ledger.failNext('send', 'before');
    await expect(advance(w, 1)).rejects.toThrow('does not answer');
    const { batch } = await w.records.batch(1);
    expect(batch).toMatchObject({ status: 'submitted', chain_id: 31_337, contract: w.ledger.place.contract });
    const [attempt] = batch.attempts;
    expect(w.ledger.transactions()).toEqual([]);
    await advance(w, 1);
    expect(w.ledger.transactions()).toMatchObject([{ txHash: attempt?.tx_hash }]);
  });

  it('brings several days onto the chain one after another, each paid for once', async () => {
    const w = await world(3);
    await advanceAll(w);
    expect(await statuses(w)).toEqual(['submitted', 'pending', 'pending']);
    await settle(w);
    expect(await statuses(w)).toEqual(['confirmed', 'confirmed', 'confirmed']);
    for (const number of [1, 2, 3]) expect(paid(w, number)).toEqual({ paid: 1, anchored: 1 });
  });

  it('lets one of two jobs act, whose transaction is the only one', async () => {
    const w = await world();
    await Promise.all([advanceAll(w), advanceAll(w), advanceAll(w)]);
    expect(w.ledger.transactions()).toHaveLength(1);
    expect((await w.records.batch(1)).batch.attempts).toHaveLength(1);
    await settle(w, 5);
    expect(paid(w, 1)).toEqual({ paid: 1, anchored: 1 });
  });

  it('lets no job go on to the next root while another one acts for the one before', async () => {
    const w = await world(2);
    await Promise.all([advanceAll(w), advanceAll(w), advanceAll(w)]);
    expect(await statuses(w)).toEqual(['submitted', 'pending']);
    expect(w.ledger.transactions()).toHaveLength(1);
  });

  it('looks at what was confirmed for a day, and sends again what a reorganisation took away', async () => {
    const w = await world();
    await settle(w, 5);
    expect(await statuses(w)).toEqual(['confirmed']);
    w.ledger.reorganise(20, 'vanish');
    await advanceAll(w);
    expect(await statuses(w)).toEqual(['submitted']);
    await settle(w, 5);
    expect(await statuses(w)).toEqual(['confirmed']);
    expect((await w.records.batch(1)).batch.attempts).toHaveLength(1);
    w.clock.ms += w.recheckMs;
    w.ledger.isDown = true;
    await advanceAll(w);
  });

  it('goes on behind one that failed, which another try brings onto the chain', async () => {
    const w = await world(2);
    await advanceAll(w);
    w.ledger.isAllowed = false;
    w.ledger.mine();
    await advanceAll(w);
    expect(await statuses(w)).toEqual(['failed', 'failed']);
    w.ledger.isAllowed = true;
    await settle(w, 5);
    expect(await statuses(w)).toEqual(['failed', 'confirmed']);
    expect(await retryFailed(w)).toBe(1);
    await settle(w, 5);
    expect(await statuses(w)).toEqual(['confirmed', 'confirmed']);
    expect(paid(w, 1)).toEqual({ paid: 2, anchored: 1 });
  });

  it('leaves alone what was confirmed by another contract', async () => {
    const w = await world();
    await settle(w, 5);
    const kept = await w.records.batch(1);
    await w.records.change(kept, { ...kept.batch, contract: FORMER });
    w.ledger.isDown = true;
    await advanceAll(w);
    expect((await w.records.batch(1)).batch).toMatchObject({ status: 'confirmed', contract: FORMER });
  });

  it('begins anew with what was on its way to another contract, once the new one answers', async () => {
    const w = await world();
    await advanceAll(w);
    const kept = await w.records.batch(1);
    const [former] = kept.batch.attempts;
    await w.records.change(kept, { ...kept.batch, contract: FORMER });
    w.ledger.isDown = true;
    await attempt(advanceAll(w));
    expect((await w.records.batch(1)).batch).toMatchObject({ contract: FORMER, attempts: [former] });
    w.ledger.isDown = false;
    await settle(w, 5);
    const { batch } = await w.records.batch(1);
    expect(batch).toMatchObject({ status: 'confirmed', contract: w.ledger.place.contract });
  });

  it('says why nothing is sent', async () => {
    const w = await world(2);
    await explainPending(w, 'No chain');
    const revisions = (await w.records.batches()).map(({ revision }) => revision);
    await explainPending(w, 'No chain');
    expect((await w.records.batches()).map(({ revision }) => revision)).toEqual(revisions);
    expect((await w.records.batch(2)).batch).toMatchObject({ status: 'pending', reason: 'No chain' });
    await settle(w, 5);
    expect((await w.records.batch(2)).batch).toMatchObject({ status: 'confirmed', reason: null });
  });
});

type Happening =
  | { kind: 'turn' }
  | { kind: 'death'; death: Death }
  | { kind: 'two jobs' }
  | { kind: 'ledger fails'; call: 'observe' | 'sign' | 'send'; when: 'before' | 'after' }
  | { kind: 'blocks'; count: number }
  | { kind: 'time'; minutes: number }
  | { kind: 'market'; baseFeeWei: bigint }
  | { kind: 'drop' }
  | { kind: 'reorganisation'; depth: number; transactions: 'wait' | 'vanish' };

const calm = fc.oneof(
  fc.constant<Happening>({ kind: 'turn' }),
  fc.constant<Happening>({ kind: 'two jobs' }),
  fc.constant<Happening>({ kind: 'drop' }),
  fc.record({ kind: fc.constant('blocks' as const), count: fc.integer({ min: 1, max: 3 }) }),
  fc.record({ kind: fc.constant('time' as const), minutes: fc.integer({ min: 1, max: 10 }) }),
  fc.record({
    kind: fc.constant('market' as const),
    baseFeeWei: fc.constantFrom(1_000_000n, 10_000_000n, 500_000_000n, 9_000_000_000n),
  }),
  fc.record({
    kind: fc.constant('ledger fails' as const),
    call: fc.constantFrom('observe' as const, 'sign' as const, 'send' as const),
    when: fc.constantFrom('before' as const, 'after' as const),
  }),
  fc.record({
    kind: fc.constant('death' as const),
    death: fc
      .tuple(
        fc.constantFrom(['records', 'change'], ['ledger', 'observe'], ['ledger', 'sign'], ['ledger', 'send']),
        fc.constantFrom('before' as const, 'after' as const),
        fc.integer({ min: 1, max: 3 }),
      )
      .map(([[of = '', operation = ''], moment, call]) => ({ of, operation, moment, call })),
  }),
);

const reorganisation = fc.record({
  kind: fc.constant('reorganisation' as const),
  depth: fc.integer({ min: 1, max: 4 }),
  transactions: fc.constantFrom('wait' as const, 'vanish' as const),
});

async function happen(w: World, happening: Happening): Promise<void> {
  switch (happening.kind) {
    case 'turn':
      return await attempt(advanceAll(w));
    case 'two jobs':
      return await attempt(Promise.all([advanceAll(w), advanceAll(w)]));
    case 'death': {
      const mortal = mortalProcess(happening.death);
      const view = { records: mortal.view('records', w.records), ledger: mortal.view('ledger', w.ledger) };
      return await Promise.race([attempt(advanceAll({ ...w, ...view })), mortal.died]);
    }
    case 'ledger fails':
      return w.ledger.failNext(happening.call, happening.when);
    case 'blocks':
      return w.ledger.mine(happening.count);
    case 'time':
      w.clock.ms += happening.minutes * MINUTE_MS;
      return;
    case 'market':
      w.ledger.baseFeeWei = happening.baseFeeWei;
      return;
    case 'drop': {
      const waiting = w.ledger.transactions().find(({ blockNumber }) => blockNumber === null);
      if (waiting !== undefined) w.ledger.drop(waiting.txHash);
      return;
    }
    case 'reorganisation':
      return w.ledger.reorganise(happening.depth, happening.transactions);
  }
}

async function attempt(work: Promise<unknown>): Promise<void> {
  await work.catch(() => {});
}

async function worldAfter(happenings: readonly Happening[]): Promise<World> {
  const w = await world(2);
  for (const happening of happenings) await happen(w, happening);
  w.ledger.baseFeeWei = 10_000_000n;
  // Failures that did not come yet come now.
  await settle(w, 40 + happenings.length);
  return w;
}

describe('whatever happens', () => {
  it('each root is on the chain at the end, and was paid for once', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(calm, { maxLength: 30 }), async (happenings) => {
        const w = await worldAfter(happenings);
        expect(await statuses(w)).toEqual(['confirmed', 'confirmed']);
        for (const number of [1, 2]) expect(paid(w, number)).toEqual({ paid: 1, anchored: 1 });
      }),
      { numRuns: 300 },
    );
  });

  it('each root is on the chain once, also when blocks are taken back', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(calm, reorganisation), { maxLength: 30 }), async (happenings) => {
        const w = await worldAfter(happenings);
        expect(await statuses(w)).toEqual(['confirmed', 'confirmed']);
        for (const number of [1, 2]) expect(paid(w, number).anchored).toBe(1);
      }),
      { numRuns: 300 },
    );
  });
});
