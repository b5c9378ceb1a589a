import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import type { Session } from 'chdb';
import { ImmutableError } from '../../core/errors.ts';
import { makeScratch, removeOtherScratch, writeConfiguration } from './configuration.ts';
import { createPipes } from './pipes.ts';
import { createSessions, MAX_QUERY_BYTES, type SessionOptions } from './sessions.ts';
import { quote, quoteName } from './sql.ts';
import type { InsertTarget } from './statement.ts';
import { RUNNING_QUERIES } from './users.ts';

/** ClickHouse inside this process, on one data directory. */
export interface Engine {
  readonly version: string;
  /** The statement as the engine's own parser understands it, on one line. Throws its syntax errors; refuses several statements. */
  format(sql: string): string;
  /** A session with the user's rights and the request's settings, for one query. Close it when that has ended. */
  open(options: SessionOptions): EngineSession;
  /** A place for the data of an INSERT. */
  newFile(): { path: string; remove(): Promise<void> };
  /** Cancels the query of the session opened with `tag`. */
  kill(tag: string): string;
  /** Waits for what runs, then closes. */
  close(): Promise<void>;
}

export interface EngineSession {
  rows(query: { sql: string; format: string; settingsAfterFormat: string }): RowStream;
  /** Of what the file at `path` (from `newFile`) holds, all or nothing. */
  insert(target: InsertTarget, format: string, path: string): Promise<Written>;
  command(sql: string, format: string): Promise<Uint8Array>;
  /** `spoilt`: its query was cancelled; it is not used again. */
  close(options?: { spoilt: boolean }): void;
}

export interface RowStream {
  output: Readable;
  /** How the query ended. `output` ends after it. */
  done: Promise<{ rows: number; bytes: number }>;
}

export interface Written {
  rows: number;
  bytes: number;
}

/** Throws `misconfigured` if the native library is missing, or the directory is in use or damaged. */
export async function openEngine(directory: string): Promise<Engine> {
  const path = resolve(directory);
  const chdb = await loadBinding();
  const scratch = prepareDirectory(path);
  const connectionArgs = [`--config-file=${writeConfiguration(scratch)}`];
  const connect = () => new chdb.Session(path, { connectionArgs });
  const control = openControl(path, connect, scratch);
  removeOtherScratch(path, scratch);
  control.query(`SET max_query_size = ${MAX_QUERY_BYTES}`);
  const version = control.query('SELECT version()', 'TSV').trim();
  const pipes = createPipes(scratch, RUNNING_QUERIES + SELF_CHECK_PIPES);
  const sessions = createSessions(connect);
  const formatted = new Map<string, string>();
  let files = 0;

  function format(sql: string): string {
    const known = formatted.get(sql);
    if (known !== undefined) return known;
    const question = `SELECT formatQuerySingleLine(${quote(sql)})`;
    try {
      const result = control.query(`${question} FORMAT TSVRaw`).slice(0, -1);
      if (formatted.size >= FORMATTED_KEPT) formatted.clear();
      formatted.set(sql, result);
      return result;
    } catch (error) {
      // Told as if the statement itself had been run.
      throw new Error(String(error).replace(`: In scope ${question}`, ''), { cause: error });
    }
  }

  function open(options: SessionOptions): EngineSession {
    const { session, release } = sessions.take(options);
    return {
      rows: (query) => rows(session, query),
      insert: (target, dataFormat, file) => insert(session, target, dataFormat, file),
      command: async (sql, outputFormat) => (await session.queryAsync(sql, { format: outputFormat })).bytes(),
      close: release,
    };
  }

  function rows(
    session: Session,
    {
      sql,
      format: outputFormat,
      settingsAfterFormat,
    }: { sql: string; format: string; settingsAfterFormat: string },
  ): RowStream {
    const pipe = pipes.open();
    const query = `${sql} INTO OUTFILE '${pipe.path}' APPEND FORMAT ${quoteName(outputFormat)} ${settingsAfterFormat}`;
    const done = session
      .queryAsync(query)
      .then((result) => ({ rows: result.rowsRead, bytes: result.bytesRead }))
      .finally(pipe.finish);
    done.catch(() => {}); // Whoever reads the output asks how it ended; perhaps later.
    return { output: pipe.output, done };
  }

  /**
   * Data go through a file: complete before the engine sees it, so never half of it is inserted, in any
   * format, and without the copies of `session.insert`, which takes twice the time. (docs/decisions)
   */
  async function insert(
    session: Session,
    target: InsertTarget,
    dataFormat: string,
    file: string,
  ): Promise<Written> {
    const source = `FROM INFILE ${quote(file)} COMPRESSION 'none'`;
    try {
      const result = await session.queryAsync(
        `${target.sql} ${source} ${target.settings} FORMAT ${quoteName(dataFormat)}`,
      );
      return { rows: result.rowsRead, bytes: result.bytesRead };
    } catch (error) {
      throw withoutFile(error, file);
    }
  }

  function newFile(): { path: string; remove(): Promise<void> } {
    const file = join(scratch, `insert-${files++}`);
    return { path: file, remove: () => rm(file, { force: true }) };
  }

  return {
    version,
    format,
    open,
    newFile,
    kill: (tag) => control.query(`KILL QUERY WHERE Settings['log_comment'] = ${quote(tag)} ASYNC`, 'TSV'),
    close: async () => {
      sessions.close();
      control.close();
      await chdb.drainPending();
      rmSync(scratch, { recursive: true, force: true });
    },
  };
}

