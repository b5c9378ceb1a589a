import { isIP } from 'node:net';
import { type OutboundPolicy, reachOf } from './policy.ts';

/** A URL to which something may be sent, as far as the URL itself can tell. */
export interface Destination {
  url: URL;
  /** Without brackets. */
  host: string;
  /** Not encrypted: for addresses of the operator's own ranges alone. */
  isPlain: boolean;
}

export type ParsedDestination = { ok: true; destination: Destination } | { ok: false; refusal: string };

const MAX_URL_LENGTH = 2_048;
/** Below are the services of a machine itself: mail, remote shells, directories. */
const FIRST_FREE_PORT = 1_024;

export const NOT_PUBLIC = 'leads to an address that is not public';

/**
 * Checks a URL that somebody gave us. `refusal` says to them what to change. What the host name resolves to is asked
 * when a connection is made, every time: it may be another address by then.
 */
export function parseDestination(text: string, policy: OutboundPolicy): ParsedDestination {
  if (text.length > MAX_URL_LENGTH) return refused(`must have at most ${MAX_URL_LENGTH} characters`);
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined) return refused('must be an absolute URL, such as https://example.com/hook');
  const isPlain = url.protocol === 'http:';
  if (url.protocol !== 'https:' && !(isPlain && policy.allowedRanges.length > 0)) {
    return refused('must begin with https://');
  }
  if (url.username !== '' || url.password !== '') {
    return refused('must hold no user name and no password; send them in a header');
  }
  if (!isAllowedPort(url)) {
    return refused(`must use port ${isPlain ? 80 : 443}, or one from ${FIRST_FREE_PORT}`);
  }
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  // The URL standard reads 0x7f.1, 2130706433 and ０ as addresses too, and spells them as such by now.
  if (isIP(host) !== 0 && !mayConnect(host, isPlain, policy)) {
    return refused(NOT_PUBLIC);
  }
  return { ok: true, destination: { url, host, isPlain } };
}

export function mayConnect(address: string, isPlain: boolean, policy: OutboundPolicy): boolean {
  const reach = reachOf(address, policy);
  return reach === 'allowed' || (reach === 'public' && !isPlain);
}

function isAllowedPort({ port }: URL): boolean {
  return port === '' || Number(port) >= FIRST_FREE_PORT;
}

function refused(refusal: string): ParsedDestination {
  return { ok: false, refusal };
}
