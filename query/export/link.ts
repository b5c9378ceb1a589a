import { createHmac, timingSafeEqual } from 'node:crypto';

/** Addresses that open one object of one export, for whoever has them, until it expires. */

export type Linked = 'download' | 'manifest';

/** HMAC-SHA256 over what is opened and until when, as 43 letters that need no encoding in a URL. */
export function signLink(what: Linked, id: string, expiresAt: string, key: Uint8Array): string {
  return digest(what, id, expiresAt, key).toString('base64url');
}

/** Takes equally long for every wrong signature of the right length. */
export function isSignatureOf(
  signature: string,
  what: Linked,
  id: string,
  expiresAt: string,
  key: Uint8Array,
): boolean {
  const given = Buffer.from(signature, 'base64url');
  const expected = digest(what, id, expiresAt, key);
  return (
    given.length === expected.length &&
    timingSafeEqual(given, expected) &&
    given.toString('base64url') === signature
  );
}

function digest(what: Linked, id: string, expiresAt: string, key: Uint8Array): Buffer {
  return createHmac('sha256', key)
    .update(JSON.stringify(['imk/export/v1', what, id, expiresAt]))
    .digest();
}
