import { type ChildProcess, spawn } from 'node:child_process';
import { anvilSpec, anvilUrl, DEV_ACCOUNT, findAnvil } from '../../infra/evm/anvil.ts';
import { jsonRpc } from '../../infra/evm/json-rpc.ts';
import { resultOf } from '../../infra/evm/reads.ts';
import { freePort } from './nats.ts';

export interface TestAnvil {
  url: string;
  chainId: number;
  readonly pid: number;
  /** Throws for an error. */
  call(method: string, ...params: unknown[]): Promise<unknown>;
  mine(blocks?: number): Promise<void>;
  /** The chain as it is now, to come back to once. */
  snapshot(): Promise<string>;
  revert(snapshot: string): Promise<void>;
  dropTransaction(txHash: string): Promise<void>;
  setBalance(address: string, wei: bigint): Promise<void>;
  setNextBlockBaseFee(wei: bigint): Promise<void>;
  stop(): Promise<void>;
}

/** More of the accounts that anvil gives ether to. */
export const DEV_ACCOUNTS = [
  DEV_ACCOUNT,
  {
    address: '0x70997970c51812dc3a010c7d01b50e0d17dc79c8',
    privateKey: '0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d',
  },
  {
    address: '0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc',
    privateKey: '0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a',
  },
] as const;

const READY_MS = 30_000;

/** A chain of its own on a free loopback port. It calls itself Base unless told, and makes a block each second. */
export async function startAnvil(
  options: { chainId?: number; mining?: Parameters<typeof anvilSpec>[0]['mining']; stateFile?: string } = {},
): Promise<TestAnvil> {
  const { chainId = 8453, mining = { blockEverySeconds: 1 }, ...state } = options;
  const port = await freePort();
  const spec = anvilSpec({ bin: await findAnvil(), port, chainId, mining, ...state });
  const child = spawn(spec.command, spec.args, { stdio: 'ignore' });
  // A test run that is cut short leaves no chain behind.
  const onExit = () => child.kill('SIGKILL');
  process.once('exit', onExit);
  await untilReady(child, spec.ready);
  const rpc = jsonRpc(anvilUrl(port), { timeoutMs: 10_000 });
  const call = async (method: string, ...params: unknown[]) =>
    resultOf(await rpc.call(method, params), method);
  const hex = (value: bigint | number) => `0x${value.toString(16)}`;
  return {
    url: anvilUrl(port),
    chainId,
    pid: child.pid ?? 0,
    call,
    mine: async (blocks = 1) => {
      await call('anvil_mine', hex(blocks));
    },
    snapshot: async () => String(await call('evm_snapshot')),
    revert: async (snapshot) => {
      if ((await call('evm_revert', snapshot)) !== true) throw new Error('there is no such snapshot');
    },
    dropTransaction: async (txHash) => {
      await call('anvil_dropTransaction', txHash);
    },
    setBalance: async (address, wei) => {
      await call('anvil_setBalance', address, hex(wei));
    },
    setNextBlockBaseFee: async (wei) => {
      await call('anvil_setNextBlockBaseFeePerGas', hex(wei));
    },
    stop: async () => {
      process.off('exit', onExit);
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      await ended;
    },
  };
}

async function untilReady(child: ChildProcess, ready: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + READY_MS;
  while (!(await ready().catch(() => false))) {
    if (child.exitCode !== null) throw new Error(`anvil ended with ${child.exitCode}`);
    if (performance.now() > deadline) throw new Error('anvil did not become ready');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
