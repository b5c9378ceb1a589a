import { readFileSync } from 'node:fs';
import { decodeErrorResult, decodeFunctionResult, parseEventLogs } from 'viem';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { jsonRpc } from '../../infra/evm/json-rpc.ts';
import { createRandom } from '../fault/random.ts';
import { ANCHOR_ABI, contractCall, deployTestContract, sendAs } from '../support/anchor-contract.ts';
import { DEV_ACCOUNTS, startAnvil, type TestAnvil } from '../support/anvil.ts';
import { anvil as anvilProgram, describeNeeding } from '../support/requirements.ts';

const [owner, submitter, stranger] = DEV_ACCOUNTS;
type Account = (typeof DEV_ACCOUNTS)[number];
/** Of the comparison with a model. */
const STEPS = 200;
const CALLS = ['anchor', 'anchor', 'anchor', 'setSubmitter', 'transferOwnership', 'acceptOwnership'] as const;
const NOBODY = `0x${'0'.repeat(40)}`;

interface Receipt {
  status: string;
  gasUsed: string;
  blockNumber: string;
  logs: Parameters<typeof parseEventLogs>[0]['logs'];
}

await describeNeeding(anvilProgram, 'the contract', () => {
  let chain: TestAnvil;
  let contract: string;
  let deployGas: bigint;
  let roots = 0;

  beforeAll(async () => {
    chain = await startAnvil({ mining: 'on-request' });
    const roles = { owner: owner.address, submitter: submitter.address };
    ({ contract, gasUsed: deployGas } = await deployTestContract(chain, roles));
  });
  afterAll(() => chain.stop());

  function newRoot(): string {
    roots += 1;
    return `0x${roots.toString(16).padStart(64, 'a')}`;
  }

  async function send(from: Account, functionName: string, ...args: unknown[]) {
    const txHash = await sendAs(chain, from, contract, contractCall(functionName, ...args));
    await chain.mine();
    const receipt = (await chain.call('eth_getTransactionReceipt', txHash)) as Receipt;
    const events = parseEventLogs({ abi: ANCHOR_ABI, logs: receipt.logs });
    return {
      hasSucceeded: receipt.status === '0x1',
      gas: Number(receipt.gasUsed),
      blockNumber: Number(receipt.blockNumber),
      events: events.map(({ eventName, args }) => ({ eventName, args })),
    };
  }

  async function done(...call: Parameters<typeof send>) {
    const result = await send(...call);
    expect(result.hasSucceeded).toBe(true);
    return result;
  }

  /** The error with which the contract refuses a call, which then changes nothing. */
  async function refusal(from: Account, functionName: string, ...args: unknown[]) {
    const data = contractCall(functionName, ...args);
    const answer = await jsonRpc(chain.url, { timeoutMs: 5_000 }).call('eth_call', [
      { from: from.address, to: contract, data },
      'latest',
    ]);
    expect((await send(from, functionName, ...args)).hasSucceeded).toBe(false);
    if (answer.kind !== 'error') throw new Error('the contract took it');
    const { errorName, args: facts } = decodeErrorResult({
      abi: ANCHOR_ABI,
      data: answer.data as `0x${string}`,
    });
    return [errorName, ...(facts ?? [])].map((fact) =>
      typeof fact === 'string' ? fact.toLowerCase() : fact,
    );
  }

  async function read(functionName: string, ...args: unknown[]): Promise<unknown> {
    const data = await chain.call(
      'eth_call',
      { to: contract, data: contractCall(functionName, ...args) },
      'latest',
    );
    const value = decodeFunctionResult({ abi: ANCHOR_ABI, functionName, data: data as `0x${string}` });
    return typeof value === 'string' ? value.toLowerCase() : value;
  }

  async function timeOf(blockNumber: number): Promise<bigint> {
    const block = await chain.call('eth_getBlockByNumber', `0x${blockNumber.toString(16)}`, false);
    return BigInt((block as { timestamp: string }).timestamp);
  }

  it('is deployed with its owner and first submitter, and says so', async () => {
    expect(await read('owner')).toBe(owner.address);
    expect(await read('successor')).toBe(NOBODY);
    expect(await read('isSubmitter', submitter.address)).toBe(true);
    expect(await read('isSubmitter', stranger.address)).toBe(false);
    const logs = (await chain.call('eth_getLogs', {
      address: contract,
      fromBlock: '0x0',
    })) as Receipt['logs'];
    expect(parseEventLogs({ abi: ANCHOR_ABI, logs }).map(({ eventName }) => eventName)).toEqual([
      'OwnershipTransferred',
      'SubmitterSet',
    ]);
  });

  it('takes no owner that is nobody', async () => {
    await expect(deployTestContract(chain, { owner: NOBODY })).rejects.toMatchObject({
      code: 'validation_failed',
    });
  });

  it.each([
    ['the owner', owner],
    ['a submitter', submitter],
  ])('anchors a root for %s, and remembers its block', async (_, account) => {
    const root = newRoot();
    expect(await read('blockOf', root)).toBe(0n);
    const { blockNumber, events } = await done(account, 'anchor', root);
    expect(events).toEqual([
      { eventName: 'Anchored', args: { merkleRoot: root, timestamp: await timeOf(blockNumber) } },
    ]);
    expect(await read('blockOf', root)).toBe(BigInt(blockNumber));
  });

  it('refuses a root that is there, whoever comes, and keeps its block', async () => {
    const root = newRoot();
    const { blockNumber } = await done(submitter, 'anchor', root);
    for (const account of [submitter, owner]) {
      expect(await refusal(account, 'anchor', root)).toEqual(['alreadyanchored', root, BigInt(blockNumber)]);
    }
    expect(await read('blockOf', root)).toBe(BigInt(blockNumber));
  });

  it('refuses the root of nothing', async () => {
    expect(await refusal(owner, 'anchor', `0x${'0'.repeat(64)}`)).toEqual(['zeroroot']);
  });

  it('refuses a stranger', async () => {
    const root = newRoot();
    expect(await refusal(stranger, 'anchor', root)).toEqual(['notallowed', stranger.address]);
    expect(await read('blockOf', root)).toBe(0n);
  });

  it('lets the owner allow a submitter, and end that', async () => {
    const set = (allowed: boolean) => done(owner, 'setSubmitter', stranger.address, allowed);
    expect((await set(true)).events).toMatchObject([{ eventName: 'SubmitterSet', args: { allowed: true } }]);
    await done(stranger, 'anchor', newRoot());
    expect((await set(false)).events).toMatchObject([
      { eventName: 'SubmitterSet', args: { allowed: false } },
    ]);
    expect(await refusal(stranger, 'anchor', newRoot())).toEqual(['notallowed', stranger.address]);
  });

  it('lets nobody but the owner decide', async () => {
    for (const account of [submitter, stranger]) {
      expect(await refusal(account, 'setSubmitter', account.address, true)).toEqual([
        'notowner',
        account.address,
      ]);
      expect(await refusal(account, 'transferOwnership', account.address)).toEqual([
        'notowner',
        account.address,
      ]);
    }
  });

  it('changes its owner in two steps, and an offer can be taken back', async () => {
    await done(owner, 'transferOwnership', stranger.address);
    expect(await read('owner')).toBe(owner.address);
    expect(await refusal(submitter, 'acceptOwnership')).toEqual(['notsuccessor', submitter.address]);
    await done(owner, 'transferOwnership', NOBODY);
    expect(await refusal(stranger, 'acceptOwnership')).toEqual(['notsuccessor', stranger.address]);

    const { events: offered } = await done(owner, 'transferOwnership', stranger.address);
    expect(offered).toMatchObject([{ eventName: 'OwnershipTransferStarted' }]);
    const { events: accepted } = await done(stranger, 'acceptOwnership');
    expect(accepted).toMatchObject([{ eventName: 'OwnershipTransferred' }]);
    expect([await read('owner'), await read('successor')]).toEqual([stranger.address, NOBODY]);
    expect(await refusal(owner, 'anchor', newRoot())).toEqual(['notallowed', owner.address]);
    expect(await refusal(stranger, 'acceptOwnership')).toEqual(['notsuccessor', stranger.address]);

    await done(stranger, 'transferOwnership', owner.address);
    await done(owner, 'acceptOwnership');
  });

  it('takes no ether, by whichever way it is sent', async () => {
    for (const data of [
      '0x',
      '0x12345678',
      contractCall('anchor', newRoot()),
      contractCall('acceptOwnership'),
    ]) {
      const txHash = await sendAs(chain, owner, contract, data as `0x${string}`, 1n);
      await chain.mine();
      const { status } = (await chain.call('eth_getTransactionReceipt', txHash)) as Receipt;
      expect(status).toBe('0x0');
    }
    expect(BigInt(String(await chain.call('eth_getBalance', contract, 'latest')))).toBe(0n);
  });

  it('costs the gas that docs/anchor-contract.md says', async () => {
    const gas = [
      Number(deployGas),
      (await done(submitter, 'anchor', newRoot())).gas,
      (await done(submitter, 'anchor', newRoot())).gas,
      (await done(owner, 'anchor', newRoot())).gas,
    ];
    const page = readFileSync('docs/anchor-contract.md', 'utf8');
    const said = [...page.matchAll(/^\| gas: .* \| ([\d,]+) \|$/gm)].map(([, figure = '']) => figure);
    expect(said).toEqual(gas.map((figure) => figure.toLocaleString('en')));
  });

  it('does what a model of it does, whoever calls what in whichever order', async () => {
    const seed = Number(process.env.TEST_SEED ?? 20_261_124);
    const random = createRandom(seed).next;
    const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!;
    const model = { owner: owner.address as string, successor: NOBODY, submitters: new Set<string>() };
    for (const account of DEV_ACCOUNTS) {
      if (await read('isSubmitter', account.address)) model.submitters.add(account.address);
    }
    const blocks = new Map<string, number>();
    const pool = Array.from({ length: 12 }, newRoot);
    for (let step = 0; step < STEPS; step += 1) {
      const from = pick(DEV_ACCOUNTS);
      const other = pick([...DEV_ACCOUNTS.map(({ address }) => address), NOBODY]);
      const isOwner = model.owner === from.address;
      const what = pick(CALLS);
      const root = pick(pool);
      const allowed = random() < 0.5;
      const given = {
        anchor: [root],
        setSubmitter: [other, allowed],
        transferOwnership: [other],
        acceptOwnership: [],
      }[what];
      const { hasSucceeded, blockNumber } = await send(from, what, ...given);
      const expected = {
        anchor: (isOwner || model.submitters.has(from.address)) && !blocks.has(root),
        setSubmitter: isOwner,
        transferOwnership: isOwner,
        acceptOwnership: model.successor === from.address,
      }[what];
      expect([step, what, hasSucceeded], `seed ${seed}`).toEqual([step, what, expected]);
      if (!hasSucceeded) continue;
      if (what === 'anchor') blocks.set(root, blockNumber);
      if (what === 'setSubmitter') model.submitters[allowed ? 'add' : 'delete'](other);
      if (what === 'transferOwnership') model.successor = other;
      if (what === 'acceptOwnership') [model.owner, model.successor] = [from.address, NOBODY];
    }
    expect(blocks.size).toBeGreaterThan(5);
    for (const root of pool) expect(await read('blockOf', root)).toBe(BigInt(blocks.get(root) ?? 0));
    expect([await read('owner'), await read('successor')]).toEqual([model.owner, model.successor]);
  });
});
