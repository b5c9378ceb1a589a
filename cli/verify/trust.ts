import { readFileSync } from 'node:fs';
import { base64Decode } from '../../core/bytes.ts';
import { parseVerifierKey } from '../../core/checkpoint.ts';
import { ImmutableError } from '../../core/errors.ts';
import { parsePolicy } from '../../core/policy.ts';
import type { Trust } from '../../core/trust.ts';

/** What the caller named on the command line: the only place that trust comes from. */
export interface TrustOptions {
  policy?: string | undefined;
  verifierKeys: readonly string[];
  logKeys: readonly string[];
  logOrigin?: string | undefined;
}

/** Throws `misconfigured` for what is not to the letter a policy or a key. */
export function readTrust({ policy: policyFile, verifierKeys, logKeys, logOrigin }: TrustOptions): Trust {
  if (logKeys.length > 0 !== (logOrigin !== undefined)) {
    throw wrong(
      '--log-key and --log-origin go together: the key, and the name of the install it speaks for.',
    );
  }
  const policy = policyFile === undefined ? undefined : readPolicy(policyFile);
  return {
    verifierKeys: [...verifierKeys.map(readVerifierKey), ...(policy?.logs ?? []).map(({ key }) => key)],
    installKeys: logKeys.map((text) => ({ logOrigin: logOrigin ?? '', publicKey: readPublicKey(text) })),
    ...(policy === undefined ? {} : { witnesses: policy }),
  };
}

function readPolicy(path: string) {
  try {
    return parsePolicy(readFileSync(path));
  } catch (cause) {
    if (cause instanceof ImmutableError) throw wrong(`${path}: ${cause.message}`);
    throw wrong(`The policy ${path} cannot be read.`, cause);
  }
}

function readVerifierKey(text: string) {
  const key = parseVerifierKey(text);
  if (key === null) throw wrong(`"${text}" is no verifier key: such a key is written name+id+base64.`);
  return key;
}

function readPublicKey(text: string): Uint8Array {
  const key = base64Decode(text);
  if (key?.length !== 32)
    throw wrong(`"${text}" is no Ed25519 public key: such a key is 32 bytes in base64.`);
  return key;
}

function wrong(message: string, cause?: unknown): ImmutableError {
  return new ImmutableError('misconfigured', message, { cause });
}
