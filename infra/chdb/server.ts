import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { hostname } from 'node:os';
import { ImmutableError } from '../../core/errors.ts';
import type { Logger } from '../log.ts';
import type { Passwords } from './authenticate.ts';
import { openEngine } from './engine.ts';
import { type Generation, readGeneration } from './generations.ts';
import { createHandler, type Handler } from './handler.ts';
import { openAnswer } from './response.ts';

export interface ChdbServerOptions {
  /** Data directory; made if it is missing. */
  path: string;
  host: string;
  /** 0 = any free one. */
  port: number;
  /** A password for each of the users `admin`, `writer`, `reader`, `analyst`. */
  users: Passwords;
  /** The folder of which password of each workspace's analyst counts. */
  generations: string;
  log: Logger;
  maxBodyBytes?: number;
}

export interface ChdbServer {
  readonly port: number;
  /** Rejects if queries cannot be answered. */
  check(): Promise<void>;
  /** Takes no more requests, lets those that run finish for `drainMs`, cancels the rest, closes the data. */
  close(drainMs?: number): Promise<void>;
}

/** Twice the largest insert the pipeline makes. */
const DEFAULT_MAX_BODY_BYTES = 128 * 1024 * 1024;
const DEFAULT_DRAIN_MS = 8_000;
const KEEP_ALIVE_MS = 10_000;
/** ClickHouse takes URLs of up to 1 MiB. */
const MAX_HEADER_BYTES = 1024 * 1024;

/**
 * Serves ClickHouse's HTTP interface (https://clickhouse.com/docs/interfaces/http) over the engine inside
 * this process. Throws `misconfigured` when the data directory or the port cannot be had.
 *
 * UV_THREADPOOL_SIZE must have been set before the process began (`chdbSpec` does): each running query
 * occupies a thread of that pool.
 */
export async function startChdbServer(options: ChdbServerOptions): Promise<ChdbServer> {
  const engine = await openEngine(options.path);
  const handler = createHandler(engine, {
    passwords: options.users,
    generationOf: (workspaceId) => generationOf(options, workspaceId),
    maxBodyBytes: options.maxBodyBytes ?? DEFAULT_MAX_BODY_BYTES,
  });
  const server = createServer(
    { keepAliveTimeout: KEEP_ALIVE_MS, maxHeaderSize: MAX_HEADER_BYTES },
    (request, response) => {
      serve(request, response, handler, engine.version).catch((error) => {
        options.log.error({ err: error }, 'a request could not be answered');
        response.destroy();
      });
    },
  );
  try {
    await listen(server, options);
  } catch (error) {
    await engine.close();
    throw error;
  }
  const { port } = server.address() as AddressInfo;
  options.log.info({ port, path: options.path, version: engine.version }, 'embedded ClickHouse serves');
  return {
    port,
    check: handler.check,
    close: async (drainMs = DEFAULT_DRAIN_MS) => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeIdleConnections();
      await handler.drain(drainMs);
      server.closeAllConnections();
      await closed;
      await engine.close();
    },
  };
}

/** A damaged file lets nobody in, whoever asks is not told why. */
function generationOf({ generations, log }: ChdbServerOptions, workspaceId: string): Generation {
  try {
    return readGeneration(generations, workspaceId);
  } catch (error) {
    log.error({ err: error, workspace: workspaceId }, 'the analyst of a workspace cannot log in');
    return { generation: 0, revoked: true };
  }
}

async function listen(
  server: ReturnType<typeof createServer>,
  { host, port }: ChdbServerOptions,
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(
        new ImmutableError(
          'misconfigured',
          `ClickHouse port ${port} on ${host} cannot be had: ${cause.message}.`,
          {
            cause,
            nextStep: 'Stop what listens there, or set IMMUTABLE_CLICKHOUSE_PORT to another port.',
          },
        ),
      ),
    );
    server.listen(port, host, resolve);
  });
}

async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  handler: Handler,
  version: string,
): Promise<void> {
  response.setHeader('X-ClickHouse-Server-Display-Name', hostname());
  const path = (request.url ?? '/').split('?', 1)[0];
  if (path === '/ping' || path === '/replicas_status' || isGreeting(request)) return sayOk(response);
  if (path !== '/') return sayUnknownPath(request, response);
  const answer = openAnswer(request, response, version);
  try {
    await handler.handle(request, answer);
  } catch (error) {
    await answer.fail(error);
  } finally {
    request.resume(); // What is left of a body nobody read.
  }
}

function isGreeting(request: IncomingMessage): boolean {
  return (request.method === 'GET' || request.method === 'HEAD') && request.url === '/';
}

function sayOk(response: ServerResponse): void {
  response.setHeader('Content-Type', 'text/html; charset=UTF-8');
  response.end('Ok.\n');
}

function sayUnknownPath(request: IncomingMessage, response: ServerResponse): void {
  response.statusCode = 404;
  response.setHeader('Content-Type', 'text/plain; charset=UTF-8');
  response.end(`There is no handle ${request.url}\n\nUse / or /ping for health checks.\n`);
}
