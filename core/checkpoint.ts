import { ed25519 } from '@noble/curves/ed25519.js';
import { base64Decode, base64Encode, concatBytes, equalBytes, hexEncode, utf8Encode } from './bytes.ts';
import { type Ed25519Signer, portableSigner } from './ed25519.ts';
import { ImmutableError } from './errors.ts';
import { type Hasher, portableHasher } from './hash.ts';

/** C2SP tlog-checkpoint in the text of a C2SP signed-note, with Ed25519 (signature type 0x01). */

/** "The log `origin` has `size` entries, with this root." */
export interface Checkpoint {
  /** `<log origin>/<workspace id>` */
  origin: string;
  size: number;
  /** 32 bytes. */
  root: Uint8Array;
}

/**
 * The three lines that are signed, and that are a leaf of the day's anchor.
 * Throws `internal` for an origin, size or root that no reader would accept.
 */
export function checkpointText(origin: string, size: number, root: Uint8Array): string {
  const text = `${origin}\n${size}\n${base64Encode(root)}\n`;
  if (parseCheckpoint(text) === null)
    throw new ImmutableError('internal', `not a checkpoint: ${origin} at ${size}`);
  return text;
}

/** Null unless the text is exactly what `checkpointText` makes: extension lines are refused, since we sign none. */
export function parseCheckpoint(text: string): Checkpoint | null {
  const [origin, sizeText, rootText, end, ...surplus] = text.split('\n');
  if (!origin || sizeText === undefined || rootText === undefined || end !== '' || surplus.length > 0)
    return null;
  const size = parseTreeSize(sizeText);
  const root = base64Decode(rootText);
  if (!isKeyName(origin) || size === null) return null;
  return root?.length === 32 ? { origin, size, root } : null;
}

/**
 * The checkpoint in the text of any log's note, as C2SP tlog-checkpoint has it: other logs may write any line
 * as their origin, and add extension lines, which say nothing that anyone checks. Null for anything else.
 */
export function parseForeignCheckpoint(text: string): Checkpoint | null {
  const [origin, sizeText = '', rootText = '', ...rest] = text.split('\n');
  const root = base64Decode(rootText);
  const size = parseTreeSize(sizeText);
  // The last piece is what follows the last newline: nothing. Every other one is an extension line.
  if (!origin || size === null || rest.pop() !== '' || rest.includes('')) return null;
  return root?.length === 32 ? { origin, size, root } : null;
}

/** A tree size in its one spelling; null for anything else, and for sizes that a double cannot hold. */
export function parseTreeSize(text: string): number | null {
  const size = Number(text);
  return /^(0|[1-9]\d*)$/.test(text) && Number.isSafeInteger(size) ? size : null;
}

/** The workspace of a checkpoint: the last segment of its origin. */
export function workspaceOf(checkpoint: Checkpoint): string {
  return checkpoint.origin.slice(checkpoint.origin.lastIndexOf('/') + 1);
}

/** What a verifier has to know, and has to know from elsewhere than the note: name and key. */
export interface VerifierKey {
  name: string;
  /** 32 bytes. */
  publicKey: Uint8Array;
}

export interface SigningKey {
  name: string;
  /** 32 random bytes, the private key of RFC 8032. */
  seed: Uint8Array;
}

export function verifierKeyOf({ name, seed }: SigningKey): VerifierKey {
  return { name, publicKey: ed25519.getPublicKey(seed) };
}

/** The first four bytes of SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key). */
export function keyId(key: VerifierKey, hasher: Hasher = portableHasher): Uint8Array {
  return typedKeyId(ED25519_TYPE, key, hasher);
}

/** `name+<key id in hex>+<base64 of 0x01 ‖ public key>`: the form in which keys are published and pinned. */
export function encodeVerifierKey(key: VerifierKey, hasher: Hasher = portableHasher): string {
  return encodeTypedKey(ED25519_TYPE, key, hasher);
}

/** Null for anything but an Ed25519 key in its one spelling, with the key id that belongs to it. */
export function parseVerifierKey(text: string, hasher: Hasher = portableHasher): VerifierKey | null {
  return parseTypedKey(ED25519_TYPE, text, hasher);
}

/** `keyId` for any type of signature whose public key is one of Ed25519. */
export function typedKeyId(type: number, { name, publicKey }: VerifierKey, hasher: Hasher): Uint8Array {
  const typed = concatBytes(utf8Encode(`${name}\n`), Uint8Array.of(type), publicKey);
  return hasher.bytes(typed).slice(0, KEY_ID_BYTES);
}

export function encodeTypedKey(type: number, key: VerifierKey, hasher: Hasher): string {
  const typed = base64Encode(concatBytes(Uint8Array.of(type), key.publicKey));
  return `${key.name}+${hexEncode(typedKeyId(type, key, hasher))}+${typed}`;
}

export function parseTypedKey(type: number, text: string, hasher: Hasher): VerifierKey | null {
  const [, name = '', encoded = ''] = VERIFIER_KEY.exec(text) ?? [];
  const typed = base64Decode(encoded);
  if (!isKeyName(name) || typed?.length !== 1 + PUBLIC_KEY_BYTES) return null;
  const key = { name, publicKey: typed.slice(1) };
  return encodeTypedKey(type, key, hasher) === text ? key : null;
}

const VERIFIER_KEY = /^([^+]*)\+[\da-f]{8}\+(.*)$/;
const ED25519_TYPE = 1;
const KEY_ID_BYTES = 4;
const PUBLIC_KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;

