import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { base64Decode, base64Encode } from '../core/bytes.ts';
import {
  encodeVerifierKey,
  type SignatureCheck,
  type SigningKey,
  type VerifierKey,
  verifierKeyOf,
  verifyNote,
} from '../core/checkpoint.ts';
import { ImmutableError } from '../core/errors.ts';
import type { Hasher } from '../core/hash.ts';
import type { Bucket } from '../infra/nats/kv.ts';
import type { Sealer } from '../infra/seal.ts';
import { type Clock, recordReader, timestamp } from './record.ts';
import { isConflict } from './workspaces.ts';

/**
 * The keys that sign checkpoints. An installation has one at a time, for all its workspaces: as a verifier key it
 * has a name for each, `<log origin>/<workspace>`, so that what it signs for one log speaks for no other. After
 * a rotation the key before goes on signing beside the new one for a while, so that whoever pinned it has the time to
 * pin the new one; and it stays published for ever, since what it signed must verify for ever.
 */

const keySchema = z.looseObject({
  /** Ed25519, base64. */
  public_key: z.string().refine((text) => base64Decode(text)?.length === 32),
  /** The seed, sealed (infra/seal.ts); the context is the public key. */
  sealed_seed: z.string(),
  created_at: z.string(),
  /** It signs no more from then on; `null` for the newest. */
  signs_until: z.string().nullable(),
});

const schema = z.looseObject({ keys: z.array(keySchema).min(1) });

/** All keys there ever were, newest first. */
export type SigningKeys = z.infer<typeof schema>;
export type StoredSigningKey = SigningKeys['keys'][number];

export const readSigningKeys = recordReader('record of signing keys', schema);

/** The one key of their bucket. */
export const SIGNING_KEYS = 'log';
/** What the keys are sealed for; never changes. */
export const SIGNING_KEY_PURPOSE = 'immutable signing key';

function newKey(sealer: Sealer, now: number): StoredSigningKey {
  const seed = new Uint8Array(randomBytes(32));
  const publicKey = base64Encode(verifierKeyOf({ name: 'log', seed }).publicKey);
  return {
    public_key: publicKey,
    sealed_seed: sealer.seal(seed, publicKey),
    created_at: timestamp(now),
    signs_until: null,
  };
}

/** The keys, the first of them made now if there is none; of several processes that start at once, one makes it. */
export async function ensureSigningKeys(
  bucket: Bucket,
  sealer: Sealer,
  now: Clock = Date.now,
): Promise<SigningKeys> {
  const stored = await bucket.get(SIGNING_KEYS);
  if (stored !== undefined) return readSigningKeys(stored.value);
  try {
    const made: SigningKeys = { keys: [newKey(sealer, now())] };
    await bucket.create(SIGNING_KEYS, made);
    return made;
  } catch (error) {
    const other = isConflict(error) ? await bucket.get(SIGNING_KEYS) : undefined;
    if (other === undefined) throw error;
    return readSigningKeys(other.value);
  }
}

/**
 * Makes a new key; those that sign now go on beside it for `overlapDays`. Throws `misconfigured` under another secret key
 * than theirs, or nobody could open both.
 */
export async function rotateSigningKey(
  bucket: Bucket,
  sealer: Sealer,
  overlapDays: number,
  now: Clock = Date.now,
): Promise<SigningKeys> {
  if (!Number.isInteger(overlapDays) || overlapDays < 0 || overlapDays > MAX_OVERLAP_DAYS) {
    throw new ImmutableError('validation_failed', `An overlap has 0 to ${MAX_OVERLAP_DAYS} days.`);
  }
  const stored = await bucket.get(SIGNING_KEYS);
  if (stored === undefined) throw new ImmutableError('not_found', 'There is no signing key yet.');
  const until = timestamp(now() + overlapDays * DAY_MS);
  const { keys: before } = readSigningKeys(stored.value);
  openSigningSeeds({ keys: before }, sealer, now());
  const rotated: SigningKeys = {
    keys: [
      newKey(sealer, now()),
      ...before.map((key) => ({ ...key, signs_until: key.signs_until ?? until })),
    ],
  };
  await bucket.update(SIGNING_KEYS, rotated, stored.revision);
  return rotated;
}

const DAY_MS = 24 * 3600 * 1000;
const MAX_OVERLAP_DAYS = 3_650;

/** The seeds that sign at this moment, the newest first. Throws `misconfigured` under another secret key. */
export function openSigningSeeds({ keys }: SigningKeys, sealer: Sealer, nowMs: number): Uint8Array[] {
  const now = timestamp(nowMs);
  return keys
    .filter(({ signs_until }) => signs_until === null || signs_until > now)
    .map(({ sealed_seed, public_key }) => sealer.open(sealed_seed, public_key));
}

/** The name that a log's key has, and that its checkpoints begin with. */
export function logNameOf(logOrigin: string, workspaceId: string): string {
  return `${logOrigin}/${workspaceId}`;
}

/** The keys of one workspace's log. */
export function signingKeysOf(seeds: readonly Uint8Array[], name: string): SigningKey[] {
  return seeds.map((seed) => ({ name, seed }));
}

/** What anybody may know of a key. */
export interface PublishedKey {
  algorithm: 'Ed25519';
  public_key: string;
  created_at: string;
  signs_until: string | null;
  /** C2SP signed-note; where the log is named. */
  verifier_key?: string;
}

export function publishedKeys({ keys }: SigningKeys, logName?: string): PublishedKey[] {
  return keys.map(({ public_key, created_at, signs_until }) => ({
    algorithm: 'Ed25519',
    public_key,
    created_at,
    signs_until,
    ...(logName === undefined ? {} : { verifier_key: encodeVerifierKey(verifierKey(logName, public_key)) }),
  }));
}

function verifierKey(name: string, publicKey: string): VerifierKey {
  return { name, publicKey: base64Decode(publicKey) ?? new Uint8Array() };
}

/** Whether one of the keys there ever were has signed a note, and it speaks for this log and no other. */
export function isSignedBy(
  { keys }: SigningKeys,
  logName: string,
  note: string,
  hasher: Hasher,
  isSignature?: SignatureCheck,
): boolean {
  const trusted = keys.map(({ public_key }) => verifierKey(logName, public_key));
  const verdict = verifyNote(note, trusted, hasher, isSignature);
  return verdict.ok && verdict.text.startsWith(`${logName}\n`);
}

/** The keys as they are now, kept current in memory. */
export interface SigningKeyWatch {
  /** Undefined before the first key is made. */
  current(): SigningKeys | undefined;
  stop(): Promise<void>;
}

export async function watchSigningKeys(bucket: Bucket): Promise<SigningKeyWatch> {
  let known: SigningKeys | undefined;
  const stop = await bucket.watch((key, entry) => {
    if (key === SIGNING_KEYS && entry !== undefined) known = readSigningKeys(entry.value);
  });
  return { current: () => known, stop };
}
