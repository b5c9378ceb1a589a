import { hmac } from '@noble/hashes/hmac.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { base64Decode, base64Encode, concatBytes, equalBytes, hexEncode, utf8Encode } from './bytes.ts';

/** `X-Immutable-Signature`: `sha256=` and the hex HMAC-SHA256 of the raw body, keyed by the bytes of the secret. */
export function webhookSignature(secret: string, body: string | Uint8Array): string {
  return `sha256=${hexEncode(hmac(sha256, utf8Encode(secret), bytesOf(body)))}`;
}

/** Whether the header is the signature of the body; takes the same time wherever they differ. */
export function verifyWebhookSignature(secret: string, body: string | Uint8Array, header: string): boolean {
  return equalBytes(utf8Encode(webhookSignature(secret, body)), utf8Encode(header));
}

/** What the headers `webhook-id`, `webhook-timestamp` and the body say, and Standard Webhooks signs. */
export interface StandardWebhook {
  id: string;
  /** Whole seconds since 1970. */
  timestampSeconds: number;
  body: string | Uint8Array;
}

/** How far the clocks of sender and receiver may differ, and how old a replay may be. */
export const WEBHOOK_TOLERANCE_SECONDS = 300;

/**
 * `webhook-signature` of Standard Webhooks 1.0: `v1,` and the base64 HMAC-SHA256 of `id.timestamp.body`, one for
 * each secret, a space between (two while a secret is being rotated).
 */
export function standardWebhookSignature(secrets: readonly string[], webhook: StandardWebhook): string {
  return secrets.map((secret) => signatureV1(secret, webhook)).join(' ');
}

/** Whether one of the signatures in the header is by the secret and the timestamp is within five minutes of now. */
export function verifyStandardWebhook(
  secret: string,
  webhook: StandardWebhook,
  header: string,
  nowSeconds: number,
): boolean {
  const ageSeconds = Math.abs(nowSeconds - webhook.timestampSeconds);
  if (!(ageSeconds <= WEBHOOK_TOLERANCE_SECONDS)) return false;
  const expected = utf8Encode(signatureV1(secret, webhook));
  return header.split(' ').some((candidate) => equalBytes(utf8Encode(candidate), expected));
}

function signatureV1(secret: string, { id, timestampSeconds, body }: StandardWebhook): string {
  const content = concatBytes(utf8Encode(`${id}.${timestampSeconds}.`), bytesOf(body));
  return `v1,${base64Encode(hmac(sha256, standardKey(secret), content))}`;
}

const SECRET_PREFIX = 'whsec_';

/** The bytes that the base64 after `whsec_` stands for; for any other secret, those of its text. */
function standardKey(secret: string): Uint8Array {
  const decoded = secret.startsWith(SECRET_PREFIX) ? base64Decode(secret.slice(SECRET_PREFIX.length)) : null;
  return decoded !== null && decoded.length > 0 ? decoded : utf8Encode(secret);
}

function bytesOf(body: string | Uint8Array): Uint8Array {
  return typeof body === 'string' ? utf8Encode(body) : body;
}
