import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readArtifact } from '../../anchor/abi.ts';
import { baseLedger } from '../../anchor/base.ts';
import { dataDirAt } from '../../cli/data-dir.ts';
import { freePort } from '../../cli/ports.ts';
import { findRunning } from '../../cli/run-file.ts';
import { DEV_ACCOUNT } from '../../infra/evm/anvil.ts';
import { jsonRpc } from '../../infra/evm/json-rpc.ts';
import { createLogger } from '../../infra/log.ts';
import { processIdentity } from '../../infra/process/identity.ts';
import { anvil as anvilProgram, describeNeeding } from '../support/requirements.ts';
import { allGone, runProgram, type Stack, startStack, until } from '../support/stack.ts';

await describeNeeding(anvilProgram, 'immutable up --local-chain', () => {
  const folder = mkdtempSync(join(tmpdir(), 'immutable-local-chain-'));
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack({ dataDir: folder, args: ['--local-chain'] });
  });
  afterAll(async () => {
    await stack?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  function chain(): { rpc_url: string; chain_id: number; contract: string } {
    const running = findRunning(dataDirAt(folder).runFile)?.local_chain;
    if (running === undefined || running === null) throw new Error('there is no local chain');
    return running;
  }

  async function call(method: string, ...params: unknown[]): Promise<unknown> {
    const answer = await jsonRpc(chain().rpc_url, { timeoutMs: 5_000 }).call(method, params);
    if (answer.kind === 'error') throw new Error(answer.message);
    return answer.value;
  }

  function ledger() {
    const { rpc_url, chain_id: chainId, contract } = chain();
    return baseLedger({
      place: { chainId, contract },
      rpcUrls: [rpc_url],
      privateKey: DEV_ACCOUNT.privateKey,
      confirm: 'latest',
      log: createLogger('test', 'silent'),
    });
  }

  async function anchor(root: string) {
    const { nextNonce: nonce, fees } = await ledger().observe(root, []);
    const attempt = await ledger().sign(root, { nonce, fees });
    expect(await ledger().send(attempt)).toEqual({ kind: 'accepted' });
    await until(async () => (await ledger().observe(root, [])).inclusion !== null, 5_000);
    return (await ledger().observe(root, [])).inclusion;
  }

  const blockOf = async (root: string) => (await ledger().observe(root, [])).inclusion?.blockHash;

  it('runs a chain that is plainly a rehearsal, with the contract on it, and says so', async () => {
    const { rpc_url, chain_id, contract } = chain();
    expect(chain_id).toBe(31_337);
    expect(await call('eth_getCode', contract, 'latest')).toBe(readArtifact().deployedBytecode);
    expect(stack.output()).toContain(`Local chain  ${rpc_url}, chain 31337: a rehearsal on this machine`);
    expect(stack.output()).toContain(`Contract     ${contract}`);
    expect(await anchor('aa'.repeat(32))).toMatchObject({ isConfirmed: true });
  });

  it('goes on after a restart, with the contract that is there', async () => {
    const before = { contract: chain().contract, block: await blockOf('aa'.repeat(32)) };
    await stack.restart();
    expect(chain().contract).toBe(before.contract);
    expect(await blockOf('aa'.repeat(32))).toBe(before.block);
    expect((await ledger().observe('bb'.repeat(32), [])).nextNonce).toBe(2);
    await anchor('bb'.repeat(32));
  });

  it('goes on after the chain was killed', async () => {
    const block = await anchor('cc'.repeat(32));
    await new Promise((resolve) => setTimeout(resolve, 2_500)); // It is written down each second.
    await stack.untilBack('local-chain', await stack.kill9('local-chain'));
    await until(
      async () => (await blockOf('cc'.repeat(32)).catch(() => undefined)) === block?.blockHash,
      10_000,
    );
  });

  it('begins anew where the chain was cut off while it was written, at the same address', async () => {
    const { contract } = chain();
    await stack.stop({ keep: true });
    writeFileSync(join(dataDirAt(folder).localChain, 'state.json'), '{"block":{"nu');
    await stack.restart();
    expect(stack.output()).toContain('a new one begins');
    expect(chain().contract).toBe(contract);
    expect((await ledger().observe('cc'.repeat(32), [])).inclusion).toBeNull();
    await anchor('cc'.repeat(32));
  });

  it('ends with what started it, however that ends', async () => {
    const pid = stack.pid('local-chain') ?? 0;
    const identity = processIdentity(pid) ?? '';
    await stack.kill9('up');
    await until(() => allGone([{ pid, identity }]), 15_000);
    await stack.restart();
    await anchor('dd'.repeat(32));
  });

  it('is refused beside a chain that is configured', async () => {
    const ended = await runProgram(['up', '--local-chain'], {
      IMMUTABLE_DATA_DIR: mkdtempSync(join(folder, 'apart-')),
      IMMUTABLE_PORT: String(await freePort()),
      IMMUTABLE_CLICKHOUSE_PORT: String(await freePort()),
      IMMUTABLE_ANCHOR_RPC_URL: 'https://chain.example.com/v2/k3y',
    });
    expect(ended.code).toBe(1);
    expect(ended.output).toContain('--local-chain is given, and settings IMMUTABLE_ANCHOR_… too.');
    expect(ended.output).not.toContain('k3y');
  });
});
