import { hash, randomBytes } from 'node:crypto';
import { z } from 'zod';
import { ImmutableError } from '../core/errors.ts';
import { formatTimestamp, parseTimestamp } from '../core/time.ts';
import type { Logger } from '../infra/log.ts';
import type { Bucket } from '../infra/nats/kv.ts';
import { byCreation, type Clock, recordReader, timestamp } from './record.ts';

/** What a key may do. `operator` belongs to the installation and reaches no workspace; the others belong to one. */
export const SCOPES = ['ingest', 'read', 'manage', 'operator'] as const;
export type Scope = (typeof SCOPES)[number];
export type WorkspaceScope = Exclude<Scope, 'operator'>;
export const WORKSPACE_SCOPES: readonly WorkspaceScope[] = ['ingest', 'read', 'manage'];

const schema = z.looseObject({
  id: z.string().regex(/^key_[0-9a-f]{16}$/),
  workspace_id: z.string().nullable(),
  scopes: z.array(z.enum(SCOPES)).min(1),
  label: z.string(),
  /** First 12 characters of the token, for display. */
  prefix: z.string(),
  created_at: z.string(),
  expires_at: z.string().nullable(),
  revoked_at: z.string().nullable(),
});

/** What is kept of a key, under the SHA-256 of its token. The token itself is shown once and kept nowhere. */
export type KeyRecord = z.infer<typeof schema>;
export type WorkspaceKey = KeyRecord & { workspace_id: string };

const readKey = recordReader('API key', schema);

const TOKEN = /^imk_[A-Za-z0-9_-]{43}$/;
const PREFIX_LENGTH = 12;

/** `imk_` and 256 random bits. */
export function newToken(): string {
  return `imk_${randomBytes(32).toString('base64url')}`;
}

/** Where a token's record is kept. A fast hash is enough: nobody guesses 256 random bits. */
export function tokenHash(token: string): string {
  return hash('sha256', token, 'hex');
}

// --- Making, listing, revoking -------------------------------------------------------------------

export interface NewKey {
  /** `null` for an operator's key. */
  workspaceId: string | null;
  scopes: readonly Scope[];
  label: string;
  /** RFC 3339. */
  expiresAt?: string | null;
  /** Given where the token had to be written down before the key could be made. */
  token?: string;
}

/** Throws `validation_failed` for scopes, label or expiry that make no sense, `conflict` for a token that exists. */
export async function createKey(
  bucket: Bucket,
  wanted: NewKey,
  now: Clock = Date.now,
): Promise<{ token: string; key: KeyRecord }> {
  const token = wanted.token ?? newToken();
  const key: KeyRecord = {
    id: `key_${randomBytes(8).toString('hex')}`,
    workspace_id: wanted.workspaceId,
    scopes: validScopes(wanted),
    label: validLabel(wanted.label),
    prefix: token.slice(0, PREFIX_LENGTH),
    created_at: timestamp(now()),
    expires_at: validExpiry(wanted.expiresAt, now()),
    revoked_at: null,
  };
  await bucket.create(tokenHash(token), key);
  return { token, key };
}

/** The record of `token`, made first if there is none. A revoked one stays revoked. */
export async function ensureKey(
  bucket: Bucket,
  wanted: NewKey & { token: string },
  now: Clock = Date.now,
): Promise<KeyRecord> {
  const entry = await bucket.get(tokenHash(wanted.token));
  return entry === undefined ? (await createKey(bucket, wanted, now)).key : readKey(entry.value);
}

/** Oldest first, revoked ones included; of one workspace, or all. */
export async function listKeys(bucket: Bucket, workspaceId?: string): Promise<KeyRecord[]> {
  return (await allKeys(bucket))
    .map(({ key }) => key)
    .filter((key) => workspaceId === undefined || key.workspace_id === workspaceId)
    .sort(byCreation);
}

/**
 * Revokes the key with this id, on every edge within a second. Revoking it again changes nothing.
 * Throws `not_found` for an unknown id.
 */
export async function revokeKey(bucket: Bucket, id: string, now: Clock = Date.now): Promise<KeyRecord> {
  const found = (await allKeys(bucket)).find(({ key }) => key.id === id);
  if (found === undefined) throw new ImmutableError('not_found', `There is no key ${id}.`);
  if (found.key.revoked_at !== null) return found.key;
  const revoked: KeyRecord = { ...found.key, revoked_at: timestamp(now()) };
  await bucket.update(found.storedUnder, revoked, found.revision);
  return revoked;
}

async function allKeys(bucket: Bucket): Promise<{ storedUnder: string; revision: number; key: KeyRecord }[]> {
  const hashes = await bucket.keys();
  const entries = await Promise.all(
    hashes.map(async (storedUnder) => ({ storedUnder, entry: await bucket.get(storedUnder) })),
  );
  return entries.flatMap(({ storedUnder, entry }) =>
    entry === undefined ? [] : [{ storedUnder, revision: entry.revision, key: readKey(entry.value) }],
  );
}

function validScopes({ scopes, workspaceId }: NewKey): Scope[] {
  const distinct = SCOPES.filter((scope) => scopes.includes(scope));
  const problem =
    distinct.length === 0
      ? `name at least one of ${SCOPES.join(', ')}`
      : distinct.includes('operator') !== (workspaceId === null)
        ? 'the scope operator stands alone, on a key without a workspace'
        : distinct.includes('operator') && distinct.length > 1
          ? 'the scope operator stands alone'
          : undefined;
  if (problem !== undefined) throw invalid('scopes', problem);
  return distinct;
}

