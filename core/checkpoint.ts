import { ed25519 } from '@noble/curves/ed25519.js';
import { base64Decode, base64Encode, concatBytes, equalBytes, hexEncode, utf8Encode } from './bytes.ts';
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
  const size = Number(sizeText);
  const root = base64Decode(rootText);
  if (!isKeyName(origin) || !Number.isSafeInteger(size) || size < 0 || String(size) !== sizeText) return null;
  return root?.length === 32 ? { origin, size, root } : null;
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
export function keyId({ name, publicKey }: VerifierKey, hasher: Hasher = portableHasher): Uint8Array {
  return hasher.bytes(concatBytes(utf8Encode(`${name}\n`), ED25519_TYPE, publicKey)).slice(0, KEY_ID_BYTES);
}

/** `name+<key id in hex>+<base64 of 0x01 ‖ public key>`: the form in which keys are published and pinned. */
export function encodeVerifierKey(key: VerifierKey, hasher: Hasher = portableHasher): string {
  return `${key.name}+${hexEncode(keyId(key, hasher))}+${base64Encode(concatBytes(ED25519_TYPE, key.publicKey))}`;
}

/** Null for anything but an Ed25519 key in its one spelling, with the key id that belongs to it. */
export function parseVerifierKey(text: string, hasher: Hasher = portableHasher): VerifierKey | null {
  const [, name = '', encoded = ''] = VERIFIER_KEY.exec(text) ?? [];
  const typed = base64Decode(encoded);
  if (!isKeyName(name) || typed?.length !== 33) return null;
  const key = { name, publicKey: typed.slice(1) };
  return encodeVerifierKey(key, hasher) === text ? key : null;
}

const VERIFIER_KEY = /^([^+]*)\+[\da-f]{8}\+(.*)$/;
const ED25519_TYPE = Uint8Array.of(1);
const KEY_ID_BYTES = 4;
const SIGNATURE_BYTES = 64;

/**
 * The note of a text with the key's signature. Throws `internal` for a text no reader would accept: one that
 * does not end with a newline, or holds control characters.
 */
export function signNote(text: string, key: SigningKey, hasher: Hasher = portableHasher): string {
  const signature = ed25519.sign(utf8Encode(text), key.seed);
  const encoded = base64Encode(concatBytes(keyId(verifierKeyOf(key), hasher), signature));
  const note = `${text}\n${SIGNATURE_START}${key.name} ${encoded}\n`;
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
function isKeyName(name: string): boolean {
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
): NoteVerdict {
  const opened = openNote(note);
  if (opened === null) return { ok: false, reason: 'malformed' };
  const message = utf8Encode(opened.text);
  const signedBy: VerifierKey[] = [];
  for (const key of trustedKeys) {
    const own = opened.signatures.filter((signature) => isBy(signature, key, hasher));
    if (!own.every((signature) => holds(signature, message, key)))
      return { ok: false, reason: 'bad_signature' };
    if (own.length > 0) signedBy.push(key);
  }
  return signedBy.length > 0
    ? { ok: true, text: opened.text, signedBy }
    : { ok: false, reason: 'unknown_signer' };
}

function isBy(signature: NoteSignature, key: VerifierKey, hasher: Hasher): boolean {
  return signature.name === key.name && equalBytes(signature.keyId, keyId(key, hasher));
}

/** By the strict rules of RFC 8032, so that no other verifier accepts less. */
function holds({ signature }: NoteSignature, message: Uint8Array, { publicKey }: VerifierKey): boolean {
  return (
    signature.length === SIGNATURE_BYTES && ed25519.verify(signature, message, publicKey, { zip215: false })
  );
}
