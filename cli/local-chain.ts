import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { contractAddressOf, deployContract } from '../anchor/deployer.ts';
import { ImmutableError } from '../core/errors.ts';
import type { Config, SettingEnvironment } from '../infra/config.ts';
import { anvilSpec, anvilUrl, DEV_ACCOUNT, findAnvil } from '../infra/evm/anvil.ts';
import { type EvmEndpoints, evmEndpoints } from '../infra/evm/endpoints.ts';
import { readCode } from '../infra/evm/reads.ts';
import type { Logger } from '../infra/log.ts';
import type { Children } from './children.ts';
import type { DataDir } from './data-dir.ts';
import { portNear } from './ports.ts';

/** A chain of this machine, on which anchoring is rehearsed. It proves nothing to anybody. */
export interface LocalChain {
  /** As `run.json` has it. */
  shown: { rpc_url: string; chain_id: number; contract: string };
  /** For roles that read anchors. */
  readerEnv: SettingEnvironment;
  /** For the role that makes them. */
  signerEnv: SettingEnvironment;
}

/** Not Base's: evidence of a rehearsal must not look like evidence. */
const REHEARSAL_CHAIN_ID = 31_337;
const USUAL_PORT = 8_545;
const MAX_FEE_WEI = 10n ** 12n;

/**
 * Starts the chain where it ended, and deploys the contract to it if it is new. A block is made for each transaction,
 * at once and for no other reason, so that a chain that nobody uses for a month does not grow; so anchors are
 * confirmed by their block alone.
 */
export async function startLocalChain(options: {
  config: Config;
  directory: DataDir;
  children: Children;
  log: Logger;
  tell(sentence: string): void;
}): Promise<LocalChain> {
  const { config, directory, children, log, tell } = options;
  refuseTwoChains(config);
  const bin = await findAnvil();
  const stateFile = prepareState(directory.localChain, tell);
  const port = await portNear(USUAL_PORT);
  const [rpcUrl, chainId] = [anvilUrl(port), REHEARSAL_CHAIN_ID];
  await children.start(anvilSpec({ bin, port, chainId, mining: 'at-once', stateFile }));
  const contract = await ensureContract(evmEndpoints({ urls: [rpcUrl], chainId, log }), directory);
  const readerEnv = {
    IMMUTABLE_ANCHOR_RPC_URL: rpcUrl,
    IMMUTABLE_ANCHOR_CHAIN_ID: String(chainId),
    IMMUTABLE_ANCHOR_CONTRACT: contract,
    IMMUTABLE_ANCHOR_CONFIRM: 'latest',
  };
  const signerEnv = { ...readerEnv, IMMUTABLE_ANCHOR_PRIVATE_KEY: DEV_ACCOUNT.privateKey };
  return { shown: { rpc_url: rpcUrl, chain_id: chainId, contract }, readerEnv, signerEnv };
}

function refuseTwoChains(config: Config): void {
  const { anchorRpcUrl, anchorContract, anchorPrivateKey } = config;
  if ([anchorRpcUrl, anchorContract, anchorPrivateKey].every((value) => value === undefined)) return;
  throw new ImmutableError('misconfigured', '--local-chain is given, and settings IMMUTABLE_ANCHOR_… too.', {
    nextStep: 'Anchor either on the local chain or on the one that is configured: leave out the other.',
  });
}

/**
 * Anvil writes its state over what was there: killed in that moment it leaves a file that it does not start with.
 * That chain is lost, as after a reorganisation down to its first block, and what was on it is anchored again.
 */
function prepareState(folder: string, tell: (sentence: string) => void): string {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const file = join(folder, 'state.json');
  if (existsSync(file) && !isJson(readFileSync(file, 'utf8'))) {
    renameSync(file, `${file}.damaged`);
    tell(
      `The local chain was cut off while it was written; a new one begins (${file}.damaged is the old one).`,
    );
  }
  return file;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/**
 * The contract is the first thing that the account ever makes, so its address is known without being written down,
 * and a start that dies at any line here leaves nothing that the next one does not find. The chain is written down
 * each second: killed within that of its first start it comes back without the contract, until the next start.
 */
async function ensureContract(endpoints: EvmEndpoints, directory: DataDir): Promise<string> {
  const contract = contractAddressOf(DEV_ACCOUNT.address, 0);
  if ((await endpoints.ask((rpc) => readCode(rpc, contract))) !== '0x') return contract;
  const deployed = await deployContract({
    endpoints,
    chainId: REHEARSAL_CHAIN_ID,
    privateKey: DEV_ACCOUNT.privateKey,
    owner: undefined,
    submitter: undefined,
    maxFeeWei: MAX_FEE_WEI,
    pollMs: 20,
  });
  if (deployed.contract === contract) return contract;
  throw new ImmutableError('misconfigured', 'The local chain was used for something else before.', {
    nextStep: `Remove ${directory.localChain}, and a new one begins.`,
  });
}
