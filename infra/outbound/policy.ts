import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { ImmutableError } from '../../core/errors.ts';

/** Which addresses may be connected to when somebody else says where to. */

export interface OutboundPolicy {
  /** The operator's own networks, which may be reached although they are not public. */
  readonly allowedRanges: readonly Range[];
}

type Range = [ipaddr.IPv4 | ipaddr.IPv6, number];

/** - `allowed`: in a range that the operator named; plain http is allowed there too. */
export type Reach = 'public' | 'allowed' | 'refused';

/** @param ranges addresses and CIDR ranges; throws `misconfigured` for what `isRange` says is none */
export function outboundPolicy(ranges: readonly string[]): OutboundPolicy {
  return { allowedRanges: ranges.map(rangeOf) };
}

export function isRange(text: string): boolean {
  return parseRange(text) !== undefined;
}

function rangeOf(text: string): Range {
  const range = parseRange(text);
  if (range === undefined) throw new ImmutableError('misconfigured', `"${text}" is no range of addresses`);
  return range;
}

function parseRange(text: string): Range | undefined {
  const [base = '', bits, ...surplus] = text.split('/');
  const family = isIP(base);
  const longest = family === 4 ? 32 : 128;
  const length = bits === undefined ? longest : /^\d{1,3}$/.test(bits) ? Number(bits) : Number.NaN;
  if (family === 0 || base.includes('%') || surplus.length > 0 || !(length <= longest)) return undefined;
  return [ipaddr.parse(base), length];
}

/** @param address as a resolver or a URL spells it; what is no address is refused */
export function reachOf(address: string, { allowedRanges }: OutboundPolicy): Reach {
  if (isIP(address) === 0 || address.includes('%')) return 'refused';
  const parsed = ipaddr.parse(address);
  if (isIn(allowedRanges, parsed)) return 'allowed';
  if (parsed.kind() === 'ipv4') return isIn(NOT_PUBLIC_V4, parsed) ? 'refused' : 'public';
  return isIn(GLOBAL_V6, parsed) && !isIn(NOT_PUBLIC_V6, parsed) ? 'public' : 'refused';
}

function isIn(ranges: readonly Range[], address: ipaddr.IPv4 | ipaddr.IPv6): boolean {
  return ranges.some(([base, bits]) => base.kind() === address.kind() && address.match(base, bits));
}

/** From the IANA registry of special-purpose addresses, and one that no registry knows. */
const NOT_PUBLIC_V4 = [
  '0.0.0.0/8', // this host
  '10.0.0.0/8', // private
  '100.64.0.0/10', // carriers' NAT, and metadata of some clouds
  '127.0.0.0/8', // loopback
  '168.63.129.16/32', // Azure's own services, within reach of its machines only
  '169.254.0.0/16', // link-local, and metadata of most clouds
  '172.16.0.0/12', // private
  '192.0.0.0/24', // protocol assignments
  '192.0.2.0/24', // documentation
  '192.88.99.0/24', // relays of 6to4
  '192.168.0.0/16', // private
  '198.18.0.0/15', // benchmarks
  '198.51.100.0/24', // documentation
  '203.0.113.0/24', // documentation
  '224.0.0.0/4', // multicast
  '240.0.0.0/4', // reserved, and broadcast
].map(rangeOf);

/**
 * All that is in use of IPv6. Beside it lie loopback, link-local (fe80::/10), unique local (fc00::/7, metadata of
 * AWS among it), multicast, and the forms that carry an IPv4 address: mapped (::ffff:0:0/96), compatible (::/96), NAT64
 * (64:ff9b::/96, 64:ff9b:1::/48). A name never needs these, so they are refused whatever address they carry.
 */
const GLOBAL_V6 = ['2000::/3'].map(rangeOf);

const NOT_PUBLIC_V6 = [
  '2001::/23', // protocol assignments: Teredo, which carries IPv4 addresses, benchmarks, ORCHID
  '2001:db8::/32', // documentation
  '2002::/16', // 6to4, which carries IPv4 addresses
  '3fff::/20', // documentation
].map(rangeOf);
