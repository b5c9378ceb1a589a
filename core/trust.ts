import { type Checkpoint, type VerifierKey, verifyNote } from './checkpoint.ts';
import type { CheckMeaning, Outcome } from './checks.ts';
import { verifyCosignatures } from './cosignature.ts';
import { type Hasher, portableHasher } from './hash.ts';
import { isSatisfied, type Policy, quorumGaps } from './policy.ts';

/** What the one who verifies knows from elsewhere. Never taken from what is verified. */
export interface Trust {
  /** Each speaks for the one log whose name it bears. */
  verifierKeys: readonly VerifierKey[];
  /** Keys of whole installs: each speaks for every workspace below its origin. */
  installKeys?: readonly InstallKey[];
  /** Who, beside the log, must have signed. The logs of a policy are among `verifierKeys`. */
  witnesses?: Pick<Policy, 'witnesses' | 'quorum'>;
}

export interface InstallKey {
  /** What the origins of the workspaces' logs begin with, before the last slash. */
  logOrigin: string;
  /** 32 bytes, Ed25519. */
  publicKey: Uint8Array;
}

/** The checks of a signed checkpoint, which everything that is verified ends with. */
export const SIGNATURE_CHECKS = {
  checkpoint: {
    proves: 'the log that you trust signed this checkpoint',
    not: 'that the log shows everybody the same checkpoints: for that there are witnesses and anchors',
  },
  witnesses: {
    proves:
      'as many witnesses as your policy asks for have seen this checkpoint, and that the log only grew up to it',
    not: 'that a witness has seen the events: it knows sizes and roots alone',
  },
} as const satisfies Record<string, CheckMeaning>;

export interface SignatureOutcome {
  outcome: Outcome;
  detail?: string;
}

/** Whether a key that the caller trusts signed this checkpoint. */
export function checkSigner(
  note: string,
  checkpoint: Checkpoint,
  trust: Trust,
  hasher: Hasher = portableHasher,
): SignatureOutcome {
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

const NO_WITNESSES: SignatureOutcome = { outcome: 'skipped', detail: 'no policy asks for witnesses' };

/** Whether the witnesses that the caller asks for cosigned this note. */
export function checkWitnesses(
  note: string,
  { witnesses: policy }: Trust,
  hasher: Hasher = portableHasher,
): SignatureOutcome {
  if (policy === undefined || policy.quorum.kind === 'none') return NO_WITNESSES;
  const { witnesses, quorum } = policy;
  const nameOf = (key: VerifierKey) => witnesses.find((witness) => witness.key === key)?.name ?? key.name;
  const keys = witnesses.map(({ key }) => key);
  const verdict = verifyCosignatures(note, keys, hasher);
  if (!verdict.ok) {
    const detail =
      verdict.reason === 'malformed'
        ? 'the checkpoint cannot be read'
        : `the cosignature of ${nameOf(verdict.cosigner)} does not hold`;
    return { outcome: 'failed', detail };
  }
  const names = new Set(verdict.cosignatures.map(({ cosigner }) => nameOf(cosigner)));
  if (isSatisfied(quorum, names))
    return { outcome: 'passed', detail: `cosigned by ${[...names].join(', ')}` };
  const gaps = quorumGaps(quorum, names).map(
    ({ name, needed, present, missing }) =>
      `${name} has ${present} of ${needed}, without ${missing.join(', ')}`,
  );
  return { outcome: 'unknown_signer', detail: `too few of your witnesses cosigned it: ${gaps.join('; ')}` };
}
