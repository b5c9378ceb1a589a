import { type Hasher, portableHasher } from './hash.ts';

/**
 * The id of an event with an idempotency key: the UUIDv8 (RFC 9562 §5.8) of workspace and key, so that a
 * repeated key gives the same id on every edge, without asking anyone.
 */
export function keyedEventId(
  workspaceId: string,
  idempotencyKey: string,
  hasher: Hasher = portableHasher,
): string {
  const hex = hasher.hex(`imk/id/v1\n${workspaceId}\n${idempotencyKey}`);
  const variant = ((Number.parseInt(hex.charAt(16), 16) & 0b0011) | 0b1000).toString(16);
  return (
    `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-` +
    `${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`
  );
}
