import type * as Uws from 'uWebSockets.js';
import { setTimeout as delay } from 'node:timers/promises';
import { ImmutableError } from '../../core/errors.ts';
import type { Logger } from '../log.ts';
import { asLongAsSaid, headerLines, isStream, statusLine } from './answer.ts';
import {
  type Admission,
  createExchange,
  type Exchange,
  type RequestHead,
  tooLargeResponse,
} from './exchange.ts';
import { createGathering, type Gathering } from './gathering.ts';
import { addressText, listenError, whyNotListening } from './listen.ts';
import { HTTP_LIMITS, type HttpResponse, type HttpServer, type HttpServerOptions } from './types.ts';

declare module 'uWebSockets.js' {
  interface TemplatedApp {
    /** Missing from the package's own types. */
    listen(
      host: RecognizedString,
      port: number,
      options: number,
      cb: (listenSocket: us_listen_socket | false) => void,
    ): TemplatedApp;
  }
}

/** Without it two processes could share a port, each getting some of the connections. */
const LISTEN_EXCLUSIVE_PORT = 1;
/** Longer answers are handed over in parts, as fast as the client takes them. */
const BUFFERED_BYTES = 64 * 1024;
const DRAIN_POLL_MS = 5;

/** The binary for this Node.js and platform, or what came of trying to load it. */
export async function loadUws(): Promise<typeof Uws | { unavailable: unknown }> {
  try {
    // Read by the library when it is loaded.
    process.env.UWS_HTTP_MAX_HEADERS_SIZE = String(HTTP_LIMITS.headerBytes);
    return await import('uWebSockets.js');
  } catch (error) {
    return { unavailable: error };
  }
}

/**
 * A server on uWebSockets.js. Where the library itself finds a request malformed it answers in HTML and
 * closes. A request sent before the answer to the one before it closes the connection: the library cannot
 * hold one back, and answers must not change places.
 */
export async function startUwsServer(uws: typeof Uws, options: HttpServerOptions): Promise<HttpServer> {
  const { host, port, log } = options;
  const exchange = createExchange(options.routes, log);
  const work = { inFlight: 0 };
  const app = createApp(uws, options.tls);
  app.any('/*', (response, request) => receive(response, request, exchange, work, log));
  const socket = await new Promise<Uws.us_listen_socket | false>((resolve) => {
    app.listen(host, port, LISTEN_EXCLUSIVE_PORT, resolve);
  });
  if (socket === false) throw listenError(host, port, await whyNotListening(host, port));

  return {
    port: uws.us_socket_local_port(socket),
    close: async (drainMs) => {
      uws.us_listen_socket_close(socket);
      exchange.drain();
      const deadline = performance.now() + drainMs;
      while (work.inFlight > 0 && performance.now() < deadline) await delay(DRAIN_POLL_MS);
      app.close();
    },
  };
}

function createApp(uws: typeof Uws, tls: HttpServerOptions['tls']): Uws.TemplatedApp {
  if (tls === undefined) return uws.App();
  try {
    return uws.SSLApp({ cert_file_name: tls.certFile, key_file_name: tls.keyFile });
  } catch (cause) {
    throw new ImmutableError('misconfigured', 'The TLS certificate or its key cannot be used.', {
      nextStep: 'IMMUTABLE_TLS_CERT and IMMUTABLE_TLS_KEY must name PEM files that belong together.',
      cause,
    });
  }
}

/** Requests whose handler or answer is not finished. */
interface Work {
  inFlight: number;
}

/** One request's way back. After an abort the library's object must not be touched. */
interface Reply {
  response: Uws.HttpResponse;
  aborted: boolean;
  headOnly: boolean;
  /** Set while a writer waits for the client to read. */
  wake: (() => void) | undefined;
  /** Of a chunk that the client did not take whole: sends on from this place of the answer; whether that was all of it. */
  sendOn: ((offset: number) => boolean) | undefined;
}

function receive(
  response: Uws.HttpResponse,
  request: Uws.HttpRequest,
  exchange: Exchange,
  work: Work,
  log: Logger,
): void {
  const head = readHead(request);
  const reply: Reply = {
    response,
    aborted: false,
    headOnly: head.method === 'HEAD',
    wake: undefined,
    sendOn: undefined,
  };
  const admission = exchange.admit(head);
  work.inFlight += 1;
  const finish = () => {
    work.inFlight -= 1;
  };
  if (admission.kind === 'refuse') {
    response.onAborted(() => {
      reply.aborted = true;
    });
    refuse(reply, admission.response, admission.requestId, finish);
    return;
  }

  const remoteAddress = addressText(new Uint8Array(response.getRemoteAddress()));
  readBody(reply, admission, finish, (body) => {
    const answer = exchange.answer(admission, head, remoteAddress, body);
    if (answer instanceof Promise) {
      void answer.then((late) => send(reply, late, admission.requestId, exchange.draining, log, finish));
    } else {
      send(reply, answer, admission.requestId, exchange.draining, log, finish);
    }
  });
}

/**
 * Answers and closes. Not at once: an answer given while the library parses lets it go on to whatever
 * stands behind this request, although the connection is to close. One that is due makes it close instead.
 */
function refuse(reply: Reply, answer: HttpResponse, requestId: string, finish: () => void): void {
  setImmediate(() => sendWhole(reply, answer, requestId, true, finish));
}

