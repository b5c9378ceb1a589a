import type { Ledger } from '../anchor/ledger.ts';
import { ImmutableError } from '../core/errors.ts';
import type { Config } from '../infra/config.ts';
import type { Logger } from '../infra/log.ts';

type AnchorConfig = Pick<
  Config,
  | 'anchorRpcUrl'
  | 'anchorChainId'
  | 'anchorContract'
  | 'anchorPrivateKey'
  | 'anchorConfirm'
  | 'anchorMaxFeeGwei'
>;

/** What a chain is reached by; undefined where none is configured. Throws `misconfigured` naming every part that is missing. */
export function chainSettings(config: AnchorConfig) {
  const { anchorRpcUrl: rpcUrls, anchorContract: contract, anchorPrivateKey: privateKey } = config;
  if (rpcUrls === undefined) {
    if (privateKey === undefined) return undefined;
    throw wrong(['IMMUTABLE_ANCHOR_PRIVATE_KEY: is of no use without IMMUTABLE_ANCHOR_RPC_URL']);
  }
  if (contract === undefined || privateKey === undefined) {
    throw wrong([
      ...(contract === undefined ? ['IMMUTABLE_ANCHOR_CONTRACT: IMMUTABLE_ANCHOR_RPC_URL needs it'] : []),
      ...(privateKey === undefined
        ? ['IMMUTABLE_ANCHOR_PRIVATE_KEY: IMMUTABLE_ANCHOR_RPC_URL needs it']
        : []),
    ]);
  }
  return { rpcUrls, contract, privateKey, chainId: config.anchorChainId, confirm: config.anchorConfirm };
}

/** The ledger that the settings name; undefined where they name none, and then nothing of a chain is loaded. */
export async function openLedger(config: AnchorConfig, log: Logger): Promise<Ledger | undefined> {
  const settings = chainSettings(config);
  if (settings === undefined) return undefined;
  const { chainId, contract, ...others } = settings;
  const { baseLedger } = await import('../anchor/base.ts');
  const ledger = baseLedger({ place: { chainId, contract }, ...others, log });
  const hosts = settings.rpcUrls.map((url) => new URL(url).host);
  log.info({ chainId, contract, hosts, sender: ledger.sender }, 'roots go to a chain');
  return ledger;
}

const WEI_PER_GWEI = 1e9;

export function maxFeePerGasWei({ anchorMaxFeeGwei }: AnchorConfig): bigint {
  return BigInt(Math.round(anchorMaxFeeGwei * WEI_PER_GWEI));
}

function wrong(problems: string[]): ImmutableError {
  return new ImmutableError('misconfigured', `These settings are wrong:\n  ${problems.join('\n  ')}`, {
    nextStep: 'Correct them and start again; docs/operations.md lists every setting.',
  });
}
