import { Resolver } from 'node:dns/promises';
import { isIP, type LookupFunction } from 'node:net';
import { mayConnect, NOT_PUBLIC } from './destination.ts';
import type { OutboundPolicy } from './policy.ts';

/** All addresses of a host name. Rejects where there are none. */
export type Resolve = (host: string) => Promise<readonly string[]>;

/** That a connection was not made because it must not be; `message` says why, and names no address. */
export class OutboundRefused extends Error {
  constructor(why: string) {
    super(why);
    this.name = 'OutboundRefused';
  }
}

const TRY_MS = 2_000;
const TRIES = 2;

/**
 * Asks DNS. Not the system's resolver: that one waits in one of four threads that all of the process shares, and a few
 * names whose servers do not answer would hold up every other destination. It reads no hosts file therefore.
 * @param servers to ask instead of the system's
 */
export function dnsResolve(servers?: readonly string[]): Resolve {
  const resolver = new Resolver({ timeout: TRY_MS, tries: TRIES });
  if (servers !== undefined) resolver.setServers(servers);
  return async (host) => {
    const families = await Promise.allSettled([resolver.resolve4(host), resolver.resolve6(host)]);
    const addresses = families.flatMap((family) => (family.status === 'fulfilled' ? family.value : []));
    const [failure] = families.filter((family) => family.status === 'rejected');
    if (addresses.length === 0) throw failure?.reason ?? new Error('the host name has no address');
    return addresses;
  };
}

/** Addresses of a host that may be connected to; rejects with `OutboundRefused` if one of them must not be. */
export async function checkedAddresses(
  { host, isPlain }: { host: string; isPlain: boolean },
  policy: OutboundPolicy,
  resolve: Resolve,
): Promise<readonly string[]> {
  const addresses = isIP(host) === 0 ? await resolve(host) : [host];
  if (!addresses.every((address) => mayConnect(address, isPlain, policy)))
    throw new OutboundRefused(NOT_PUBLIC);
  return addresses;
}

/**
 * The `lookup` of a connection: it is made to an address that was checked here, and the name is not asked for again.
 * Node does not call it where the host is an address already: that is checked before.
 */
export function checkedLookup(isPlain: boolean, policy: OutboundPolicy, resolve: Resolve): LookupFunction {
  return (host, { all }, callback) => {
    checkedAddresses({ host, isPlain }, policy, resolve).then(
      (addresses) => {
        const found = addresses.map((address) => ({ address, family: isIP(address) }));
        const [first] = found;
        if (all) callback(null, found);
        else callback(null, first?.address ?? '', first?.family);
      },
      (error: NodeJS.ErrnoException) => callback(error, []),
    );
  };
}
