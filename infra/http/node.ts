import { readFile } from 'node:fs/promises';
import * as http from 'node:http';
import * as https from 'node:https';
import type { Duplex } from 'node:stream';
import { ImmutableError } from '../../core/errors.ts';
import type { Logger } from '../log.ts';
import { asLongAsSaid, errorResponse, headerLines, isStream, requestIdOf, statusLine } from './answer.ts';
import { createExchange, type Exchange, type RequestHead, tooLargeResponse } from './exchange.ts';
import { createGathering } from './gathering.ts';
import { listenError, plainAddress } from './listen.ts';
import { HTTP_LIMITS, type HttpResponse, type HttpServer, type HttpServerOptions } from './types.ts';

/** Longest time a whole request may take to arrive. */
const REQUEST_MS = 60_000;
/** How often connections are looked at for the limits above. */
const CHECK_MS = 1_000;
const DRAIN_POLL_MS = 5;

/** A server on node:http, for where the binary of uWebSockets.js does not load. */
export async function startNodeServer(options: HttpServerOptions): Promise<HttpServer> {
  const { host, port, log } = options;
  const exchange = createExchange(options.routes, log);
  const server = await createServer(options.tls);
  const queue = createConnectionQueue();
  const work = { inFlight: 0 };

  function onRequest(request: http.IncomingMessage, response: http.ServerResponse): void {
    work.inFlight += 1;
    void queue(request, () => serve(request, response, exchange, log)).finally(() => {
      work.inFlight -= 1;
    });
  }
  server.on('request', onRequest);
  // Otherwise Node asks for a body that is about to be refused.
  server.on('checkContinue', onRequest);
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => refuseMalformed(error, socket));
  await listen(server, host, port);

  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : port,
    close: async (drainMs) => {
      exchange.drain();
      server.close();
      server.closeIdleConnections();
      const deadline = performance.now() + drainMs;
      while (work.inFlight > 0 && performance.now() < deadline) {
        await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS));
      }
      server.closeAllConnections();
    },
  };
}

async function createServer(tls: HttpServerOptions['tls']): Promise<http.Server | https.Server> {
  const limits: http.ServerOptions = {
    maxHeaderSize: HTTP_LIMITS.headerBytes,
    headersTimeout: HTTP_LIMITS.idleMs,
    keepAliveTimeout: HTTP_LIMITS.idleMs,
    requestTimeout: REQUEST_MS,
    connectionsCheckingInterval: CHECK_MS,
    noDelay: true,
  };
  if (tls === undefined) return http.createServer(limits);
  try {
    const [cert, key] = await Promise.all([readFile(tls.certFile), readFile(tls.keyFile)]);
    return https.createServer({ ...limits, cert, key });
  } catch (cause) {
    throw new ImmutableError('misconfigured', 'The TLS certificate or its key cannot be used.', {
      nextStep: 'IMMUTABLE_TLS_CERT and IMMUTABLE_TLS_KEY must name PEM files that belong together.',
      cause,
    });
  }
}

async function listen(server: http.Server | https.Server, host: string, port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => reject(listenError(host, port, cause)));
    server.listen({ host, port }, resolve);
  });
}

type Task = () => Promise<void>;

/** Requests that a client sends without waiting are handled one after another: their order is a promise of ours. */
function createConnectionQueue(): (request: http.IncomingMessage, task: Task) => Promise<void> {
  const lastOf = new WeakMap<Duplex, Promise<void>>();
  return (request, task) => {
    const before = lastOf.get(request.socket) ?? Promise.resolve();
    const mine = before.then(task);
    lastOf.set(request.socket, mine);
    return mine;
  };
}

/** Never rejects. */
async function serve(
  request: http.IncomingMessage,
  response: http.ServerResponse,
  exchange: Exchange,
  log: Logger,
): Promise<void> {
  const head = readHead(request);
  const admission = exchange.admit(head);
  const { requestId } = admission;
  try {
    if (admission.kind === 'refuse') {
      return await sendAndClose(response, admission.response, requestId);
    }
    if (request.headers.expect !== undefined) response.writeContinue();
    const body = await readBody(request, admission.maxBodyBytes);
    if (body === 'aborted') return;
    if (body === 'too_long') return await sendAndClose(response, tooLargeResponse(admission), requestId);
    const remoteAddress = plainAddress(request.socket.remoteAddress ?? '');
    const answer = await exchange.answer(admission, head, remoteAddress, body);
    await send(response, answer, requestId, exchange.draining);
  } catch (error) {
    log.error({ err: error, request_id: requestId }, 'an answer broke off');
    // The client must not take what it has for the whole.
    response.destroy();
  }
}