/** The library's request lives only as long as this call. */
function readHead(request: Uws.HttpRequest): RequestHead {
  const headers: string[] = [];
  request.forEach((name, value) => {
    headers.push(name, value);
  });
  return {
    method: request.getCaseSensitiveMethod(),
    path: request.getUrl(),
    query: request.getQuery() ?? '',
    headers,
  };
}

/** Calls `done` with the whole body, or `finish` if that will never come. */
function readBody(
  reply: Reply,
  admission: Extract<Admission, { kind: 'read_body' }>,
  finish: () => void,
  done: (body: Buffer) => void,
): void {
  let gathering: Gathering | undefined;
  let over = false;
  reply.response.onAborted(() => {
    reply.aborted = true;
    if (!over) finish();
    over = true;
    reply.wake?.();
  });
  reply.response.onData((chunk, last) => {
    if (over) return;
    const piece = Buffer.from(chunk);
    if ((gathering?.length ?? 0) + piece.length > admission.maxBodyBytes) {
      over = true;
      refuse(reply, tooLargeResponse(admission), admission.requestId, finish);
      return;
    }
    // The library takes the chunk's memory back when this returns: it is copied in any case.
    if (gathering === undefined && last) {
      over = true;
      done(Buffer.from(piece));
      return;
    }
    gathering ??= createGathering(admission.maxBodyBytes);
    gathering.add(piece);
    if (!last) return;
    over = true;
    done(gathering.whole());
  });
}

function send(
  reply: Reply,
  answer: HttpResponse,
  requestId: string,
  close: boolean,
  log: Logger,
  finish: () => void,
): void {
  if (isStream(answer.body)) {
    void sendStream(reply, answer, answer.body, requestId, close, log).then(finish);
  } else {
    sendWhole(reply, answer, requestId, close, finish);
  }
}

function sendWhole(
  reply: Reply,
  answer: HttpResponse,
  requestId: string,
  close: boolean,
  finish: () => void,
): void {
  if (reply.aborted) {
    finish();
    return;
  }
  const { response } = reply;
  const body = typeof answer.body === 'string' || answer.body instanceof Uint8Array ? answer.body : '';
  const inParts = body.length > BUFFERED_BYTES && !reply.headOnly && !hasNoBody(answer.status);
  response.cork(() => {
    writeHead(response, answer, requestId);
    if (inParts) sendInParts(reply, typeof body === 'string' ? Buffer.from(body) : body, finish);
    else if (hasNoBody(answer.status)) response.endWithoutBody(undefined, close);
    else if (reply.headOnly) response.endWithoutBody(Buffer.byteLength(body), close);
    else response.end(body, close);
  });
  if (!inParts) finish();
}

function sendInParts(reply: Reply, body: Uint8Array, finish: () => void): void {
  const { response } = reply;
  reply.wake = finish;
  response.onWritable((offset) => {
    const [taken, complete] = response.tryEnd(body.subarray(offset), body.length);
    if (complete) finish();
    return taken;
  });
  const [, complete] = response.tryEnd(body, body.length);
  if (complete) finish();
}

async function sendStream(
  reply: Reply,
  answer: HttpResponse,
  body: AsyncIterable<Uint8Array>,
  requestId: string,
  close: boolean,
  log: Logger,
): Promise<void> {
  const { response } = reply;
  const { length } = answer;
  try {
    if (!reply.aborted) {
      response.onWritable((offset) => {
        if (reply.sendOn !== undefined && !reply.sendOn(offset)) return false;
        reply.wake?.();
        return true;
      });
      response.cork(() => {
        writeHead(response, answer, requestId);
        if (reply.headOnly) response.endWithoutBody(length, close);
      });
    }
    // Leaving the loop tells the producer to stop.
    for await (const chunk of asLongAsSaid(body, length)) {
      if (reply.aborted || reply.headOnly) return;
      if (length === undefined) await sendChunk(reply, chunk);
      else await sendSized(reply, chunk, length);
    }
    // One of known length has ended with its last byte.
    if (reply.aborted || reply.headOnly || (length ?? 0) > 0) return;
    response.cork(() => response.end(undefined, close));
  } catch (error) {
    log.error({ err: error, request_id: requestId }, 'an answer broke off');
    // The client must not take what it has for the whole.
    if (!reply.aborted && !reply.headOnly) response.close();
  }
}

/** Resolves when the client has room for more, or is gone. */
async function sendChunk(reply: Reply, chunk: Uint8Array): Promise<void> {
  let taken = true;
  reply.response.cork(() => {
    taken = reply.response.write(chunk);
  });
  if (taken) return;
  await new Promise<void>((resolve) => {
    reply.wake = resolve;
  });
}

/** The same, where the whole answer has `length` bytes. What the library did not take it wants to be given again. */
async function sendSized(reply: Reply, chunk: Uint8Array, length: number): Promise<void> {
  const { response } = reply;
  const start = response.getWriteOffset();
  let taken = true;
  response.cork(() => {
    [taken] = response.tryEnd(chunk, length);
  });
  if (taken) return;
  await new Promise<void>((resolve) => {
    reply.sendOn = (offset) => response.tryEnd(chunk.subarray(offset - start), length)[0];
    reply.wake = resolve;
  });
  reply.sendOn = undefined;
}

function writeHead(response: Uws.HttpResponse, answer: HttpResponse, requestId: string): void {
  response.writeStatus(statusLine(answer.status));
  const lines = headerLines(answer, requestId);
  for (let index = 0; index < lines.length; index += 2) {
    response.writeHeader(lines[index] ?? '', lines[index + 1] ?? '');
  }
}

function hasNoBody(status: number): boolean {
  return status === 204 || status === 304;
}