/**
 * The note of a text with the key's signature. Throws `internal` for a text no reader would accept: one that
 * does not end with a newline, or holds control characters.
 */
export function signNote(
  text: string,
  { name, seed }: SigningKey,
  hasher: Hasher = portableHasher,
  signer: Ed25519Signer = portableSigner,
): string {
  const signature = signer.sign(utf8Encode(text), seed);
  const keyIdOfSigner = keyId({ name, publicKey: signer.publicKey(seed) }, hasher);
  const note = `${text}\n${signatureLine({ name, keyId: keyIdOfSigner, signature })}`;
  if (openNote(note)?.text !== text)
    throw new ImmutableError('internal', `cannot be signed as a note: ${text}`);
  return note;
}

export interface NoteSignature {
  name: string;
  /** 4 bytes. */
  keyId: Uint8Array;
  /** What follows the key id; 64 bytes for Ed25519. */
  signature: Uint8Array;
}

/** Its line in a note, newline included. */
export function signatureLine({ name, keyId, signature }: NoteSignature): string {
  return `${SIGNATURE_START}${name} ${base64Encode(concatBytes(keyId, signature))}\n`;
}

/** A note taken apart; nothing in it is to be believed before `verifyNote`. */
export interface OpenedNote {
  text: string;
  signatures: NoteSignature[];
}

const SIGNATURE_START = '— ';
const MAX_NOTE_LENGTH = 1024 * 1024;
const MAX_SIGNATURES = 100;

/** What a note says before anybody looked at its signatures; null unless it is the note of a checkpoint. */
export function parseCheckpointNote(note: string): Checkpoint | null {
  const opened = openNote(note);
  return opened === null ? null : parseCheckpoint(opened.text);
}

/** Null for whatever is not to the letter a signed note with 1 to 100 signatures and at most 1 MiB. */
export function openNote(note: string): OpenedNote | null {
  if (note.length > MAX_NOTE_LENGTH || !note.isWellFormed() || CONTROL_CHARACTER.test(note)) return null;
  const textEnd = note.lastIndexOf('\n\n') + 1;
  if (textEnd === 0) return null;
  const lines = note.slice(textEnd + 1).split('\n');
  if (lines.pop() !== '' || lines.length === 0 || lines.length > MAX_SIGNATURES) return null;
  const signatures = lines.map(parseSignatureLine).filter((signature) => signature !== null);
  return signatures.length === lines.length ? { text: note.slice(0, textEnd), signatures } : null;
}

/** Anything below the space but the newline. */
const CONTROL_CHARACTER = /[^\n -\u{10ffff}]/u;

function parseSignatureLine(line: string): NoteSignature | null {
  const [mark, name, encoded, ...surplus] = line.split(' ');
  if (`${mark} ` !== SIGNATURE_START || !name || !encoded || surplus.length > 0) return null;
  const data = base64Decode(encoded);
  if (data === null || data.length <= KEY_ID_BYTES || !isKeyName(name)) return null;
  return { name, keyId: data.slice(0, KEY_ID_BYTES), signature: data.slice(KEY_ID_BYTES) };
}

/** Not empty, neither Unicode space nor plus nor control character. */
export function isKeyName(name: string): boolean {
  return name.isWellFormed() && /^[^\s+\p{Cc}]+$/u.test(name);
}

export type NoteVerdict =
  | { ok: true; text: string; signedBy: VerifierKey[] }
  /** `unknown_signer`: no signature by any of the keys; `bad_signature`: one of the keys' own does not hold. */
  | { ok: false; reason: 'malformed' | 'unknown_signer' | 'bad_signature' };

/**
 * Verifies a note by keys the caller trusts. Signatures by other keys are ignored; one by a trusted key that
 * does not hold refuses the whole note, however many others do.
 */
export function verifyNote(
  note: string,
  trustedKeys: readonly VerifierKey[],
  hasher: Hasher = portableHasher,
  isSignature: SignatureCheck = isEd25519Signature,
): NoteVerdict {
  const opened = openNote(note);
  if (opened === null) return { ok: false, reason: 'malformed' };
  const message = utf8Encode(opened.text);
  const signedBy: VerifierKey[] = [];
  for (const key of trustedKeys) {
    const own = signaturesBy(opened, { name: key.name, keyId: keyId(key, hasher) });
    if (!own.every(({ signature }) => isSignature(signature, message, key.publicKey)))
      return { ok: false, reason: 'bad_signature' };
    if (own.length > 0) signedBy.push(key);
  }
  return signedBy.length > 0
    ? { ok: true, text: opened.text, signedBy }
    : { ok: false, reason: 'unknown_signer' };
}

/** Those that say they are by this key. */
export function signaturesBy(
  { signatures }: OpenedNote,
  by: Pick<NoteSignature, 'name' | 'keyId'>,
): NoteSignature[] {
  return signatures.filter(({ name, keyId }) => name === by.name && equalBytes(keyId, by.keyId));
}

/** Whether a signature of a message is by the key. */
export type SignatureCheck = (signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array) => boolean;

/** By the strict rules of RFC 8032, so that no other verifier accepts less. */
export function isEd25519Signature(
  signature: Uint8Array,
  message: Uint8Array,
  publicKey: Uint8Array,
): boolean {
  return (
    signature.length === SIGNATURE_BYTES && ed25519.verify(signature, message, publicKey, { zip215: false })
  );
}
