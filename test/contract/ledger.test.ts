import { createHash } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { baseLedger } from '../../anchor/base.ts';
import type { Attempt, Fees, Ledger } from '../../anchor/ledger.ts';
import { fakeLedger } from '../../anchor/testing/fake-ledger.ts';
import { createLogger } from '../../infra/log.ts';
import { contractCall, deployTestContract, sendAs } from '../support/anchor-contract.ts';
import { DEV_ACCOUNTS, startAnvil, type TestAnvil } from '../support/anvil.ts';
import { anvil as anvilProgram, describeNeeding } from '../support/requirements.ts';

/** What every ledger does, and the power to let its chain go wrong. Nothing is in a block until it is mined. */
interface Subject {
  ledger: Ledger;
  mine(blocks: number): Promise<void>;
  drop(txHash: string): Promise<void>;
  /** Comes back to the chain as it is now; what was mined since is known to nobody any more. */
  reorganiseAround(work: () => Promise<void>): Promise<void>;
  setBalance(wei: bigint): Promise<void>;
  /** Of the next block. */
  setBaseFee(wei: bigint): Promise<void>;
  anchorByOther(root: string): Promise<void>;
  /** The contract takes no roots from the sender any more: from the next block on. */
  disallow(): Promise<void>;
  stop(): Promise<void>;
}

let roots = 0;
/** A root that no test has used. */
function newRoot(): string {
  roots += 1;
  return createHash('sha256').update(`root ${roots}`).digest('hex');
}

function times(fees: Fees, percent: bigint): Fees {
  return {
    maxFeePerGas: (fees.maxFeePerGas * percent) / 100n,
    maxPriorityFeePerGas: (fees.maxPriorityFeePerGas * percent) / 100n,
  };
}

const HASH = /^0x[0-9a-f]{64}$/;

