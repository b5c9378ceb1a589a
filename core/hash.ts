import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js';

/** SHA-256 (FIPS 180-4). Servers pass one over node:crypto, three times as fast; both give the same bytes. */
export interface Hasher {
  /** Lower-case hex of the digest of `text` in UTF-8. */
  hex(text: string): string;
  /** The 32 bytes of the digest of `data`. */
  bytes(data: Uint8Array): Uint8Array;
}

/** Runs everywhere JavaScript does. */
export const portableHasher: Hasher = {
  hex: (text) => bytesToHex(sha256(utf8ToBytes(text))),
  bytes: (data) => sha256(data),
};
