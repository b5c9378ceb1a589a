import { type Abi, encodeFunctionData } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import artifact from '../../anchor/contract/ImmutableAnchor.json' with { type: 'json' };
import { type Deployment, deployContract } from '../../anchor/deployer.ts';
import { evmEndpoints } from '../../infra/evm/endpoints.ts';
import { createLogger } from '../../infra/log.ts';
import { DEV_ACCOUNTS, type TestAnvil } from './anvil.ts';

export const ANCHOR_ABI = artifact.abi as Abi;

type Hex = `0x${string}`;

/** The contract on a chain of its own, whether or not that makes blocks by itself. */
export async function deployTestContract(
  chain: TestAnvil,
  roles: { owner?: string; submitter?: string } = {},
): Promise<Deployment> {
  const mining = setInterval(() => void chain.mine().catch(() => {}), 50);
  try {
    return await deployContract({
      endpoints: evmEndpoints({
        urls: [chain.url],
        chainId: chain.chainId,
        log: createLogger('test', 'silent'),
      }),
      chainId: chain.chainId,
      privateKey: DEV_ACCOUNTS[0].privateKey,
      owner: roles.owner,
      submitter: roles.submitter,
      maxFeeWei: 10n ** 12n,
      pollMs: 20,
    });
  } finally {
    clearInterval(mining);
  }
}

export function contractCall(functionName: string, ...args: unknown[]): Hex {
  return encodeFunctionData({ abi: ANCHOR_ABI, functionName, args });
}

const TIP_WEI = 50n * 10n ** 9n;

/** Sends a call from an account that is in a hurry: it stands before everybody else's in its block. Its hash. */
export async function sendAs(
  chain: TestAnvil,
  { address, privateKey }: { address: string; privateKey: string },
  to: string,
  data: Hex,
  value = 0n,
): Promise<string> {
  const nonce = Number(await chain.call('eth_getTransactionCount', address, 'pending'));
  const raw = await privateKeyToAccount(privateKey as Hex).signTransaction({
    type: 'eip1559',
    chainId: chain.chainId,
    to: to as Hex,
    data,
    value,
    nonce,
    gas: 500_000n,
    maxFeePerGas: TIP_WEI * 4n,
    maxPriorityFeePerGas: TIP_WEI,
  });
  return String(await chain.call('eth_sendRawTransaction', raw));
}