function itIsALedger(start: () => Promise<Subject>): void {
  let subject: Subject;
  let ledger: Ledger;
  let root: string;
  beforeEach(async () => {
    subject = await start();
    ledger = subject.ledger;
    root = newRoot();
  });
  afterEach(() => subject.stop());

  async function sign(percent = 100n, of = root): Promise<Attempt> {
    const { nextNonce, fees } = await ledger.observe(of, []);
    return await ledger.sign(of, { nonce: nextNonce, fees: times(fees, percent) });
  }

  async function sent(attempt: Attempt): Promise<Attempt> {
    expect(await ledger.send(attempt)).toEqual({ kind: 'accepted' });
    return attempt;
  }

  it('says where it is', () => {
    expect(ledger.place.chainId).toBeGreaterThan(0);
    expect(ledger.place.contract).toMatch(/^0x[0-9a-f]{40}$/);
  });

  it('knows nothing of a root that nobody anchored', async () => {
    const seen = await ledger.observe(root, []);
    expect(seen).toMatchObject({ inclusion: null, reverted: null, isPending: false });
    expect(seen.fees.maxFeePerGas).toBeGreaterThanOrEqual(seen.fees.maxPriorityFeePerGas);
    expect(seen.fees.maxFeePerGas).toBeGreaterThan(0n);
    expect(seen.balanceWei).toBeGreaterThan(seen.gas * seen.fees.maxFeePerGas);
  });

  it('signs, and sends nothing by that', async () => {
    const attempt = await sign();
    expect(attempt.txHash).toMatch(HASH);
    expect(attempt.raw).toMatch(/^0x[0-9a-f]+$/);
    await subject.mine(1);
    const seen = await ledger.observe(root, [attempt]);
    expect(seen).toMatchObject({ inclusion: null, isPending: false, nextNonce: attempt.nonce });
  });

  it('takes a root, shows it waiting, then in a block, then confirmed', async () => {
    const attempt = await sent(await sign());
    expect(await ledger.observe(root, [attempt])).toMatchObject({
      inclusion: null,
      isPending: true,
      nextNonce: attempt.nonce,
    });
    await subject.mine(1);
    const included = await ledger.observe(root, [attempt]);
    expect(included).toMatchObject({ reverted: null, isPending: false, nextNonce: attempt.nonce + 1 });
    expect(included.inclusion).toMatchObject({
      txHash: attempt.txHash,
      blockHash: expect.stringMatching(HASH),
      confirmations: 1,
      isConfirmed: false,
    });
    expect(Math.abs((included.inclusion?.blockTimeMs ?? 0) - Date.now())).toBeLessThan(60_000);
    await subject.mine(5);
    const { inclusion } = await ledger.observe(root, [attempt]);
    expect(inclusion).toEqual({ ...included.inclusion, confirmations: 6, isConfirmed: true });
  });

  it('pays gas for an anchor, and no more than it said', async () => {
    const before = await ledger.observe(root, []);
    await sent(await sign());
    await subject.mine(1);
    const after = await ledger.observe(root, []);
    expect(after.balanceWei).toBeLessThan(before.balanceWei);
    expect(before.balanceWei - after.balanceWei).toBeLessThanOrEqual(before.gas * before.fees.maxFeePerGas);
  });

  it('takes the same bytes again, before and after they are in a block, and pays once', async () => {
    const attempt = await sent(await sent(await sign()));
    await subject.mine(1);
    const once = await ledger.observe(root, [attempt]);
    expect(await ledger.send(attempt)).toEqual({ kind: 'nonce_used' });
    await subject.mine(2);
    expect(await ledger.observe(root, [attempt])).toMatchObject({
      nextNonce: attempt.nonce + 1,
      balanceWei: once.balanceWei,
    });
  });

  it('signs the same order to the same bytes', async () => {
    const { nextNonce: nonce, fees } = await ledger.observe(root, []);
    const first = await ledger.sign(root, { nonce, fees });
    expect((await ledger.sign(root, { nonce, fees })).raw).toBe(first.raw);
  });

  it('replaces what waits by one of the same nonce that offers more', async () => {
    const first = await sent(await sign());
    const second = await sent(await sign(150n));
    expect(second.nonce).toBe(first.nonce);
    await subject.mine(1);
    const seen = await ledger.observe(root, [first, second]);
    expect(seen).toMatchObject({ nextNonce: first.nonce + 1, isPending: false });
    expect(seen.inclusion?.txHash).toBe(second.txHash);
    expect(await ledger.send(first)).toEqual({ kind: 'nonce_used' });
  });

  it('does not replace it by one that offers no more', async () => {
    const first = await sent(await sign());
    const other = newRoot();
    expect(await ledger.send(await sign(100n, other))).toEqual({ kind: 'underpriced' });
    await subject.mine(1);
    expect((await ledger.observe(root, [first])).inclusion?.txHash).toBe(first.txHash);
    expect((await ledger.observe(other, [])).inclusion).toBeNull();
  });

  it('does not include what offers too little, and offers enough for what replaces it', async () => {
    const stuck = await sent(await sign());
    await subject.setBaseFee(stuck.fees.maxFeePerGas * 2n);
    await subject.mine(1);
    const seen = await ledger.observe(root, [stuck]);
    // Most nodes keep it until it pays enough, or too many do; anvil forgets it at once.
    expect(seen).toMatchObject({ inclusion: null, reverted: null, nextNonce: stuck.nonce });
    expect(seen.fees.maxFeePerGas).toBeGreaterThan(stuck.fees.maxFeePerGas * 2n);
    const second = await ledger.sign(root, { nonce: stuck.nonce, fees: times(seen.fees, 110n) });
    await sent(second);
    await subject.mine(1);
    expect((await ledger.observe(root, [stuck, second])).inclusion?.txHash).toBe(second.txHash);
  });

  it('sees that a waiting transaction was dropped, and takes it again', async () => {
    const attempt = await sent(await sign());
    await subject.drop(attempt.txHash);
    await subject.mine(1);
    expect(await ledger.observe(root, [attempt])).toMatchObject({
      inclusion: null,
      isPending: false,
      nextNonce: attempt.nonce,
    });
    await sent(attempt);
    await subject.mine(1);
    expect((await ledger.observe(root, [attempt])).inclusion?.txHash).toBe(attempt.txHash);
  });

  it('says that a nonce is used, and finds that the root is nowhere', async () => {
    const mine = await sign();
    await sent(await sign(100n, newRoot()));
    await subject.mine(1);
    expect(await ledger.send(mine)).toEqual({ kind: 'nonce_used' });
    expect(await ledger.observe(root, [mine])).toMatchObject({
      inclusion: null,
      reverted: null,
      isPending: false,
      nextNonce: mine.nonce + 1,
    });
  });

  it('says that the sender is too poor', async () => {
    await subject.setBalance(1_000n);
    const attempt = await sign();
    expect(await ledger.send(attempt)).toEqual({ kind: 'too_poor' });
    expect((await ledger.observe(root, [attempt])).balanceWei).toBe(1_000n);
  });

  it('finds a root that somebody else has anchored, and refuses to sign it again', async () => {
    await subject.anchorByOther(root);
    const { inclusion, nextNonce, fees } = await ledger.observe(root, []);
    expect(inclusion).toMatchObject({ txHash: expect.stringMatching(HASH), confirmations: 1 });
    await expect(ledger.sign(root, { nonce: nextNonce, fees })).rejects.toMatchObject({
      code: 'validation_failed',
      message: expect.stringContaining('AlreadyAnchored'),
    });
  });

  it('is anchored also where our own transaction came too late and failed', async () => {
    const attempt = await sent(await sign());
    await subject.anchorByOther(root);
    await subject.mine(1);
    const seen = await ledger.observe(root, [attempt]);
    expect(seen).toMatchObject({ reverted: null, nextNonce: attempt.nonce + 1 });
    expect(seen.inclusion?.txHash).not.toBe(attempt.txHash);
  });

  it('says which attempt is in a block and failed there', async () => {
    const attempt = await sent(await sign());
    await subject.disallow();
    await subject.mine(1);
    const seen = await ledger.observe(root, [attempt]);
    expect(seen).toMatchObject({
      inclusion: null,
      reverted: { txHash: attempt.txHash, blockNumber: expect.any(Number) },
      isPending: false,
      nextNonce: attempt.nonce + 1,
    });
    await expect(ledger.sign(root, { nonce: seen.nextNonce, fees: seen.fees })).rejects.toMatchObject({
      code: 'validation_failed',
      message: expect.stringContaining('NotAllowed'),
    });
  });

  it('sees that a reorganisation has taken a root away, and takes the same bytes again', async () => {
    const attempt = await sign();
    let before: string | undefined;
    await subject.reorganiseAround(async () => {
      await sent(attempt);
      await subject.mine(3);
      before = (await ledger.observe(root, [attempt])).inclusion?.blockHash;
      expect(before).toMatch(HASH);
    });
    expect(await ledger.observe(root, [attempt])).toMatchObject({
      inclusion: null,
      reverted: null,
      isPending: false,
      nextNonce: attempt.nonce,
    });
    await subject.mine(1);
    await sent(attempt);
    await subject.mine(1);
    const { inclusion } = await ledger.observe(root, [attempt]);
    expect(inclusion?.txHash).toBe(attempt.txHash);
    expect(inclusion?.blockHash).not.toBe(before);
  });

  it('keeps two senders of one nonce to one transaction', async () => {
    const other = newRoot();
    const [mine, theirs] = [await sign(), await sign(130n, other)];
    await sent(mine);
    await sent(theirs);
    await subject.mine(1);
    const seen = [await ledger.observe(root, [mine]), await ledger.observe(other, [theirs])];
    expect(seen.map(({ inclusion }) => inclusion?.txHash)).toEqual([undefined, theirs.txHash]);
    expect(seen.map(({ nextNonce }) => nextNonce)).toEqual([mine.nonce + 1, mine.nonce + 1]);
  });
}

