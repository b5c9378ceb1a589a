import { describe, expect, it } from 'vitest';
import { ImmutableError } from '../core/errors.ts';
import {
  authenticate,
  authenticateOperator,
  createKeyRing,
  type KeyRecord,
  newToken,
  tokenHash,
} from './keys.ts';

const NOW_MS = Date.UTC(2026, 2, 15, 12);

function record(more: Partial<KeyRecord> = {}): KeyRecord {
  return {
    id: 'key_0123456789abcdef',
    workspace_id: 'ws_0123456789abcdef',
    scopes: ['ingest', 'read'],
    label: 'test',
    prefix: 'imk_AAAAAAAA',
    created_at: '2026-03-01T00:00:00.000000Z',
    expires_at: null,
    revoked_at: null,
    ...more,
  };
}

function ringWith(key: KeyRecord) {
  let nowMs = NOW_MS;
  const token = newToken();
  const ring = createKeyRing(() => nowMs);
  ring.set(tokenHash(token), key);
  return { ring, token, header: `Bearer ${token}`, passMs: (ms: number) => (nowMs += ms) };
}

function refusal(action: () => unknown): { code: string; message: string } {
  try {
    action();
  } catch (error) {
    if (error instanceof ImmutableError) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error('it was let in');
}

describe('newToken', () => {
  it('is imk_ and 43 URL-safe characters, never the same', () => {
    const tokens = Array.from({ length: 100 }, newToken);
    for (const token of tokens) expect(token).toMatch(/^imk_[A-Za-z0-9_-]{43}$/);
    expect(new Set(tokens).size).toBe(100);
  });
});

describe('authenticate', () => {
  it('gives the record of the key that the header carries', () => {
    const { ring, header } = ringWith(record());
    expect(authenticate(ring, header, 'ingest')).toEqual(record());
    expect(authenticate(ring, header.replace('Bearer', 'bearer'), 'read').workspace_id).toBe(
      'ws_0123456789abcdef',
    );
  });

  it('refuses what is no key with 401, saying what to send', () => {
    const { ring, token } = ringWith(record());
    const headers = [undefined, '', token, 'Bearer', 'Bearer ', `Basic ${token}`, `Bearer ${token} ${token}`];
    for (const header of headers) {
      const { code, message } = refusal(() => authenticate(ring, header, 'ingest'));
      expect(code).toBe('unauthenticated');
      expect(message).toContain('Bearer imk_');
    }
  });

  it('refuses an unknown key without saying more', () => {
    const { ring, token } = ringWith(record());
    for (const unknown of [
      newToken(),
      `${token}x`,
      token.slice(0, -1),
      'imk_',
      'x'.repeat(100_000),
      '__proto__',
    ]) {
      expect(refusal(() => authenticate(ring, `Bearer ${unknown}`, 'ingest'))).toEqual({
        code: 'unauthenticated',
        message: 'This API key is not known here.',
      });
    }
  });

  it('refuses a revoked key', () => {
    const { ring, header } = ringWith(record({ revoked_at: '2026-03-15T11:00:00.000000Z' }));
    expect(refusal(() => authenticate(ring, header, 'ingest'))).toEqual({
      code: 'unauthenticated',
      message: 'This API key was revoked at 2026-03-15T11:00:00.000000Z.',
    });
  });

  it('refuses a key from the moment it expires', () => {
    const { ring, header, passMs } = ringWith(record({ expires_at: '2026-03-15T12:00:01.000000Z' }));
    passMs(999);
    expect(authenticate(ring, header, 'ingest').id).toBe('key_0123456789abcdef');
    passMs(1);
    expect(refusal(() => authenticate(ring, header, 'ingest')).message).toContain(
      'expired at 2026-03-15T12:00:01',
    );
  });

  it('takes an expiry that cannot be read for passed', () => {
    const { ring, header } = ringWith(record({ expires_at: 'soon' }));
    expect(refusal(() => authenticate(ring, header, 'ingest')).code).toBe('unauthenticated');
  });

  it('refuses with 403 what the key has no scope for', () => {
    const { ring, header } = ringWith(record({ scopes: ['read'] }));
    expect(refusal(() => authenticate(ring, header, 'ingest'))).toEqual({
      code: 'forbidden',
      message: 'This API key has the scope read; this needs ingest.',
    });
  });

  it("keeps the operator's key and workspace keys apart", () => {
    const operator = ringWith(record({ workspace_id: null, scopes: ['operator'] }));
    expect(refusal(() => authenticate(operator.ring, operator.header, 'read')).code).toBe('forbidden');
    expect(authenticateOperator(operator.ring, operator.header).scopes).toEqual(['operator']);
    const ordinary = ringWith(record({ scopes: ['ingest', 'read', 'manage'] }));
    expect(refusal(() => authenticateOperator(ordinary.ring, ordinary.header)).code).toBe('forbidden');
  });

  it('forgets a removed key', () => {
    const { ring, token, header } = ringWith(record());
    ring.remove(tokenHash(token));
    expect(ring.size).toBe(0);
    expect(refusal(() => authenticate(ring, header, 'ingest')).code).toBe('unauthenticated');
  });
});
