import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import type { Ed25519Signer } from '../core/ed25519.ts';

/** What stands before the seed in PKCS #8 (RFC 8410 §7). */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
/** The public key is at the end of its SubjectPublicKeyInfo (RFC 8410 §4). */
const PUBLIC_KEY_BYTES = 32;

/** What stands before a public key in its SubjectPublicKeyInfo (RFC 8410 §4). */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

/**
 * Whether OpenSSL takes it for a signature by the key: many times as fast as the strict check of `core`, and of
 * the same mind about whatever an honest key has signed. For notes of keys that are our own.
 */
export function isNativeSignature(
  signature: Uint8Array,
  message: Uint8Array,
  publicKey: Uint8Array,
): boolean {
  const der = Buffer.concat([SPKI_PREFIX, publicKey]);
  return verify(null, message, createPublicKey({ key: der, format: 'der', type: 'spki' }), signature);
}

interface Key {
  private: KeyObject;
  public: Uint8Array;
}

/** Ed25519 by OpenSSL, which takes longer to read a key than to sign with it: those that were used last are kept. */
export function createNativeSigner(rememberedKeys = 16): Ed25519Signer {
  const keys = new Map<string, Key>();

  function keyOf(seed: Uint8Array): Key {
    const name = Buffer.from(seed).toString('latin1');
    const known = keys.get(name);
    if (known !== undefined) return known;
    const key = readKey(seed);
    keys.set(name, key);
    const [oldest] = keys.keys();
    if (keys.size > rememberedKeys && oldest !== undefined) keys.delete(oldest);
    return key;
  }

  return {
    sign: (message, seed) => new Uint8Array(sign(null, message, keyOf(seed).private)),
    publicKey: (seed) => keyOf(seed).public,
  };
}

function readKey(seed: Uint8Array): Key {
  const key = createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: 'der', type: 'pkcs8' });
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
  return { private: key, public: new Uint8Array(spki.subarray(-PUBLIC_KEY_BYTES)) };
}
