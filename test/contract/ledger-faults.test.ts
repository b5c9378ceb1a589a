import { createHash } from 'node:crypto';
import { inspect } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type BaseLedger, baseLedger } from '../../anchor/base.ts';
import type { Attempt } from '../../anchor/ledger.ts';
import { createLogger } from '../../infra/log.ts';
import { contractCall, deployTestContract, sendAs } from '../support/anchor-contract.ts';
import { DEV_ACCOUNTS, startAnvil, type TestAnvil } from '../support/anvil.ts';
import { anvil as anvilProgram, describeNeeding } from '../support/requirements.ts';
import { PROXY_SECRET, type RpcFault, type RpcProxy, startRpcProxy } from '../support/rpc-proxy.ts';

const [owner, sender] = DEV_ACCOUNTS;
const TIMEOUT_MS = 10_000;
/** For what does not answer at all, so that nobody waits long for that. */
const SHORT_TIMEOUT_MS = 600;
const SLOW = ['silent', 'dripping', 'endless'];

await describeNeeding(anvilProgram, 'Base, over endpoints that fail and lie', () => {
  let chain: TestAnvil;
  let contract: string;
  /** The first of two endpoints, and the second. */
  let first: RpcProxy;
  let second: RpcProxy;
  let root: string;
  let logged: string[];
  let roots = 0;

  beforeAll(async () => {
    chain = await startAnvil({ mining: 'on-request' });
    ({ contract } = await deployTestContract(chain, { owner: owner.address, submitter: sender.address }));
    [first, second] = [await startRpcProxy(chain.url), await startRpcProxy(chain.url)];
  });
  afterAll(async () => {
    await Promise.all([first.stop(), second.stop()]);
    await chain.stop();
  });
  beforeEach(() => {
    roots += 1;
    root = createHash('sha256').update(`faulty root ${roots}`).digest('hex');
    logged = [];
    first.fault = second.fault = undefined;
    first.asked.length = second.asked.length = 0;
  });
  /** Whatever happened: neither the sender's key nor that of the endpoint was told to anybody. */
  afterEach(() => {
    const text = logged.join('');
    expect(text).not.toContain(sender.privateKey.slice(2));
    expect(text).not.toContain(PROXY_SECRET);
  });

  function ledgerOn(urls: string[], more: Partial<Parameters<typeof baseLedger>[0]> = {}): BaseLedger {
    const log = createLogger('test', 'trace', { write: (line) => logged.push(line) });
    return baseLedger({
      place: { chainId: chain.chainId, contract },
      rpcUrls: urls,
      privateKey: sender.privateKey,
      confirm: 'safe',
      log,
      timeoutMs: TIMEOUT_MS,
      ...more,
    });
  }

  async function anchored(of = root): Promise<Attempt> {
    const ledger = ledgerOn([chain.url]);
    const { nextNonce: nonce, fees } = await ledger.observe(of, []);
    const attempt = await ledger.sign(of, { nonce, fees });
    await ledger.send(attempt);
    await chain.mine(3);
    return attempt;
  }

  async function failure(work: Promise<unknown>): Promise<{ code: string; message: string }> {
    const error = await work.then(
      () => new Error('it did not fail'),
      (cause) => cause,
    );
    logged.push(inspect(error, { depth: 20, showHidden: true }));
    return error;
  }

  const lying = (rewritten: Record<string, (result: never) => unknown>): RpcFault => ({
    rewrite: (method, { result }) => {
      const rewrite = rewritten[method];
      return rewrite === undefined ? undefined : { result: rewrite(result as never) };
    },
  });

  const refusing = (method: string, code: number, message: string): RpcFault => ({
    rewrite: (asked) => (asked === method ? { error: { code, message } } : undefined),
  });

  const timeoutFor = (fault: RpcFault) =>
    typeof fault === 'string' && SLOW.includes(fault) ? SHORT_TIMEOUT_MS : TIMEOUT_MS;

  const FAULTS: [string, RpcFault, RegExp][] = [
    ['is down', 'down', /cannot be reached/],
    ['is silent', 'silent', /does not answer within 600 ms/],
    ['sends a byte now and then', 'dripping', /does not answer within 600 ms/],
    ['sends without end', 'endless', /far too long|does not answer/],
    ['sends garbage', 'garbage', /no JSON-RPC/],
    ['sends us elsewhere', 'redirecting', /cannot be reached/],
    ['is another chain', lying({ eth_chainId: () => '0x1' }), /is chain 1, not 8453/],
    ['says no chain', lying({ eth_chainId: () => null }), /not a number/],
    [
      'is behind',
      lying({ eth_getBlockByNumber: (block: object) => ({ ...block, timestamp: '0x65000000' }) }),
      /is behind: its newest block is of 2023-09-12/,
    ],
    ['has no contract', lying({ eth_call: () => '0x' }), /no anchor contract/],
    ['has no block', lying({ eth_getBlockByNumber: () => null }), /no newest block/],
    [
      'has a nonce of garbage',
      lying({ eth_getTransactionCount: () => '0xffffffffffffffffff' }),
      /not a nonce/,
    ],
    [
      'limits its callers',
      refusing('eth_getBalance', -32005, 'limit exceeded'),
      /error -32005: limit exceeded/,
    ],
    [
      'repeats its key',
      refusing('eth_getBalance', -32000, `key ${PROXY_SECRET}\nis not paid for`),
      /key \[secret\] is not paid for/,
    ],
  ];

  it.each(FAULTS)('passes over one that %s', async (_, fault, problem) => {
    first.fault = fault;
    const ledger = ledgerOn([first.url, second.url], { timeoutMs: timeoutFor(fault) });
    const { nextNonce: nonce, fees } = await ledger.observe(root, []);
    expect(logged.join('')).toMatch(problem);
    expect(logged.join('')).toContain(new URL(first.url).host);
    const told = logged.length;
    await ledger.observe(root, []);
    expect(logged.length).toBe(told);
    await ledger.sign(root, { nonce, fees });
    first.fault = undefined;
    await ledger.observe(root, []);
    expect(logged.slice(told).join('')).toContain('of use again');
  });

  it.each(FAULTS)('says so when the only one %s', async (_, fault, problem) => {
    first.fault = fault;
    const began = performance.now();
    const timeoutMs = timeoutFor(fault);
    const error = await failure(ledgerOn([first.url], { timeoutMs }).observe(root, []));
    expect(error.code).toBe('unavailable');
    expect(error.message).toMatch(problem);
    expect(performance.now() - began).toBeLessThan(timeoutMs * 5);
  });

  it('asks one of another chain for nothing but its chain, and sends it nothing', async () => {
    first.fault = lying({ eth_chainId: () => '0x14a34' });
    const ledger = ledgerOn([first.url, second.url]);
    const { nextNonce: nonce, fees } = await ledger.observe(root, []);
    const attempt = await ledger.sign(root, { nonce, fees });
    expect(await ledger.send(attempt)).toEqual({ kind: 'accepted' });
    await ledger.observe(root, [attempt]);
    expect([...new Set(first.asked)]).toEqual(['eth_chainId']);
    await chain.mine();
  });

  describe('a root that is in a block', () => {
    let attempt: Attempt;
    let elsewhere: Attempt;
    beforeAll(async () => {
      root = createHash('sha256').update('the root that is lied about').digest('hex');
      attempt = await anchored();
      elsewhere = await anchored(createHash('sha256').update('another root').digest('hex'));
    });
    const ROOT = createHash('sha256').update('the root that is lied about').digest('hex');

    const change =
      (members: object) =>
      (result: object): object => ({ ...result, ...members });
    const changeLogs =
      (members: object) =>
      (receipt: { logs: object[] }): object => ({
        ...receipt,
        logs: receipt.logs.map((log) => ({ ...log, ...members })),
      });
    const OTHER_HASH = `0x${'ee'.repeat(32)}`;

    it.each<[string, Record<string, (result: never) => unknown>]>([
      [
        'receipt is of another transaction',
        { eth_getTransactionReceipt: change({ transactionHash: OTHER_HASH }) },
      ],
      ['receipt says that it failed', { eth_getTransactionReceipt: change({ status: '0x0' }) }],
      ['receipt is of another block', { eth_getTransactionReceipt: change({ blockHash: OTHER_HASH }) }],
      ['receipt is missing', { eth_getTransactionReceipt: () => null }],
      ['receipt is garbage', { eth_getTransactionReceipt: () => ({ status: 'fine' }) }],
      [
        'log is of another contract',
        { eth_getTransactionReceipt: changeLogs({ address: `0x${'ee'.repeat(20)}` }) },
      ],
      [
        'log is of another root',
        { eth_getTransactionReceipt: changeLogs({ topics: [OTHER_HASH, OTHER_HASH] }) },
      ],
      ['log is of another time', { eth_getTransactionReceipt: changeLogs({ data: OTHER_HASH }) }],
      ['log is missing', { eth_getLogs: () => [] }],
      [
        'log is in another transaction',
        { eth_getLogs: () => [{ ...aLog(), transactionHash: elsewhere.txHash }] },
      ],
      ['contract names another block', { eth_call: () => `0x${'0'.repeat(63)}1` }],
      ['contract names a block that is not there', { eth_call: () => `0x${'0'.repeat(56)}00ffffff` }],
    ])('is not taken from one whose %s', async (_, rewritten) => {
      first.fault = lying(rewritten);
      expect(await failure(ledgerOn([first.url]).observe(ROOT, [attempt]))).toMatchObject({
        code: 'unavailable',
      });
      const { inclusion } = await ledgerOn([first.url, second.url]).observe(ROOT, [attempt]);
      expect(inclusion?.txHash).toBe(attempt.txHash);
    });

    const aLog = () => ({
      address: contract,
      topics: [OTHER_HASH],
      data: '0x',
      blockHash: OTHER_HASH,
      blockNumber: '0x1',
    });

    it('is not lost to one that denies it, where our own transaction has a receipt', async () => {
      first.fault = lying({ eth_call: () => `0x${'0'.repeat(64)}` });
      expect(await failure(ledgerOn([first.url]).observe(ROOT, [attempt]))).toMatchObject({
        code: 'unavailable',
      });
    });

    it('waits for many blocks where the chain does not know the safe tag, in whichever words', async () => {
      const ways = [
        refusing('eth_getBlockByNumber', -39_001, 'Unknown block'),
        refusing('eth_getBlockByNumber', -32_000, 'safe block not found'),
        lying({ eth_getBlockByNumber: () => null }),
      ];
      const ledger = ledgerOn([first.url]);
      const confirmed = async () => {
        const seen: unknown[] = [];
        for (const way of ways) {
          first.fault = onlyOfTag('safe', way);
          seen.push((await ledger.observe(ROOT, [])).inclusion?.isConfirmed);
        }
        return seen;
      };
      const snapshot = await chain.snapshot();
      expect(await confirmed()).toEqual([false, false, false]);
      await chain.mine(1_800);
      expect(await confirmed()).toEqual([true, true, true]);
      expect(logged.filter((line) => line.includes('does not know the tag')).length).toBe(1);
      await chain.revert(snapshot);
    });

    const onlyOfTag = (tag: string, fault: RpcFault): RpcFault => ({
      rewrite: (method, answer, params) =>
        params[0] === tag && typeof fault === 'object' && 'rewrite' in fault
          ? fault.rewrite(method, answer, params)
          : undefined,
    });

    it('is not confirmed by a safe block that cannot be asked for', async () => {
      first.fault = onlyOfTag('safe', refusing('eth_getBlockByNumber', -32_005, 'limit exceeded'));
      expect(await failure(ledgerOn([first.url]).observe(ROOT, []))).toMatchObject({ code: 'unavailable' });
    });

    it('is confirmed as soon as it is in a block, if that is what the operator waits for', async () => {
      const snapshot = await chain.snapshot();
      const { inclusion } = await ledgerOn([chain.url], { confirm: 'latest' }).observe(ROOT, []);
      expect(inclusion).toMatchObject({ isConfirmed: true });
      await chain.revert(snapshot);
    });
  });

  describe('sending', () => {
    let attempt: Attempt;
    beforeEach(async () => {
      const ledger = ledgerOn([chain.url]);
      const { nextNonce: nonce, fees } = await ledger.observe(root, []);
      attempt = await ledger.sign(root, { nonce, fees });
    });
    afterEach(async () => {
      await chain.mine();
    });

    it('goes on to the next where the first took it and did not say so', async () => {
      first.fault = 'drops-sends-after-them';
      expect(await ledgerOn([first.url, second.url]).send(attempt)).toEqual({ kind: 'accepted' });
      await chain.mine();
      expect(await ledgerOn([chain.url]).observe(root, [attempt])).toMatchObject({
        inclusion: { txHash: attempt.txHash },
        nextNonce: attempt.nonce + 1,
      });
    });

    it('may have had its effect although it failed: the same bytes again do no harm', async () => {
      first.fault = 'drops-sends-after-them';
      const ledger = ledgerOn([first.url]);
      expect(await failure(ledger.send(attempt))).toMatchObject({ code: 'unavailable' });
      first.fault = undefined;
      expect(await ledger.send(attempt)).toEqual({ kind: 'accepted' });
    });

    it.each([
      [-32_000, 'already known', { kind: 'accepted' }],
      [-32_000, 'nonce too low: next nonce 7, tx nonce 6', { kind: 'nonce_used' }],
      [-32_000, 'insufficient funds for gas * price + value: balance 1, tx cost 2', { kind: 'too_poor' }],
      [-32_000, 'replacement transaction underpriced', { kind: 'underpriced' }],
      [-32_000, 'transaction underpriced: gas tip cap 0, minimum needed 1', { kind: 'underpriced' }],
      [-32_003, 'max fee per gas less than block base fee', { kind: 'underpriced' }],
      [-32_010, 'AlreadyKnown', { kind: 'accepted' }],
      [-32_000, 'unknown transaction type', { kind: 'refused', reason: 'unknown transaction type (-32000)' }],
      [-32_000, 'sender is on a list', { kind: 'refused', reason: 'sender is on a list (-32000)' }],
    ])('understands %d, "%s"', async (code, message, verdict) => {
      first.fault = refusing('eth_sendRawTransaction', code, message);
      expect(await ledgerOn([first.url]).send(attempt)).toEqual(verdict);
    });

    it('asks the next where one refuses', async () => {
      first.fault = refusing('eth_sendRawTransaction', -32_000, 'we take no transactions');
      expect(await ledgerOn([first.url, second.url]).send(attempt)).toEqual({ kind: 'accepted' });
    });

    it('reaches a block by the next where the first takes it and keeps it to itself', async () => {
      first.fault = { keeps: attempt.txHash };
      const silent = await ledgerOn([first.url]).send(attempt);
      expect(silent).toEqual({ kind: 'accepted' });
      await chain.mine();
      expect((await ledgerOn([chain.url]).observe(root, [attempt])).inclusion).toBeNull();
      expect(await ledgerOn([first.url, second.url]).send(attempt)).toEqual({ kind: 'accepted' });
      await chain.mine();
      expect((await ledgerOn([chain.url]).observe(root, [attempt])).inclusion).toMatchObject({
        txHash: attempt.txHash,
      });
    });

    it('does not take the hash of another transaction for an answer', async () => {
      first.fault = lying({ eth_sendRawTransaction: () => `0x${'ee'.repeat(32)}` });
      expect(await failure(ledgerOn([first.url]).send(attempt))).toMatchObject({ code: 'unavailable' });
    });

    it('says that an attempt waits if any endpoint knows it', async () => {
      await ledgerOn([chain.url]).send(attempt);
      first.fault = lying({ eth_getTransactionByHash: () => null });
      expect((await ledgerOn([first.url]).observe(root, [attempt])).isPending).toBe(false);
      expect((await ledgerOn([first.url, second.url]).observe(root, [attempt])).isPending).toBe(true);
    });
  });

  describe('signing', () => {
    const signBy = async (fault: RpcFault, urls = [first.url]) => {
      const { nextNonce: nonce, fees } = await ledgerOn([chain.url]).observe(root, []);
      first.fault = fault;
      return await ledgerOn(urls).sign(root, { nonce, fees });
    };

    it('does not believe one that wants all our gas', async () => {
      const greedy = lying({ eth_estimateGas: () => '0x1c9c380' });
      expect(await failure(signBy(greedy))).toMatchObject({ code: 'unavailable' });
      await signBy(greedy, [first.url, second.url]);
    });

    it('does not let one that wants too little have it fail', async () => {
      const attempt = await signBy(lying({ eth_estimateGas: () => '0x5208' }));
      await ledgerOn([chain.url]).send(attempt);
      await chain.mine();
      expect((await ledgerOn([chain.url]).observe(root, [attempt])).inclusion?.txHash).toBe(attempt.txHash);
    });

    it('does not believe one that says the contract refuses, if another one does not', async () => {
      const refuses = refusing('eth_estimateGas', 3, 'execution reverted');
      expect(await failure(signBy(refuses))).toMatchObject({ code: 'validation_failed' });
      await signBy(refuses, [first.url, second.url]);
    });

    it('says what to do where the contract does not let us', async () => {
      const snapshot = await chain.snapshot();
      await sendAs(chain, owner, contract, contractCall('setSubmitter', sender.address, false));
      await chain.mine();
      expect(await failure(signBy(lying({})))).toMatchObject({
        code: 'validation_failed',
        message: expect.stringContaining('NotAllowed'),
        nextStep: expect.stringContaining(`setSubmitter(${sender.address}, true)`),
      });
      await chain.revert(snapshot);
    });
  });

  it.each([
    ['zero', `0x${'0'.repeat(64)}`],
    ['above the order of the curve', `0x${'f'.repeat(64)}`],
  ])('takes no private key that is %s, and does not repeat it', async (_, privateKey) => {
    const error = await failure((async () => ledgerOn([chain.url], { privateKey }))());
    expect(error).toMatchObject({ code: 'misconfigured' });
    expect(logged.join('')).not.toContain(privateKey.slice(2));
  });

  it('works with user and password in the URL, and tells nobody', async () => {
    const url = new URL(second.url);
    [url.username, url.password] = ['operator', 'pa55word-of-it'];
    await ledgerOn([url.href]).observe(root, []);
    second.fault = 'garbage';
    await failure(ledgerOn([url.href]).observe(root, []));
    expect(logged.join('')).not.toContain('pa55word');
  });
});
