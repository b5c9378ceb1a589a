import { randomBytes, randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { hostname } from 'node:os';
import { ImmutableError } from '../../core/errors.ts';
import type { Logger } from '../log.ts';
import { type Engine, type EngineSession, openEngine } from './engine.ts';
import { ClickHouseException } from './exception.ts';
import { contentTypeOf } from './formats.ts';
import { type QueryRequest, readBody, readRequest, withForm } from './request.ts';
import { type Answer, openAnswer } from './response.ts';
import { createSlots, type Slots } from './slots.ts';
import { checkParameters, parseStatement, type QueryText, type Statement, splitQuery } from './statement.ts';
import { authenticate, checkAllowed, type Passwords, USERS, type User, WITHOUT_EFFECT } from './users.ts';

export interface ChdbServerOptions {
  /** Data directory; made if it is missing. */
  path: string;
  host: string;
  /** 0 = any free one. */
  port: number;
  /** A password for each of the users `admin`, `writer`, `reader`, `analyst`. */
  users: Passwords;
  log: Logger;
  maxBodyBytes?: number;
}

export interface ChdbServer {
  readonly port: number;
  /** Takes no more requests, lets those that run finish for `drainMs`, cancels the rest, closes the data. */
  close(drainMs?: number): Promise<void>;
}

/** Twice the largest insert the pipeline makes. */
const DEFAULT_MAX_BODY_BYTES = 128 * 1024 * 1024;
const DEFAULT_DRAIN_MS = 8_000;
const KEEP_ALIVE_MS = 10_000;
/** ClickHouse takes URLs of up to 1 MiB. */
const MAX_HEADER_BYTES = 1024 * 1024;
const DEFAULT_FORMAT = 'TabSeparated';

/**
 * Serves ClickHouse's HTTP interface (https://clickhouse.com/docs/interfaces/http) over the engine inside
 * this process. Throws `misconfigured` when the data directory or the port cannot be had.
 *
 * UV_THREADPOOL_SIZE must have been set before the process began (`chdbSpec` does): each running query
 * occupies a thread of that pool.
 */
export async function startChdbServer(options: ChdbServerOptions): Promise<ChdbServer> {
  const engine = await openEngine(options.path);
  const house = createHouse(engine, options);
  const server = createServer(
    { keepAliveTimeout: KEEP_ALIVE_MS, maxHeaderSize: MAX_HEADER_BYTES },
    (request, response) => {
      house.serve(request, response).catch((error) => {
        options.log.error({ err: error }, 'a request could not be answered');
        response.destroy();
      });
    },
  );
  server.requestTimeout = 0; // A large insert may take long; slots bound how many there are.
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
    close: async (drainMs = DEFAULT_DRAIN_MS) => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeIdleConnections();
      await house.drain(drainMs);
      server.closeAllConnections();
      await closed;
      await engine.close();
    },
  };
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

/** A query that came in, up to the moment its answer is complete. */
interface Running {
  user: User;
  cancel(): void;
  ended: Promise<void>;
}

interface House {
  serve(request: IncomingMessage, response: ServerResponse): Promise<void>;
  drain(ms: number): Promise<void>;
}