describe('the ledger in memory', () => {
  itIsALedger(async () => {
    const ledger = fakeLedger();
    return {
      ledger,
      mine: async (blocks) => ledger.mine(blocks),
      drop: async (txHash) => ledger.drop(txHash),
      reorganiseAround: async (work) => {
        const before = ledger.height;
        await work();
        ledger.reorganise(ledger.height - before, 'vanish');
      },
      setBalance: async (wei) => {
        ledger.balanceWei = wei;
      },
      setBaseFee: async (wei) => {
        ledger.baseFeeWei = wei;
      },
      anchorByOther: async (root) => ledger.anchorByOther(root),
      disallow: async () => {
        ledger.isAllowed = false;
      },
      stop: async () => {},
    };
  });

  it.each(['observe', 'sign', 'send'] as const)('fails before %s, and after it, when told', async (call) => {
    const ledger = fakeLedger();
    const root = newRoot();
    const order = { nonce: 0, fees: (await ledger.observe(root, [])).fees };
    const attempt = await ledger.sign(root, order);
    const calls = {
      observe: () => ledger.observe(root, []),
      sign: () => ledger.sign(root, order),
      send: () => ledger.send(attempt),
    };
    for (const [when, sentThen] of [
      ['before', 0],
      ['after', call === 'send' ? 1 : 0],
    ] as const) {
      ledger.failNext(call, when);
      await expect(calls[call]()).rejects.toMatchObject({ code: 'unavailable' });
      expect(ledger.transactions().length).toBe(sentThen);
      await calls.observe();
    }
    ledger.isDown = true;
    await expect(calls[call]()).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('lets what a reorganisation took away wait again, when told', async () => {
    const ledger = fakeLedger();
    const root = newRoot();
    const attempt = await ledger.sign(root, { nonce: 0, fees: (await ledger.observe(root, [])).fees });
    await ledger.send(attempt);
    ledger.mine();
    ledger.reorganise(1, 'wait');
    expect(await ledger.observe(root, [attempt])).toMatchObject({ inclusion: null, isPending: true });
    ledger.mine();
    expect((await ledger.observe(root, [attempt])).inclusion?.txHash).toBe(attempt.txHash);
    expect(ledger.transactions()).toMatchObject([{ root, blockNumber: 1, hasFailed: false }]);
  });
});

const [owner, sender, other] = DEV_ACCOUNTS;

await describeNeeding(anvilProgram, 'Base, on anvil', () => {
  let anvil: TestAnvil;
  let contract: string;
  let atStart: string;
  beforeAll(async () => {
    anvil = await startAnvil({ mining: 'on-request' });
    ({ contract } = await deployTestContract(anvil, { owner: owner.address, submitter: sender.address }));
    await sendAs(anvil, owner, contract, contractCall('setSubmitter', other.address, true));
    await anvil.mine();
    atStart = await anvil.snapshot();
  });
  afterAll(() => anvil.stop());

  itIsALedger(async () => ({
    ledger: baseLedger({
      place: { chainId: anvil.chainId, contract },
      rpcUrls: [anvil.url],
      privateKey: sender.privateKey,
      confirm: 'safe',
      log: createLogger('test', 'silent'),
    }),
    mine: (blocks) => anvil.mine(blocks),
    drop: (txHash) => anvil.dropTransaction(txHash),
    reorganiseAround: async (work) => {
      const before = await anvil.snapshot();
      await work();
      await anvil.revert(before);
    },
    setBalance: (wei) => anvil.setBalance(sender.address, wei),
    setBaseFee: (wei) => anvil.setNextBlockBaseFee(wei),
    anchorByOther: async (root) => {
      await sendAs(anvil, other, contract, contractCall('anchor', `0x${root}`));
      await anvil.mine();
    },
    disallow: async () => {
      await sendAs(anvil, owner, contract, contractCall('setSubmitter', sender.address, false));
    },
    stop: async () => {
      await anvil.call('anvil_dropAllTransactions');
      await anvil.revert(atStart);
      await anvil.setNextBlockBaseFee(10n ** 9n); // It outlives the blocks that it came from.
      atStart = await anvil.snapshot();
    },
  }));
});
