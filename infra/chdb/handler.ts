import { randomBytes, randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { authenticate, type Passwords } from './authenticate.ts';
import { readBody, saveBody } from './body.ts';
import type { Engine, EngineSession } from './engine.ts';
import { ClickHouseException } from './exception.ts';
import { contentTypeOf } from './formats.ts';
import type { Generation } from './generations.ts';
import { createPlaces } from './places.ts';
import { type QueryRequest, readFormat, readRequest, withForm } from './request.ts';
import type { Answer } from './response.ts';
import { checkAllowed, WITHOUT_EFFECT } from './rights.ts';
import { createRunning } from './running.ts';
import { checkParameters, parseStatement, type Statement, splitQuery } from './statement.ts';
import { ANALYST, type User } from './users.ts';

/** Answers queries. */
export interface Handler {
  handle(request: IncomingMessage, answer: Answer): Promise<void>;
  /** Answers a query of its own, on the way that queries of clients go, but for their waiting line. Rejects if that fails. */
  check(): Promise<void>;
  /** Takes no more queries, lets those that run finish for `ms`, then cancels them. */
  drain(ms: number): Promise<void>;
}

const DEFAULT_FORMAT = 'TabSeparated';
const EMPTY = Buffer.alloc(0);
/** As the user with the fewest rights, in a database that is there before any migration. */
const SELF_CHECK = { user: ANALYST, database: 'default', settings: {}, parameters: {}, readOnly: true };

/** A query as it came in. The data of an INSERT are still on their way. */
interface Received {
  asked: QueryRequest;
  text: string;
  insert: { format: string; saveData(file: string): Promise<void> } | undefined;
}

/** One understood query on its way to its answer. */
interface Task {
  asked: QueryRequest;
  user: User;
  text: string;
  statement: Statement;
  saveData(file: string): Promise<void>;
  queryId: string;
  answer: Answer;
}

export function createHandler(
  engine: Engine,
  {
    passwords,
    generationOf,
    maxBodyBytes,
  }: {
    passwords: Passwords;
    generationOf: (workspaceId: string) => Generation;
    maxBodyBytes: number;
  },
): Handler {
  const places = createPlaces();
  const running = createRunning((queryId) => engine.kill(tagOf(queryId)));
  let draining = false;

  async function handle(request: IncomingMessage, answer: Answer): Promise<void> {
    if (draining) throw new ClickHouseException('ABORTED', 'the server is shutting down');
    const said = readRequest(request);
    const user = authenticate(said.credentials, passwords, generationOf);
    const visit = places.enter(user);
    try {
      await visit.turn(answer.gone); // Bodies wait in their sockets, not in our memory.
      const { asked, text, insert } = await receive(request, said);
      const statement = understand(user, asked, text, insert?.format);
      const queryId = asked.queryId ?? randomUUID();
      const saveData = insert?.saveData ?? (async () => {});
      const task: Task = { asked, user, text, statement, saveData, queryId, answer };
      await running.during({ queryId, user, replace: asked.replaceRunningQuery }, () => run(task));
    } catch (error) {
      throw toldTo(user, error);
    } finally {
      visit.leave();
    }
  }

  /** The query may stand in the URL, in the body, or begin in one and end in the other. */
  async function receive(request: IncomingMessage, said: QueryRequest): Promise<Received> {
    const maxQuerySize = said.settings.max_query_size;
    const inUrl = Buffer.from(said.query === '' ? '' : `${said.query}\n`);
    const head = splitQuery(inUrl, maxQuerySize);
    if (head.insert !== undefined) {
      const { format, data } = head.insert;
      const saveData = (file: string) => saveBody(request, maxBodyBytes, data, file);
      return { asked: said, text: head.text, insert: { format, saveData } };
    }
    const { asked, body } = await withForm(
      said,
      await readBody(request, maxBodyBytes),
      request.headers['content-type'],
    );
    const { text, insert } = splitQuery(Buffer.concat([inUrl, body]), maxQuerySize);
    if (insert === undefined) return { asked, text, insert };
    const { format, data } = insert;
    return { asked, text, insert: { format, saveData: (file) => writeFile(file, data, { mode: 0o600 }) } };
  }

  function understand(user: User, asked: QueryRequest, text: string, format: string | undefined): Statement {
    const formatted = engine.format(text);
    const statement = parseStatement(formatted, format);
    checkParameters(formatted, asked.parameters);
    checkAllowed(user, statement, asked.parameters);
    return statement;
  }

  async function run(task: Task): Promise<void> {
    const { statement, answer } = task;
    answer.setHeader('X-ClickHouse-Query-Id', task.queryId);
    switch (statement.kind) {
      case 'rows':
        return runRows(task, statement);
      case 'insert':
        return runInsert(task, statement);
      case 'kill':
        return runKill(task, statement);
      case 'command':
        if (WITHOUT_EFFECT.includes(statement.verb)) return answer.whole(EMPTY, {});
        return runCommand(task);
    }
  }

  async function runRows(task: Task, statement: Extract<Statement, { kind: 'rows' }>): Promise<void> {
    const { asked, answer, queryId } = task;
    const format = readFormat(statement.format) ?? asked.defaultFormat ?? DEFAULT_FORMAT;
    setFormat(answer, format);
    const session = openSession(task);
    const cancel = () => engine.kill(tagOf(queryId));
    // Only reading is cancelled when the client goes away: a change, once begun, is completed.
    answer.gone.addEventListener('abort', cancel, { once: true });
    try {
      const { output, done } = session.rows({ ...statement, format });
      await answer.stream(output, done, { compress: asked.compressResponse, holdAll: asked.waitEndOfQuery });
    } finally {
      answer.gone.removeEventListener('abort', cancel);
      session.close({ spoilt: answer.gone.aborted });
    }
  }

  async function runInsert(task: Task, statement: Extract<Statement, { kind: 'insert' }>): Promise<void> {
    const file = engine.newFile();
    try {
      await task.saveData(file.path);
      const session = openSession(task);
      try {
        const written = await session.insert(statement.target, statement.format, file.path);
        task.answer.whole(EMPTY, { written_rows: written.rows, written_bytes: written.bytes });
      } finally {
        session.close();
      }
    } finally {
      await file.remove();
    }
  }

  async function runCommand(task: Task): Promise<void> {
    const { asked, answer, text } = task;
    const format = asked.defaultFormat ?? DEFAULT_FORMAT;
    setFormat(answer, format);
    const session = openSession(task);
    try {
      const output = await session.command(text, format);
      answer.whole(output, {});
    } finally {
      session.close();
    }
  }

  async function runKill(
    { user, answer }: Task,
    { queryId }: Extract<Statement, { kind: 'kill' }>,
  ): Promise<void> {
    const owner = running.ownerOf(queryId);
    const allowed = owner !== undefined && (owner.name === user.name || user.name === 'admin');
    answer.whole(Buffer.from(allowed ? engine.kill(tagOf(queryId)) : ''), {});
  }

  function openSession({ asked, user, queryId }: Task): EngineSession {
    return engine.open({ ...asked, user, tag: tagOf(queryId) });
  }

  async function check(): Promise<void> {
    const query = { sql: engine.format('SELECT 1'), format: DEFAULT_FORMAT, settingsAfterFormat: '' };
    const session = engine.open({ ...SELF_CHECK, tag: tagOf('self-check') });
    let spoilt = true;
    try {
      const { output, done } = session.rows(query);
      const answer = await text(output);
      await done;
      if (answer !== '1\n') throw new Error(`SELECT 1 answered ${JSON.stringify(answer)}`);
      spoilt = false;
    } finally {
      session.close({ spoilt });
    }
  }

  return {
    handle,
    check,
    drain: (ms) => {
      draining = true;
      return running.drain(ms);
    },
  };
}

/** The engine calls every one of ours `default`. */
function toldTo({ name }: User, error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof ClickHouseException) return error;
  const told = error.message.replaceAll('DB::Exception: default: ', `DB::Exception: ${name}: `);
  return told === error.message ? error : new Error(told, { cause: error });
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
