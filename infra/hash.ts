import { createHash, hash } from 'node:crypto';
import { crc32 as zlibCrc32 } from 'node:zlib';
import type { Hasher } from '../core/hash.ts';

/** SHA-256 by OpenSSL: the one servers use. */
export const nativeHasher: Hasher = {
  hex: (text) => hash('sha256', text, 'hex'),
  bytes: (data) => createHash('sha256').update(data).digest(),
};

/** CRC-32 (IEEE), the checksum of queued messages: it finds damage, it proves nothing. */
export function crc32(data: Uint8Array): number {
  return zlibCrc32(data);
}
