import { type Hasher, portableHasher } from './hash.ts';

/**
 * The id of an event with an idempotency key: the UUIDv8 of workspace and key, so that a repeated key gives the
 * same id on every edge, without asking anyone.
 */
export function keyedEventId(
  workspaceId: string,
  idempotencyKey: string,
  hasher: Hasher = portableHasher,
): string {
  return uuidV8(hasher.hex(`imk/id/v1\n${workspaceId}\n${idempotencyKey}`));
}

/** A UUIDv8 (RFC 9562 §5.8) of the first 16 bytes of a digest in hex. */
export function uuidV8(digestHex: string): string {
  const variant = ((Number.parseInt(digestHex.charAt(16), 16) & 0b0011) | 0b1000).toString(16);
  return (
    `${digestHex.slice(0, 8)}-${digestHex.slice(8, 12)}-8${digestHex.slice(13, 16)}-` +
    `${variant}${digestHex.slice(17, 20)}-${digestHex.slice(20, 32)}`
  );
}
