import { createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto';
import type { Ed25519Signer } from '../core/ed25519.ts';

/** What stands before the seed in PKCS #8 (RFC 8410 §7). */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
/** The public key is at the end of its SubjectPublicKeyInfo (RFC 8410 §4). */
const PUBLIC_KEY_BYTES = 32;

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
