import { ImmutableError } from '../../core/errors.ts';
import { subscriberOf } from '../../infra/http/client-address.ts';

/** Throws `rate_limited` when an address has asked for more than it may without a key. */
export type AddressLimit = (address: string) => void;

const REQUESTS_PER_MINUTE = 600;
const REMEMBERED_ADDRESSES = 50_000;

interface Bucket {
  tokens: number;
  atMs: number;
}

/** A token bucket for each address, or for each network of one IPv6 subscriber. Of the addresses that were forgotten first, each begins with a full one again. */
export function createAddressLimit(
  now: () => number,
  { perMinute = REQUESTS_PER_MINUTE, addresses = REMEMBERED_ADDRESSES } = {},
): AddressLimit {
  const buckets = new Map<string, Bucket>();
  return (address) => {
    const nowMs = now();
    const asking = subscriberOf(address);
    const known = buckets.get(asking) ?? { tokens: perMinute, atMs: nowMs };
    const tokens = Math.min(perMinute, known.tokens + ((nowMs - known.atMs) * perMinute) / 60_000);
    const isAllowed = tokens >= 1;
    buckets.delete(asking);
    // What is refused costs nothing: who asks a little too often would otherwise never be answered again.
    buckets.set(asking, { tokens: isAllowed ? tokens - 1 : tokens, atMs: nowMs });
    const [oldest] = buckets.keys();
    if (buckets.size > addresses && oldest !== undefined) buckets.delete(oldest);
    if (isAllowed) return;
    throw new ImmutableError('rate_limited', 'Too many requests without an API key from this address.', {
      retryAfterSeconds: Math.ceil(((1 - tokens) * 60) / perMinute),
    });
  };
}
