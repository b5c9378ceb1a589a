import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { ImmutableError } from '../../core/errors.ts';

/** The address of the client behind a request, or '' when it cannot be known. */
export type ClientAddress = (peer: string, forwardedFor: string | undefined) => string;

/**
 * Whose address a request comes from. Only what a trusted proxy says in `X-Forwarded-For` counts, and of
 * that only what trusted proxies appended: it is read from the right until the first address that is none
 * of them. Everybody else could write anything there.
 * @param trustedProxies addresses and CIDR ranges; throws `misconfigured` for anything else
 */
export function clientAddressBehind(trustedProxies: readonly string[]): ClientAddress {
  const ranges = trustedProxies.map(parseRange);
  if (ranges.length === 0) return (peer) => peer;

  const isTrusted = (address: string) => {
    const parsed = ipaddr.parse(address);
    return ranges.some(([base, bits]) => parsed.kind() === base.kind() && parsed.match(base, bits));
  };

  return (peer, forwardedFor) => {
    let nearest = normalised(peer) ?? '';
    const hops = forwardedFor?.split(',') ?? [];
    while (nearest !== '' && isTrusted(nearest)) {
      const hop = hops.pop();
      const address = hop === undefined ? undefined : normalised(withoutPort(hop.trim()));
      if (address === undefined) return nearest;
      nearest = address;
    }
    return nearest;
  };
}

/** Of IPv6, what one subscriber is given at the least, who may take any address in it (RFC 6177). */
const SUBSCRIBER_BITS = 64;

/** Who is behind an address: all addresses that one subscriber may take are one, however they are spelt. */
export function subscriberOf(address: string): string {
  if (isIP(address) === 0) return address;
  const parsed = ipaddr.process(address);
  if (parsed.kind() === 'ipv4') return parsed.toString();
  const network = parsed.toByteArray().slice(0, SUBSCRIBER_BITS / 8);
  return `${ipaddr.fromByteArray([...network, ...new Uint8Array(16 - network.length)])}/${SUBSCRIBER_BITS}`;
}

type Range = [ipaddr.IPv4 | ipaddr.IPv6, number];

function parseRange(text: string): Range {
  try {
    const [base = '', bits] = text.split('/');
    if (isIP(base) === 0) throw new Error('no address');
    if (bits !== undefined) return ipaddr.parseCIDR(text);
    const address = ipaddr.process(base);
    return [address, address.kind() === 'ipv4' ? 32 : 128];
  } catch (cause) {
    throw new ImmutableError(
      'misconfigured',
      `IMMUTABLE_TRUSTED_PROXIES: "${text}" is neither an address nor a range such as 10.0.0.0/8.`,
      { cause },
    );
  }
}

/** Some proxies append the port: `192.0.2.1:443`, `[2001:db8::1]:443`. */
function withoutPort(hop: string): string {
  const bracketed = /^\[(.+)\](?::\d+)?$/.exec(hop);
  return bracketed?.[1] ?? hop.replace(/^([\d.]+):\d+$/, '$1');
}

function normalised(address: string): string | undefined {
  return isIP(address) === 0 ? undefined : ipaddr.process(address).toString();
}
