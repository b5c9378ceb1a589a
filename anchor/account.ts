import { type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts';
import { ImmutableError } from '../core/errors.ts';
import type { EvmBlock } from '../infra/evm/reads.ts';
import type { Fees } from './ledger.ts';

/** Who pays. The key stays in the closure of what is returned. */
export function accountOf(privateKey: string): PrivateKeyAccount {
  try {
    return privateKeyToAccount(asHex(privateKey));
  } catch {
    // Its own errors may quote what they were given, so they are not handed on.
    throw new ImmutableError('misconfigured', 'IMMUTABLE_ANCHOR_PRIVATE_KEY is not a private key.', {
      nextStep: 'Give 0x and 64 hexadecimal digits, of a number above 0 and below the order of secp256k1.',
    });
  }
}

/** Enough for a base fee that doubles before it is in a block; what is not needed is not paid. */
export function feesAfter(head: EvmBlock, tip: bigint): Fees {
  return { maxFeePerGas: head.baseFeeWei * 2n + tip, maxPriorityFeePerGas: tip };
}

/** With its 0x, which settings and records have and roots lack. */
export function asHex(text: string): `0x${string}` {
  return `0x${text.replace(/^0x/, '')}`;
}
