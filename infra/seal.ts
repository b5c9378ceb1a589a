import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { ImmutableError } from '../core/errors.ts';

/**
 * Secrets at rest: AES-256-GCM under a key that is derived from IMMUTABLE_SECRET_KEY for one purpose. What is
 * sealed is bound to that purpose and to a context, so that it cannot be moved from one record into another.
 *
 *     v1.<base64url of nonce (12 bytes) ‖ ciphertext ‖ tag (16 bytes)>
 */
export interface Sealer {
  seal(secret: Uint8Array, context: string): string;
  /** Throws `misconfigured` for what was sealed under another key, purpose or context, or was changed. */
  open(sealed: string, context: string): Uint8Array;
}

const VERSION = 'v1.';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** `secretKey`: 64 hex digits; `purpose` names the kind of secret, the same for ever. */
export function createSealer(secretKey: string, purpose: string): Sealer {
  const key = new Uint8Array(hkdfSync('sha256', Buffer.from(secretKey, 'hex'), '', purpose, 32));

  function open(sealed: string, context: string): Uint8Array {
    const bytes = Buffer.from(sealed.slice(VERSION.length), 'base64url');
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, NONCE_BYTES), {
      authTagLength: TAG_BYTES,
    });
    decipher.setAAD(Buffer.from(context));
    decipher.setAuthTag(bytes.subarray(bytes.length - TAG_BYTES));
    const opened = decipher.update(bytes.subarray(NONCE_BYTES, bytes.length - TAG_BYTES));
    return new Uint8Array(Buffer.concat([opened, decipher.final()]));
  }

  return {
    seal: (secret, context) => {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
      cipher.setAAD(Buffer.from(context));
      const sealed = Buffer.concat([nonce, cipher.update(secret), cipher.final(), cipher.getAuthTag()]);
      return `${VERSION}${sealed.toString('base64url')}`;
    },
    open: (sealed, context) => {
      try {
        if (!sealed.startsWith(VERSION)) throw new Error(`it does not begin with ${VERSION}`);
        return open(sealed, context);
      } catch (cause) {
        throw new ImmutableError('misconfigured', `A stored secret (${context}) cannot be decrypted.`, {
          nextStep: 'Start with the IMMUTABLE_SECRET_KEY it was encrypted with.',
          cause,
        });
      }
    },
  };
}
