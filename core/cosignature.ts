import { ed25519 } from '@noble/curves/ed25519.js';
import { concatBytes, utf8Encode } from './bytes.ts';
import {
  encodeTypedKey,
  isEd25519Signature,
  openNote,
  parseTypedKey,
  type SigningKey,
  signatureLine,
  signaturesBy,
  typedKeyId,
  type VerifierKey,
  verifierKeyOf,
} from './checkpoint.ts';
import { ImmutableError } from './errors.ts';
import { type Hasher, portableHasher } from './hash.ts';

/**
 * C2SP tlog-cosignature with Ed25519 (signature type 0x04, `cosignature/v1`): a witness says that at a time
 * this checkpoint was the largest it had seen of that log, and that it continues every one it saw before.
 *
 * A cosigner's key is written like a log's, with another type, so that neither is taken for the other. The
 * signed message does not hold the cosigner's name: a key belongs to one name only.
 */

const COSIGNATURE_TYPE = 4;
const TIMESTAMP_BYTES = 8;

/** The first four bytes of SHA-256(name ‖ 0x0A ‖ 0x04 ‖ public key). */
export function cosignerKeyId(key: VerifierKey, hasher: Hasher = portableHasher): Uint8Array {
  return typedKeyId(COSIGNATURE_TYPE, key, hasher);
}

/** `name+<key id in hex>+<base64 of 0x04 ‖ public key>`: the form in which witnesses are named in a policy. */
export function encodeCosignerKey(key: VerifierKey, hasher: Hasher = portableHasher): string {
  return encodeTypedKey(COSIGNATURE_TYPE, key, hasher);
}

/** Null for anything but a cosigner's Ed25519 key in its one spelling; so for a log's key, too. */
export function parseCosignerKey(text: string, hasher: Hasher = portableHasher): VerifierKey | null {
  return parseTypedKey(COSIGNATURE_TYPE, text, hasher);
}

/**
 * The line that goes below the other signatures of a note, newline included. Throws `internal` for a time that
 * is no whole number of seconds since 1970. Whether the text may be cosigned is for the caller to know.
 *
 * @param text of the checkpoint's note, final newline included, without signatures
 */
export function cosign(
  text: string,
  key: SigningKey,
  timestampSeconds: number,
  hasher: Hasher = portableHasher,
): string {
  if (!isTimestamp(timestampSeconds))
    throw new ImmutableError('internal', `not a time to cosign at: ${timestampSeconds}`);
  const signature = ed25519.sign(cosignedMessage(text, timestampSeconds), key.seed);
  return signatureLine({
    name: key.name,
    keyId: cosignerKeyId(verifierKeyOf(key), hasher),
    signature: concatBytes(encodeTimestamp(timestampSeconds), signature),
  });
}

function cosignedMessage(text: string, timestampSeconds: number): Uint8Array {
  return utf8Encode(`cosignature/v1\ntime ${timestampSeconds}\n${text}`);
}

function isTimestamp(seconds: number): boolean {
  return Number.isSafeInteger(seconds) && seconds >= 0;
}

/** Big-endian, 64 bits. */
function encodeTimestamp(seconds: number): Uint8Array {
  const data = new Uint8Array(TIMESTAMP_BYTES);
  let rest = seconds;
  for (let index = TIMESTAMP_BYTES - 1; index >= 0; index -= 1) {
    data[index] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  return data;
}

function decodeTimestamp(data: Uint8Array): number {
  return data.subarray(0, TIMESTAMP_BYTES).reduce((seconds, byte) => seconds * 256 + byte, 0);
}

export interface Cosignature {
  cosigner: VerifierKey;
  /** Since 1970. Where a cosigner signed more than once, the latest. */
  timestampSeconds: number;
}

export type CosignatureVerdict =
  /** By which of the keys, in their order; possibly none. */
  | { ok: true; cosignatures: Cosignature[] }
  /** `bad_signature`: one that says it is by `cosigner` does not hold. */
  | { ok: false; reason: 'malformed' }
  | { ok: false; reason: 'bad_signature'; cosigner: VerifierKey };

/**
 * Which of the keys cosigned the note. What other keys signed is ignored, the log's own signature included,
 * which `verifyNote` checks; one by a trusted key that does not hold refuses the whole note.
 */
export function verifyCosignatures(
  note: string,
  trustedKeys: readonly VerifierKey[],
  hasher: Hasher = portableHasher,
): CosignatureVerdict {
  const opened = openNote(note);
  if (opened === null) return { ok: false, reason: 'malformed' };
  const cosignatures: Cosignature[] = [];
  for (const cosigner of trustedKeys) {
    const own = signaturesBy(opened, { name: cosigner.name, keyId: cosignerKeyId(cosigner, hasher) });
    const times = own.map(({ signature }) => timeOf(signature, opened.text, cosigner));
    if (times.includes(null)) return { ok: false, reason: 'bad_signature', cosigner };
    const valid = times.filter((time) => time !== null);
    if (valid.length > 0) cosignatures.push({ cosigner, timestampSeconds: Math.max(...valid) });
  }
  return { ok: true, cosignatures };
}

/** When it was made; null if it does not hold. */
function timeOf(timestamped: Uint8Array, text: string, { publicKey }: VerifierKey): number | null {
  const seconds = decodeTimestamp(timestamped);
  if (timestamped.length < TIMESTAMP_BYTES || !isTimestamp(seconds)) return null;
  const signature = timestamped.subarray(TIMESTAMP_BYTES);
  return isEd25519Signature(signature, cosignedMessage(text, seconds), publicKey) ? seconds : null;
}
