/** An id as it is stored, lower case, or null for what cannot be one. */
export function readEventId(text: string | undefined): string | null {
  const id = text?.toLowerCase() ?? '';
  return UUID.test(id) ? id : null;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Longer than an event is ever on its way while all parts work; clocks may differ by some seconds. */
const UNDER_WAY_MS = 60_000;

/**
 * Whether an event that is not stored may have been accepted a moment ago. An id made by an edge (UUIDv7)
 * tells when; one made from an idempotency key (UUIDv8) does not, so it always may.
 */
export function mayBeUnderWay(id: string, nowMs: number): boolean {
  const version = id.charAt(14);
  if (version === '8') return true;
  if (version !== '7') return false;
  const madeAtMs = Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
  return Math.abs(nowMs - madeAtMs) <= UNDER_WAY_MS;
}