/** The same exception as if the data had come by themselves. */
function withoutFile(error: unknown, file: string): unknown {
  if (!(error instanceof Error)) return error;
  const told = error.message
    .replaceAll(`(in file/uri ${file}): `, '')
    .replaceAll(': While executing File: data for INSERT was parsed from file', '')
    .replaceAll(file, 'the request');
  return new Error(told, { cause: error });
}

/** The server's own `SELECT 1` waits for nobody. */
const SELF_CHECK_PIPES = 1;

/** Statements whose formatting is remembered; services ask the same few again and again. */
const FORMATTED_KEPT = 1000;

async function loadBinding(): Promise<typeof import('chdb')> {
  try {
    return await import('chdb');
  } catch (cause) {
    throw new ImmutableError(
      'misconfigured',
      `The embedded ClickHouse (npm package chdb) does not load on ${process.platform}-${process.arch}.`,
      {
        cause,
        nextStep:
          'Run `npm ci` again without --omit=optional, or set IMMUTABLE_CLICKHOUSE_URL to a ClickHouse server.',
      },
    );
  }
}

/** Makes the data directory, if need be, and the folder beside it for what is on its way. */
function prepareDirectory(path: string): string {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    return makeScratch(path);
  } catch (cause) {
    throw cannotOpen(path, cause);
  }
}

function openControl(path: string, connect: () => Session, scratch: string): Session {
  const holder = holderOf(path);
  try {
    return connect();
  } catch (cause) {
    rmSync(scratch, { recursive: true, force: true });
    if (holder !== undefined) {
      throw new ImmutableError('misconfigured', `${path} is in use by process ${holder}.`, {
        cause,
        nextStep: 'Stop that process first, or choose another data directory.',
      });
    }
    throw cannotOpen(path, cause);
  }
}

function cannotOpen(path: string, cause: unknown): ImmutableError {
  return new ImmutableError(
    'misconfigured',
    `The embedded ClickHouse cannot open ${path}: it is not writable, or damaged. The lines above say why.`,
    { cause, nextStep: 'Check its owner and free space, or restore it from a backup.' },
  );
}

/** The engine writes the process that holds a directory into `status`; a crash leaves the file behind. */
function holderOf(path: string): number | undefined {
  try {
    const holder = Number(/^PID: (\d+)/m.exec(readFileSync(join(path, 'status'), 'utf8'))?.[1]);
    process.kill(holder, 0);
    return holder;
  } catch {
    return undefined;
  }
}