function validLabel(label: string): string {
  if ([...label].length > 255) throw invalid('label', 'must have at most 255 characters');
  return label;
}

function validExpiry(expiresAt: string | null | undefined, nowMs: number): string | null {
  if (expiresAt === null || expiresAt === undefined) return null;
  const micros = parseTimestamp(expiresAt);
  if (micros === null) throw invalid('expires_at', 'must be a time such as 2027-01-31T00:00:00Z');
  if (micros <= nowMs * 1000) throw invalid('expires_at', 'must be in the future');
  return formatTimestamp(micros);
}

function invalid(path: string, message: string): ImmutableError {
  return new ImmutableError('validation_failed', `${path} ${message}`, { violations: [{ path, message }] });
}

// --- Finding one, on every request ---------------------------------------------------------------

/** Every key of the installation in memory: one SHA-256 and one map look-up a request, no network. */
export interface KeyRing {
  /** The record of a token that may be used now. */
  find(token: string): KeyRecord | undefined;
  /** Why `find` gave nothing, as a sentence for the client. */
  whyRefused(token: string): string;
}

/** A ring that is kept current. */
export interface WatchedKeyRing extends KeyRing {
  readonly size: number;
  stop(): Promise<void>;
}

/**
 * Resolves once every present key is known; a key made, changed or revoked later is known within a second.
 * A record that cannot be read opens nothing, and is logged.
 */
export async function watchKeys(
  bucket: Bucket,
  { log, now = Date.now }: { log?: Logger; now?: Clock } = {},
): Promise<WatchedKeyRing> {
  const ring = createKeyRing(now);
  const stop = await bucket.watch((storedUnder, entry) => {
    ring.remove(storedUnder);
    if (entry === undefined) return;
    try {
      ring.set(storedUnder, readKey(entry.value));
    } catch (err) {
      log?.error({ err, storedUnder }, 'an API key cannot be read and is refused');
    }
  });
  return {
    find: ring.find,
    whyRefused: ring.whyRefused,
    get size() {
      return ring.size;
    },
    stop,
  };
}

/** A ring that its caller fills. */
export interface FillableKeyRing extends KeyRing {
  readonly size: number;
  set(hash: string, key: KeyRecord): void;
  remove(hash: string): void;
}

export function createKeyRing(now: Clock = Date.now): FillableKeyRing {
  const keys = new Map<string, { key: KeyRecord; expiresAtMs: number }>();

  function look(token: string): { key: KeyRecord; expiresAtMs: number } | undefined {
    return TOKEN.test(token) ? keys.get(tokenHash(token)) : undefined;
  }

  return {
    find(token) {
      const held = look(token);
      return held !== undefined && held.key.revoked_at === null && now() < held.expiresAtMs
        ? held.key
        : undefined;
    },
    whyRefused(token) {
      const held = look(token);
      if (held === undefined) return 'This API key is not known here.';
      if (held.key.revoked_at !== null) return `This API key was revoked at ${held.key.revoked_at}.`;
      return `This API key expired at ${held.key.expires_at}.`;
    },
    get size() {
      return keys.size;
    },
    set: (hash, key) => keys.set(hash, { key, expiresAtMs: expiryMs(key) }),
    remove: (hash) => keys.delete(hash),
  };
}

/** A time that cannot be read counts as passed: better a key too few than one too many. */
function expiryMs(key: KeyRecord): number {
  if (key.expires_at === null) return Number.POSITIVE_INFINITY;
  return (parseTimestamp(key.expires_at) ?? 0) / 1000;
}

const BEARER = /^Bearer +(\S+) *$/i;

/**
 * The key that a request's `Authorization` header carries, if it may do `scope` in its workspace.
 * Throws `unauthenticated` (no key, unknown, revoked, expired) or `forbidden` (another scope).
 */
export function authenticate(
  ring: KeyRing,
  authorization: string | undefined,
  scope: WorkspaceScope,
): WorkspaceKey {
  const key = presentedKey(ring, authorization);
  if (!key.scopes.includes(scope) || !hasWorkspace(key)) throw lacksScope(key, scope);
  return key;
}

/** As `authenticate`, for what the installation's operator alone may do. */
export function authenticateOperator(ring: KeyRing, authorization: string | undefined): KeyRecord {
  const key = presentedKey(ring, authorization);
  if (!key.scopes.includes('operator')) throw lacksScope(key, 'operator');
  return key;
}

function presentedKey(ring: KeyRing, authorization: string | undefined): KeyRecord {
  if (authorization === undefined || authorization === '') {
    throw new ImmutableError('unauthenticated', 'Send an API key as "Authorization: Bearer imk_…".');
  }
  const token = BEARER.exec(authorization)?.[1];
  if (token === undefined) {
    throw new ImmutableError(
      'unauthenticated',
      'The Authorization header is not of the form "Bearer imk_…".',
    );
  }
  const key = ring.find(token);
  if (key === undefined) throw new ImmutableError('unauthenticated', ring.whyRefused(token));
  return key;
}

function hasWorkspace(key: KeyRecord): key is WorkspaceKey {
  return key.workspace_id !== null;
}

function lacksScope(key: KeyRecord, scope: Scope): ImmutableError {
  return new ImmutableError(
    'forbidden',
    `This API key has the scope ${key.scopes.join(', ')}; this needs ${scope}.`,
  );
}
