import { ImmutableError } from '../../core/errors.ts';
import type { Logger } from '../log.ts';
import { errorResponse, publicError, requestIdOf } from './answer.ts';
import { framingOf, type HeaderLines, headerOf } from './headers.ts';
import { createRouter, type Params } from './router.ts';
import { type Handler, HTTP_LIMITS, type HttpRequest, type HttpResponse, type Route } from './types.ts';

/** What is known of a request before its body. */
export interface RequestHead {
  method: string;
  path: string;
  query: string;
  headers: HeaderLines;
}

/** What to do with a request, decided from its head. */
export type Admission =
  | { kind: 'read_body'; requestId: string; handler: Handler; params: Params; maxBodyBytes: number }
  /** Answer at once and close the connection, since the rest of it will not be read. */
  | { kind: 'refuse'; requestId: string; response: HttpResponse };

/** The part of a server that is the same whatever reads the sockets. */
export interface Exchange {
  admit(head: RequestHead): Admission;
  /** Never rejects. */
  answer(
    admission: Extract<Admission, { kind: 'read_body' }>,
    head: RequestHead,
    remoteAddress: string,
    body: Buffer,
  ): HttpResponse | Promise<HttpResponse>;
  /** From now on every new request is refused. */
  drain(): void;
  readonly draining: boolean;
}

interface Place {
  handler: Handler;
  params: Params;
  maxBodyBytes: number;
  mayBeLong?: Route['mayBeLong'];
}

export function createExchange(routes: readonly Route[], log: Logger): Exchange {
  const route = createRouter(routes);
  let draining = false;

  function admit(head: RequestHead): Admission {
    const requestId = requestIdOf(headerOf(head.headers, 'x-request-id'));
    const framing = framingOf(head.headers);
    if (!framing.ok) return refuse(requestId, new ImmutableError('bad_request', framing.problem));
    if (draining) return refuse(requestId, shuttingDown());
    if (head.path.length + head.query.length > HTTP_LIMITS.urlCharacters) {
      return refuse(requestId, new ImmutableError('bad_request', 'The URL is too long.'));
    }
    const { handler, params, maxBodyBytes, mayBeLong } = placeFor(head);
    const { bytes = Number.POSITIVE_INFINITY } = framing;
    if (bytes > maxBodyBytes && framing.bytes !== undefined) {
      return refuse(requestId, tooLarge(maxBodyBytes));
    }
    if (bytes > HTTP_LIMITS.defaultBodyBytes && mayBeLong !== undefined) {
      try {
        mayBeLong((name) => headerOf(head.headers, name));
      } catch (error) {
        return { kind: 'refuse', requestId, response: failed(error, requestId, head) };
      }
    }
    return { kind: 'read_body', requestId, handler, params, maxBodyBytes };
  }

  function placeFor({ method, path }: RequestHead): Place {
    const found = route(method, path);
    switch (found.kind) {
      case 'found':
        return {
          handler: found.route.handler,
          params: found.params,
          maxBodyBytes: found.route.maxBodyBytes ?? HTTP_LIMITS.defaultBodyBytes,
          mayBeLong: found.route.mayBeLong,
        };
      case 'wrong_method':
        return { ...NOWHERE, handler: wrongMethod(found.allow) };
      case 'unknown':
        return NOWHERE;
    }
  }

  function failed(error: unknown, requestId: string, { method, path }: RequestHead): HttpResponse {
    const shown = publicError(error);
    if (shown.code === 'internal') {
      log.error({ err: error, request_id: requestId, method, path }, 'request failed');
    }
    return errorResponse(shown, requestId);
  }

  function answer(
    admission: Extract<Admission, { kind: 'read_body' }>,
    head: RequestHead,
    remoteAddress: string,
    body: Buffer,
  ): HttpResponse | Promise<HttpResponse> {
    const { requestId, handler, params } = admission;
    try {
      const response = handler(requestOf(requestId, params, head, remoteAddress, body));
      // Nothing here may hold on to the body while the handler waits.
      return response instanceof Promise
        ? response.catch((error) => failed(error, requestId, head))
        : response;
    } catch (error) {
      return failed(error, requestId, head);
    }
  }

  return {
    admit,
    answer,
    drain: () => {
      draining = true;
    },
    get draining() {
      return draining;
    },
  };
}

function requestOf(
  id: string,
  params: Params,
  { method, path, query, headers }: RequestHead,
  remoteAddress: string,
  body: Buffer,
): HttpRequest {
  return {
    id,
    method,
    path,
    query,
    header: (name) => headerOf(headers, name),
    remoteAddress,
    body,
    params,
  };
}

/** The answer to a body that turned out longer than allowed while it arrived. */
export function tooLargeResponse(admission: { requestId: string; maxBodyBytes: number }): HttpResponse {
  return errorResponse(tooLarge(admission.maxBodyBytes), admission.requestId);
}

function refuse(requestId: string, error: ImmutableError): Admission {
  return { kind: 'refuse', requestId, response: errorResponse(error, requestId) };
}

const SHOWN_CHARACTERS = 200;

const NOWHERE = {
  handler: ({ path }: HttpRequest): HttpResponse => {
    throw new ImmutableError('not_found', `There is nothing at ${path.slice(0, SHOWN_CHARACTERS)}.`);
  },
  params: {},
  maxBodyBytes: HTTP_LIMITS.defaultBodyBytes,
};

function wrongMethod(allow: string): Handler {
  return ({ id, method, path }) =>
    errorResponse(new ImmutableError('method_not_allowed', `${path} takes ${allow}, not ${method}.`), id, {
      allow,
    });
}

function tooLarge(maxBodyBytes: number): ImmutableError {
  return new ImmutableError('payload_too_large', `The body may have at most ${maxBodyBytes} bytes.`);
}

function shuttingDown(): ImmutableError {
  return new ImmutableError('unavailable', 'This server is shutting down; ask again.', {
    retryAfterSeconds: 1,
  });
}
