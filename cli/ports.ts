import { createServer } from 'node:net';
import { ImmutableError } from '../core/errors.ts';
import type { SettingName } from '../infra/config.ts';

/** A port of this host that nobody listens on now. */
export function freePort(host = '127.0.0.1'): Promise<number> {
  return listenOnce(host, 0);
}

/** `port` of this host, or any free one if somebody listens there. */
export function portNear(port: number, host = '127.0.0.1'): Promise<number> {
  return listenOnce(host, port).catch(() => listenOnce(host, 0));
}

/** `port`, or any free one for 0. Throws `misconfigured` naming the setting when it cannot be listened on. */
export async function requirePort(host: string, port: number, setting: SettingName): Promise<number> {
  try {
    return await listenOnce(host, port);
  } catch (cause) {
    throw new ImmutableError('misconfigured', problem(cause, host, port), {
      nextStep: `Set ${setting} to another port, for example ${setting}=${port + 10_000 < 65_536 ? port + 10_000 : port - 1}, or stop what uses this one.`,
      cause,
    });
  }
}

function problem(cause: unknown, host: string, port: number): string {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  switch (code) {
    case 'EADDRINUSE':
      return `Port ${port} on ${host} is in use by another program.`;
    case 'EACCES':
      return `This user has no right to listen on port ${port}.`;
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return `IMMUTABLE_HOST: ${host} is no address of this machine.`;
    default:
      return `Port ${port} on ${host} cannot be listened on: ${cause instanceof Error ? cause.message : cause}.`;
  }
}

function listenOnce(host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen({ host, port, exclusive: true }, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : port));
    });
  });
}
