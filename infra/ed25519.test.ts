import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { portableSigner } from '../core/ed25519.ts';
import { createNativeSigner, isNativeSignature } from './ed25519.ts';

describe('Ed25519 by OpenSSL', () => {
  const native = createNativeSigner(2);

  it('makes the key and signature of RFC 8032, test 2', () => {
    const seed = Buffer.from('4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb', 'hex');
    expect(Buffer.from(native.publicKey(seed)).toString('hex')).toBe(
      '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
    );
    expect(Buffer.from(native.sign(Buffer.from('72', 'hex'), seed)).toString('hex')).toBe(
      '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
    );
  });

  it('gives the bytes of the portable one, whichever keys it remembers', () => {
    const seeds = Array.from({ length: 4 }, () => new Uint8Array(randomBytes(32)));
    for (const seed of [...seeds, ...seeds]) {
      const message = new Uint8Array(randomBytes(100));
      expect(native.publicKey(seed)).toEqual(portableSigner.publicKey(seed));
      expect(native.sign(message, seed)).toEqual(portableSigner.sign(message, seed));
    }
  });
});

describe('isNativeSignature', () => {
  const seed = new Uint8Array(32).fill(7);
  const message = new TextEncoder().encode('a checkpoint');
  const [signature, publicKey] = [portableSigner.sign(message, seed), portableSigner.publicKey(seed)];

  it('takes what the key has signed', () => {
    expect(isNativeSignature(signature, message, publicKey)).toBe(true);
  });

  it('takes nothing else, and no nonsense', () => {
    const other = portableSigner.publicKey(new Uint8Array(32).fill(8));
    expect(isNativeSignature(signature, message, other)).toBe(false);
    expect(isNativeSignature(signature, message.slice(1), publicKey)).toBe(false);
    expect(
      isNativeSignature(
        signature.map((byte) => byte ^ 1),
        message,
        publicKey,
      ),
    ).toBe(false);
    expect(isNativeSignature(signature.slice(1), message, publicKey)).toBe(false);
    expect(isNativeSignature(new Uint8Array(), message, publicKey)).toBe(false);
  });
});