function createHouse(engine: Engine, options: ChdbServerOptions): House {
  const maxBodyBytes = options.maxBodyBytes ?? DEFAULT_MAX_BODY_BYTES;
  const slots = new Map<string, Slots>(USERS.map((user) => [user.name, createSlots(user)]));
  const running = new Map<string, Running>();
  const displayName = hostname();
  let draining = false;

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.setHeader('X-ClickHouse-Server-Display-Name', displayName);
    const path = (request.url ?? '/').split('?', 1)[0];
    if (path === '/ping' || path === '/replicas_status' || isGreeting(request)) return sayOk(response);
    if (path !== '/') return sayUnknownPath(request, response);
    const answer = openAnswer(request, response, engine.version);
    try {
      await serveQuery(request, answer);
    } catch (error) {
      await answer.fail(error);
    } finally {
      request.resume(); // What is left of a body nobody read.
    }
  }

  async function serveQuery(request: IncomingMessage, answer: Answer): Promise<void> {
    if (draining) throw new ClickHouseException('ABORTED', 'the server is shutting down');
    const said = readRequest(request);
    const user = authenticate(said.credentials, options.users);
    const visit = slots.get(user.name)?.enter();
    try {
      const { asked, body } = await withForm(
        said,
        await readBody(request, maxBodyBytes),
        request.headers['content-type'],
      );
      const query = splitQuery(
        asked.query === '' ? body : Buffer.concat([Buffer.from(`${asked.query}\n`), body]),
        asked.settings.max_query_size,
      );
      const formatted = engine.format(query.text);
      const statement = parseStatement(formatted, query.insert);
      if (statement.kind !== 'command') checkParameters(formatted, asked.parameters);
      checkAllowed(user, statement, asked.parameters);
      await visit?.turn(answer.gone);
      await withQueryId(asked, user, answer, (queryId) =>
        run(asked, user, query, statement, queryId, answer),
      );
    } finally {
      visit?.leave();
    }
  }

  /** Registers the query under its id for as long as it runs, so that it can be cancelled. */
  async function withQueryId(
    asked: QueryRequest,
    user: User,
    answer: Answer,
    work: (queryId: string) => Promise<void>,
  ): Promise<void> {
    const queryId = asked.queryId ?? randomUUID();
    const same = running.get(queryId);
    if (same !== undefined) {
      if (!asked.replaceRunningQuery || same.user !== user) {
        throw new ClickHouseException(
          'QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING',
          `Query with id = ${queryId} is already running.`,
        );
      }
      same.cancel();
      await same.ended;
    }
    answer.setHeader('X-ClickHouse-Query-Id', queryId);
    let end = () => {};
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    running.set(queryId, { user, cancel: () => engine.kill(tagOf(queryId)), ended });
    try {
      await work(queryId);
    } finally {
      running.delete(queryId);
      end();
    }
  }

  async function run(
    asked: QueryRequest,
    user: User,
    query: QueryText,
    statement: Statement,
    queryId: string,
    answer: Answer,
  ): Promise<void> {
    if (statement.kind === 'kill') return answerKill(statement, user, answer);
    if (statement.kind === 'command' && WITHOUT_EFFECT.includes(statement.verb))
      return answer.whole(EMPTY, {});
    const session = engine.open({ ...asked, user, tag: tagOf(queryId) });
    try {
      if (statement.kind === 'insert') return await answerInsert(session, statement, answer);
      if (statement.kind === 'command') return await answerCommand(session, asked, query, answer);
      await cancelledBy(
        answer.gone,
        () => engine.kill(tagOf(queryId)),
        () => answerRows(session, asked, statement, answer),
      );
    } finally {
      session.close({ spoilt: answer.gone.aborted });
    }
  }

  async function answerKill(
    statement: Extract<Statement, { kind: 'kill' }>,
    user: User,
    answer: Answer,
  ): Promise<void> {
    const target = running.get(statement.queryId);
    const allowed = target !== undefined && (user.name === 'admin' || target.user === user);
    answer.whole(Buffer.from(allowed ? engine.kill(tagOf(statement.queryId)) : ''), {});
  }

  return {
    serve,
    drain: async (ms) => {
      draining = true;
      const all = () => Promise.all([...running.values()].map(({ ended }) => ended));
      await Promise.race([all(), new Promise((resolve) => setTimeout(resolve, ms).unref())]);
      for (const { cancel } of running.values()) cancel();
      await all();
    },
  };
}

const EMPTY = Buffer.alloc(0);

/** Only reading is cancelled when the client goes away: a change, once begun, is completed. */
async function cancelledBy(
  signal: AbortSignal,
  cancel: () => void,
  work: () => Promise<void>,
): Promise<void> {
  signal.addEventListener('abort', cancel, { once: true });
  try {
    await work();
  } finally {
    signal.removeEventListener('abort', cancel);
  }
}

async function answerRows(
  session: EngineSession,
  asked: QueryRequest,
  statement: Extract<Statement, { kind: 'rows' }>,
  answer: Answer,
): Promise<void> {
  const format = statement.format ?? asked.defaultFormat ?? DEFAULT_FORMAT;
  const { output, done } = session.rows({ ...statement, format });
  setFormat(answer, format);
  await answer.stream(output, done, { compress: asked.compressResponse, holdAll: asked.waitEndOfQuery });
}

async function answerInsert(
  session: EngineSession,
  statement: Extract<Statement, { kind: 'insert' }>,
  answer: Answer,
): Promise<void> {
  const written = await session.insert(statement.target, statement.format, statement.data);
  answer.whole(EMPTY, { written_rows: written.rows, written_bytes: written.bytes });
}

async function answerCommand(
  session: EngineSession,
  asked: QueryRequest,
  query: QueryText,
  answer: Answer,
): Promise<void> {
  const format = asked.defaultFormat ?? DEFAULT_FORMAT;
  const output = await session.command(query.text, format);
  setFormat(answer, format);
  answer.whole(output, {});
}

function setFormat(answer: Answer, format: string): void {
  answer.setHeader('X-ClickHouse-Format', format);
  answer.setHeader('X-ClickHouse-Timezone', 'UTC');
  answer.setHeader('Content-Type', contentTypeOf(format));
}

/** What the engine knows a query by. Random, so that no user can name another's in a comment of its own. */
function tagOf(queryId: string): string {
  return `${TAG_SECRET}:${queryId}`;
}

const TAG_SECRET = randomBytes(8).toString('hex');

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
