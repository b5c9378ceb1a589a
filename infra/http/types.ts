import type { Logger } from '../log.ts';

/** One request, its body complete. */
export interface HttpRequest {
  /** For logs, and `request_id` in error answers: the caller's `X-Request-Id` where that is sensible, else made here. */
  id: string;
  method: string;
  /** Without the query; still percent-encoded. */
  path: string;
  /** Raw, without the question mark; empty when there is none. */
  query: string;
  /** By lower-case name; what was sent several times is joined with `, ` (RFC 9110 §5.3). */
  header(name: string): string | undefined;
  /** Of the TCP peer. */
  remoteAddress: string;
  body: Buffer;
  /** What stood in place of `:name` in the route's path, decoded. */
  params: Readonly<Record<string, string>>;
}

export interface HttpResponse {
  status: number;
  /** A text without a `Content-Type` is JSON. */
  headers?: Readonly<Record<string, string>>;
  /** An iterable is sent as fast as the client reads it, and returned early when the client goes. */
  body?: string | Uint8Array | AsyncIterable<Uint8Array>;
  /** Of an iterable, where it is known: the client is told. If the iterable then gives another, the answer breaks off. */
  length?: number;
}

/**
 * Answers a request. An `ImmutableError` it throws becomes its JSON answer; anything else is logged and
 * becomes 500 `internal`. Runs to its end even when the client has gone.
 */
export type Handler = (request: HttpRequest) => HttpResponse | Promise<HttpResponse>;

export type HttpMethod = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export interface Route {
  method: HttpMethod;
  /**
   * Literal segments and `:name` segments: `/api/v1/events/:id`; at the end `*name` for the rest of the path, which
   * stays percent-encoded. A GET route answers HEAD too.
   */
  path: string;
  /** A longer body is refused from its announced length, or at the byte that is one too many. Default 64 KiB. */
  maxBodyBytes?: number;
  /**
   * Asked before a body longer than the default limit, or of unknown length, is read: throws what the handler
   * would throw for such headers. So nobody unknown makes us hold more than the default.
   */
  mayBeLong?: (header: HttpRequest['header']) => void;
  handler: Handler;
}

export interface HttpServerOptions {
  host: string;
  /** 0 = any free one. */
  port: number;
  routes: readonly Route[];
  log: Logger;
  /** Paths of PEM files. */
  tls?: { certFile: string; keyFile: string } | undefined;
}

export interface HttpServer {
  readonly port: number;
  /**
   * Refuses new connections and new requests, answers what it holds for up to `drainMs`, then closes
   * every connection.
   */
  close(drainMs: number): Promise<void>;
}

/** Limits both servers keep. */
export const HTTP_LIMITS = {
  defaultBodyBytes: 64 * 1024,
  /** All header lines of a request together. */
  headerBytes: 16 * 1024,
  urlCharacters: 8 * 1024,
  /** For the headers to arrive; between two requests; without progress while a body arrives or an answer leaves. */
  idleMs: 10_000,
} as const;
