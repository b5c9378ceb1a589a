import { afterAll, beforeAll, expect, it } from 'vitest';
import { baseLedger } from '../anchor/base.ts';
import { loadConfig } from '../infra/config.ts';
import { createLogger } from '../infra/log.ts';
import { DEV_ACCOUNTS, startAnvil, type TestAnvil } from '../test/support/anvil.ts';
import { anvil as anvilProgram, describeNeeding } from '../test/support/requirements.ts';
import { type AnchorDeployOptions, anchorDeploy } from './anchor-deploy.ts';
import type { Terminal } from './terminal.ts';

const [payer, owner, submitter] = DEV_ACCOUNTS;

await describeNeeding(anvilProgram, 'immutable anchor deploy', () => {
  let chain: TestAnvil;
  beforeAll(async () => {
    chain = await startAnvil({ chainId: 84_532 });
  });
  afterAll(() => chain.stop());

  async function deploy(options: Partial<AnchorDeployOptions> = {}, env: Record<string, string> = {}) {
    let [said, result] = ['', ''];
    const terminal: Terminal = {
      step: (_, work) => work(),
      say: (sentence) => {
        said += `${sentence}\n`;
      },
      result: (text) => {
        result += text;
      },
    };
    const config = loadConfig({
      IMMUTABLE_ANCHOR_RPC_URL: chain.url,
      IMMUTABLE_ANCHOR_CHAIN_ID: '84532',
      IMMUTABLE_ANCHOR_PRIVATE_KEY: payer.privateKey,
      IMMUTABLE_LOG_LEVEL: 'silent',
      ...env,
    });
    await anchorDeploy(config, terminal, { json: false, ...options });
    expect(said + result).not.toContain(payer.privateKey.slice(2));
    return { said, result };
  }

  function ledgerOf(contract: string, { privateKey }: { privateKey: string }) {
    return baseLedger({
      place: { chainId: chain.chainId, contract },
      rpcUrls: [chain.url],
      privateKey,
      confirm: 'latest',
      log: createLogger('test', 'silent'),
    });
  }

  async function maySign(contract: string, account: { privateKey: string }): Promise<boolean> {
    const ledger = ledgerOf(contract, account);
    const root = 'ab'.repeat(32);
    const { nextNonce: nonce, fees } = await ledger.observe(root, []);
    return await ledger.sign(root, { nonce, fees }).then(
      () => true,
      () => false,
    );
  }

  it('makes the account that pays the owner, and says what to set', async () => {
    const { said, result } = await deploy();
    const [, contract = ''] = /^Contract {5}(0x[0-9a-f]{40})$/m.exec(result) ?? [];
    expect(said).toContain(`It will be at ${contract}, once the transaction 0x`);
    expect(result).toContain(`IMMUTABLE_ANCHOR_CONTRACT=${contract}`);
    expect(result).toContain('IMMUTABLE_ANCHOR_CHAIN_ID=84532');
    expect(result).toMatch(/^Transaction {2}0x[0-9a-f]{64}, in block \d+ of chain 84532$/m);
    expect(result).toMatch(/^Cost {9}0\.000\d+ ETH for \d+ gas/m);
    expect(result).not.toContain('may not anchor');
    expect(await maySign(contract, payer)).toBe(true);
    expect(await maySign(contract, owner)).toBe(false);
  });

  it('gives the contract to others, and the account that pays no rights', async () => {
    const roles = { owner: owner.address, submitter: submitter.address };
    const json = JSON.parse((await deploy({ ...roles, json: true })).result);
    expect(json).toMatchObject({ chain_id: 84_532, ...roles, cost_wei: expect.stringMatching(/^\d+$/) });
    expect(await maySign(json.contract, owner)).toBe(true);
    expect(await maySign(json.contract, submitter)).toBe(true);
    expect(await maySign(json.contract, payer)).toBe(false);
    expect((await deploy(roles)).result).toContain(`${payer.address}, may not anchor there`);
  });

  it.each([
    ['owner', '0x70997970C51812dc3A010C7d01b50e0d17dc79C9'],
    ['owner', `0x${'0'.repeat(40)}`],
    ['submitter', '0x1234'],
  ])('refuses an --%s that is mistyped: %s', async (option, address) => {
    const before = await chain.call('eth_getTransactionCount', payer.address, 'latest');
    await expect(deploy({ [option]: address })).rejects.toMatchObject({
      code: 'misconfigured',
      message: expect.stringContaining(`--${option}: ${address}`),
    });
    expect(await chain.call('eth_getTransactionCount', payer.address, 'latest')).toBe(before);
  });

  it('waits rather than pay more than the limit', async () => {
    await expect(deploy({}, { IMMUTABLE_ANCHOR_MAX_FEE_GWEI: '0.001' })).rejects.toMatchObject({
      code: 'validation_failed',
      message: expect.stringContaining('the limit is 0.001 gwei'),
    });
  });

  it('deploys nothing to another chain', async () => {
    await expect(deploy({}, { IMMUTABLE_ANCHOR_CHAIN_ID: '8453' })).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('is chain 84532, not 8453'),
    });
  });

  it('says that the account cannot pay', async () => {
    await chain.setBalance(payer.address, 1_000n);
    await expect(deploy()).rejects.toMatchObject({
      code: 'validation_failed',
      message: expect.stringContaining('cannot pay'),
    });
    await chain.setBalance(payer.address, 10n ** 21n);
  });

  it('needs an endpoint and a key', async () => {
    await expect(deploy({}, { IMMUTABLE_ANCHOR_PRIVATE_KEY: '' })).rejects.toMatchObject({
      code: 'misconfigured',
      message: expect.stringContaining('IMMUTABLE_ANCHOR_PRIVATE_KEY'),
    });
  });
});
