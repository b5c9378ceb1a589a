import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { ImmutableError } from '../../core/errors.ts';
import { type ChildSpec, ENGINE_ENVIRONMENT } from '../process/spec.ts';
import { jsonRpc } from './json-rpc.ts';
import { quantity, resultOf } from './reads.ts';

/**
 * Anvil, an Ethereum chain in one process, for rehearsals and tests. It comes with the development packages; a
 * production install has none. It does not charge what Base charges for a transaction's bytes on Ethereum.
 */

/** The first account that anvil, as every such chain, gives ether to. The whole world has its key. */
export const DEV_ACCOUNT = {
  address: '0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266',
  privateKey: '0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80',
} as const;

const run = promisify(execFile);
const PROBE_MS = 10_000;

/** The path of an anvil that runs here. Throws `misconfigured` where there is none. */
export async function findAnvil(paths = candidates()): Promise<string> {
  const tried: string[] = [];
  for (const path of paths) {
    try {
      await run(path, ['--version'], { timeout: PROBE_MS });
      return path;
    } catch (error) {
      tried.push(`${path} does not run: ${error instanceof Error ? error.message.split('\n')[0] : error}`);
    }
  }
  throw new ImmutableError('misconfigured', ['There is no anvil on this machine.', ...tried].join(' '), {
    nextStep:
      'It comes with the development packages: run `npm install` without --omit=dev, or put an anvil on PATH (https://getfoundry.sh).',
  });
}

/** On loopback only. Without `blockEverySeconds` each transaction makes a block at once, or none does. */
export function anvilSpec(options: {
  bin: string;
  port: number;
  chainId: number;
  mining: { blockEverySeconds: number } | 'at-once' | 'on-request';
  /** Where the chain is kept between two lives; else it is gone with the process. */
  stateFile?: string;
}): ChildSpec {
  const { bin, port, chainId, mining, stateFile } = options;
  return {
    name: 'local-chain',
    command: bin,
    args: [
      ...['--host', '127.0.0.1', '--port', String(port), '--chain-id', String(chainId)],
      // Else the newest block that counts as safe is the first for as long as a rehearsal lasts.
      ...['--slots-in-an-epoch', '1', '--no-cors', '--quiet'],
      ...(mining === 'on-request' ? ['--no-mining'] : []),
      ...(typeof mining === 'object' ? ['--block-time', String(mining.blockEverySeconds)] : []),
      ...(stateFile === undefined ? [] : ['--state', stateFile, '--state-interval', '1']),
    ],
    inheritedEnv: ENGINE_ENVIRONMENT,
    ready: () => answersAsChain(anvilUrl(port), chainId),
    readyTimeoutMs: 30_000,
  };
}

export function anvilUrl(port: number): string {
  return `http://127.0.0.1:${port}`;
}

async function answersAsChain(url: string, chainId: number): Promise<boolean> {
  const answer = await jsonRpc(url, { timeoutMs: 1_000 }).call('eth_chainId', []);
  return quantity(resultOf(answer, 'eth_chainId')) === BigInt(chainId);
}

function candidates(): string[] {
  const onPath = (process.env.PATH ?? '')
    .split(delimiter)
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, 'anvil'));
  return [...packaged(), ...onPath].filter((path) => existsSync(path));
}

/** npm's `anvil` on PATH is a script that starts this program, and would stand between it and signals. */
function packaged(): string[] {
  const cpu = process.arch === 'x64' ? 'amd64' : process.arch;
  try {
    const manifest = createRequire(import.meta.url).resolve(
      `@foundry-rs/anvil-${process.platform}-${cpu}/package.json`,
    );
    return [join(dirname(manifest), 'bin', 'anvil')];
  } catch {
    return [];
  }
}
