import { hash } from 'node:crypto';
import { crc32 as zlibCrc32 } from 'node:zlib';
import type { Hasher } from '../core/hash.ts';

/** SHA-256 by OpenSSL: the one servers use. */
export const nativeHasher: Hasher = {
  hex: (text) => hash('sha256', text, 'hex'),
  // By way of a text: a digest as a Buffer of its own takes twice as long, of which most is not hashing.
  bytes: (data) => Buffer.from(hash('sha256', data, 'binary'), 'binary'),
};

/** CRC-32 (IEEE), the checksum of queued messages: it finds damage, it proves nothing. */
export function crc32(data: Uint8Array): number {
  return zlibCrc32(data);
}