function readHead(request: http.IncomingMessage): RequestHead {
  const target = request.url ?? '';
  const mark = target.indexOf('?');
  return {
    method: request.method ?? '',
    path: mark < 0 ? target : target.slice(0, mark),
    query: mark < 0 ? '' : target.slice(mark + 1),
    headers: request.rawHeaders.map((text, index) => (index % 2 === 0 ? text.toLowerCase() : text)),
  };
}

async function readBody(
  request: http.IncomingMessage,
  maxBytes: number,
): Promise<Buffer | 'too_long' | 'aborted'> {
  const gathering = createGathering(maxBytes);
  request.setTimeout(HTTP_LIMITS.idleMs, () => request.destroy());
  const body = await new Promise<Buffer | 'too_long' | 'aborted'>((resolve) => {
    request.on('data', (piece: Buffer) => {
      if (gathering.length + piece.length > maxBytes) {
        request.pause();
        resolve('too_long');
      } else {
        gathering.add(piece);
      }
    });
    request.on('end', () => resolve(gathering.whole()));
    request.on('close', () => resolve('aborted'));
    request.on('error', () => resolve('aborted'));
  });
  request.setTimeout(0);
  return body;
}

async function send(
  response: http.ServerResponse,
  answer: HttpResponse,
  requestId: string,
  close: boolean,
): Promise<void> {
  const lines = headerLines(answer, requestId);
  if (close) lines.push('Connection', 'close');
  const { body } = answer;
  if (isStream(body)) {
    if (answer.length !== undefined) lines.push('Content-Length', String(answer.length));
    response.writeHead(answer.status, lines);
    await sendStream(response, asLongAsSaid(body, answer.length));
  } else {
    if (!hasNoBody(answer.status)) lines.push('Content-Length', String(Buffer.byteLength(body ?? '')));
    response.writeHead(answer.status, lines);
    response.end(body);
  }
  await finished(response);
}

/** The rest of the request is not read: a client that is still sending gets the answer, and then nothing more. */
async function sendAndClose(
  response: http.ServerResponse,
  answer: HttpResponse,
  requestId: string,
): Promise<void> {
  await send(response, answer, requestId, true);
  response.socket?.destroySoon();
}

async function sendStream(response: http.ServerResponse, body: AsyncIterable<Uint8Array>): Promise<void> {
  const headOnly = response.req.method === 'HEAD';
  // Leaving the loop tells the producer to stop.
  for await (const chunk of body) {
    if (response.destroyed || headOnly) break;
    if (!response.write(chunk)) await roomOrGone(response);
  }
  response.end();
}

async function roomOrGone(response: http.ServerResponse): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = () => {
      clearTimeout(stalled);
      response.off('drain', done).off('close', done);
      resolve();
    };
    const stalled = setTimeout(() => response.destroy(), HTTP_LIMITS.idleMs);
    response.on('drain', done).on('close', done);
  });
}

/** Resolves when the answer has left, or the client has. */
async function finished(response: http.ServerResponse): Promise<void> {
  if (response.writableFinished || response.destroyed) return;
  await new Promise<void>((resolve) => response.once('finish', resolve).once('close', resolve));
}

function hasNoBody(status: number): boolean {
  return status === 204 || status === 304;
}

/** What Node's own parser refuses never becomes a request. */
function refuseMalformed(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable) return void socket.destroy();
  const status = MALFORMED_STATUS[error.code ?? ''] ?? 400;
  const { body } = errorResponse(
    new ImmutableError('bad_request', 'This is not a well-formed HTTP/1.1 request.'),
    requestIdOf(undefined),
  );
  socket.end(
    `HTTP/1.1 ${statusLine(status)}\r\nConnection: close\r\nContent-Type: application/json; charset=utf-8\r\n` +
      `Content-Length: ${Buffer.byteLength(String(body))}\r\n\r\n${body}`,
  );
}

const MALFORMED_STATUS: Partial<Record<string, number>> = {
  HPE_HEADER_OVERFLOW: 431,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
};
