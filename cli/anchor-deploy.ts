import { formatEther, isAddress } from 'viem';
import { accountOf } from '../anchor/account.ts';
import { deployContract } from '../anchor/deployer.ts';
import { ImmutableError } from '../core/errors.ts';
import type { Config } from '../infra/config.ts';
import { evmEndpoints } from '../infra/evm/endpoints.ts';
import { createLogger } from '../infra/log.ts';
import { maxFeePerGasWei } from './anchor-ledger.ts';
import type { Terminal } from './terminal.ts';

export interface AnchorDeployOptions {
  /** May anchor, and decides who else may; the account that pays unless told. */
  owner?: string;
  /** May anchor beside the owner. */
  submitter?: string;
  json: boolean;
}

/** Deploys the contract. Each call makes another one. */
export async function anchorDeploy(
  config: Config,
  terminal: Terminal,
  { owner, submitter, json }: AnchorDeployOptions,
): Promise<void> {
  const { anchorRpcUrl: urls, anchorPrivateKey: privateKey, anchorChainId: chainId } = config;
  if (urls === undefined || privateKey === undefined) {
    throw new ImmutableError(
      'misconfigured',
      'Deploying needs IMMUTABLE_ANCHOR_RPC_URL and IMMUTABLE_ANCHOR_PRIVATE_KEY.',
      { nextStep: 'Set both; the account must have some ether on that chain.' },
    );
  }
  for (const [option, address] of Object.entries({ owner, submitter })) requireAddress(option, address);
  const payer = accountOf(privateKey).address.toLowerCase();
  const log = createLogger('anchor', config.logLevel);
  const deployment = await terminal.step(`contract on chain ${chainId}`, () =>
    deployContract({
      endpoints: evmEndpoints({ urls, chainId, log }),
      chainId,
      privateKey,
      owner,
      submitter,
      maxFeeWei: maxFeePerGasWei(config),
      onSigned: ({ contract, txHash }) =>
        terminal.say(`It will be at ${contract}, once the transaction ${txHash} is in a block.`),
    }),
  );
  const { contract, txHash, blockNumber, gasUsed, costWei } = deployment;
  const mayAnchor = [owner ?? payer, submitter].some((address) => address?.toLowerCase() === payer);
  terminal.result(
    json
      ? JSON.stringify({
          contract,
          chain_id: chainId,
          tx_hash: txHash,
          block_number: blockNumber,
          gas_used: Number(gasUsed),
          cost_wei: String(costWei),
          owner: (owner ?? payer).toLowerCase(),
          submitter: submitter?.toLowerCase() ?? null,
        })
      : [
          `Contract     ${contract}`,
          `Transaction  ${txHash}, in block ${blockNumber} of chain ${chainId}`,
          `Cost         ${formatEther(costWei)} ETH for ${gasUsed} gas; an L2 also charges for the bytes`,
          `Owner        ${owner ?? payer}`,
          `Submitter    ${submitter ?? 'none beside the owner'}`,
          '',
          'Set these where `immutable anchor` runs:',
          `  IMMUTABLE_ANCHOR_CHAIN_ID=${chainId}`,
          `  IMMUTABLE_ANCHOR_CONTRACT=${contract}`,
          ...(mayAnchor ? [] : [`The account that paid, ${payer}, may not anchor there.`]),
        ].join('\n'),
  );
}

/** An owner that is mistyped can never be mended: a checksum (EIP-55), where there is one, must be right. */
function requireAddress(option: string, address: string | undefined): void {
  if (address === undefined || (isAddress(address) && !/^0x0+$/.test(address))) return;
  throw new ImmutableError(
    'misconfigured',
    `--${option}: ${address} is not an address, or one letter is wrong.`,
    {
      nextStep: 'Give 0x and 40 hexadecimal digits, as your wallet shows them.',
    },
  );
}
