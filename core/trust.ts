import { type Checkpoint, type VerifierKey, verifyNote } from './checkpoint.ts';
import type { Outcome } from './checks.ts';
import { type Hasher, portableHasher } from './hash.ts';

/** What the one who verifies knows from elsewhere. Never taken from what is verified. */
export interface Trust {
  /** Each speaks for the one log whose name it bears. */
  verifierKeys: readonly VerifierKey[];
  /** Keys of whole installs: each speaks for every workspace below its origin. */
  installKeys?: readonly InstallKey[];
}

export interface InstallKey {
  /** What the origins of the workspaces' logs begin with, before the last slash. */
  logOrigin: string;
  /** 32 bytes, Ed25519. */
  publicKey: Uint8Array;
}

export interface SignerVerdict {
  outcome: Extract<Outcome, 'passed' | 'failed' | 'unknown_signer'>;
  detail?: string;
}

/** Whether a key that the caller trusts signed this checkpoint. */
export function checkSigner(
  note: string,
  checkpoint: Checkpoint,
  trust: Trust,
  hasher: Hasher = portableHasher,
): SignerVerdict {
  const verdict = verifyNote(note, keysOf(checkpoint, trust), hasher);
  if (verdict.ok) return { outcome: 'passed' };
  if (verdict.reason !== 'unknown_signer')
    return { outcome: 'failed', detail: 'the signature does not hold' };
  return {
    outcome: 'unknown_signer',
    detail: `it is signed by none of the trusted keys of ${checkpoint.origin}`,
  };
}

/** A log's key bears the name of the log, so that one log cannot speak for another. */
function keysOf({ origin }: Checkpoint, { verifierKeys, installKeys = [] }: Trust): VerifierKey[] {
  const install = origin.slice(0, Math.max(0, origin.lastIndexOf('/')));
  return [
    ...verifierKeys.filter((key) => key.name === origin),
    ...installKeys
      .filter(({ logOrigin }) => logOrigin === install)
      .map(({ publicKey }) => ({ name: origin, publicKey })),
  ];
}
