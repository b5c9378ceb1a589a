import { createServer, isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { ImmutableError } from '../../core/errors.ts';

/** `misconfigured`, saying which address cannot be listened on and why. */
export function listenError(host: string, port: number, cause: unknown): ImmutableError {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  const place = `port ${port} of ${host}`;
  switch (code) {
    case 'EADDRINUSE':
      return new ImmutableError('misconfigured', `Another program already listens on ${place}.`, {
        nextStep: 'Stop it, or set IMMUTABLE_PORT to a free port.',
        cause,
      });
    case 'EACCES':
      return new ImmutableError('misconfigured', `This user may not listen on ${place}.`, {
        nextStep: 'Set IMMUTABLE_PORT to a port above 1023.',
        cause,
      });
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return new ImmutableError('misconfigured', `${host} is no address of this machine.`, {
        nextStep: 'Set IMMUTABLE_HOST to one of its addresses, or to 0.0.0.0 for all.',
        cause,
      });
    default:
      return new ImmutableError('misconfigured', `Cannot listen on ${place}.`, { cause });
  }
}

/** Why nobody can listen there at this moment: uWebSockets.js only says that it cannot. */
export async function whyNotListening(host: string, port: number): Promise<unknown> {
  return await new Promise((resolve) => {
    const server = createServer();
    server.once('error', resolve);
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}

/** 4 or 16 bytes as text; an IPv4 address that arrived on an IPv6 socket as the IPv4 address it is. */
export function addressText(bytes: Uint8Array): string {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`;
  return bytes.length === 16 ? normalAddress(ipaddr.fromByteArray([...bytes])) : '';
}

/** The same for the text Node gives. */
export function plainAddress(text: string): string {
  return isIP(text) === 0 ? '' : normalAddress(ipaddr.parse(text));
}

function normalAddress(address: ipaddr.IPv4 | ipaddr.IPv6): string {
  if (!('isIPv4MappedAddress' in address)) return address.toString();
  return address.isIPv4MappedAddress() ? address.toIPv4Address().toString() : address.toRFC5952String();
}
