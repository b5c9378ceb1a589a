import { startNodeServer } from './node.ts';
import type { HttpServer, HttpServerOptions } from './types.ts';
import { loadUws, startUwsServer } from './uws.ts';

/**
 * Listens and serves the routes; the port is open when this resolves. Both kinds behave alike, `uws` is
 * several times as fast; where its binary does not load, `node` is taken and a warning logged. Throws
 * `misconfigured` when the port cannot be had.
 */
export async function startHttpServer(
  options: HttpServerOptions & { kind: 'uws' | 'node' },
): Promise<HttpServer> {
  if (options.kind === 'node') return await startNodeServer(options);
  const uws = await loadUws();
  if ('unavailable' in uws) {
    options.log.warn(
      { err: uws.unavailable, node: process.version },
      'uWebSockets.js has no binary for this Node.js and platform; using the slower node:http (IMMUTABLE_HTTP=node hides this)',
    );
    return await startNodeServer(options);
  }
  return await startUwsServer(uws, options);
}
