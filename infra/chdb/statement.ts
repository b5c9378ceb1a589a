import { ClickHouseException } from './exception.ts';
import { identifierOf, isKeyword, type Token, tokens, unquoted } from './lexer.ts';
import { refuseSetting } from './settings.ts';

/** A statement, by how it must be run. `sql` is the engine's own formatting of it. */
export type Statement =
  /** Answers with rows, maybe very many: `sql` has no FORMAT clause, `formatClause` is put after it. */
  | { kind: 'rows'; sql: string; format: string | undefined; settingsAfterFormat: string }
  /** Data follow. */
  | { kind: 'insert'; target: InsertTarget; format: string }
  | { kind: 'kill'; queryId: string; sql: string }
  /** Everything else; a short answer or none. */
  | { kind: 'command'; verb: string; sql: string };

export interface InsertTarget {
  /** `INSERT INTO db.table (columns)`. */
  sql: string;
  /** `SETTINGS a = 1, b = 'x'`, or empty. */
  settings: string;
}

/** A query as it came, cut where the data of an INSERT begin. */
export interface QueryText {
  text: string;
  insert: { format: string; data: Buffer } | undefined;
}

/** More than this is data, or too much: ClickHouse's default for `max_query_size`, and how far that can be raised. */
const DEFAULT_STATEMENT_BYTES = 256 * 1024;
const MAX_STATEMENT_BYTES = 16 * 1024 * 1024;

/**
 * Separates the statement from the data of an INSERT, which may be binary and large. Where the data begin
 * is decided here; that what stands before them is one complete INSERT is for the engine to say
 * (`parseStatement`), so a mistake here can make a statement fail, never make data run as SQL.
 */
export function splitQuery(query: Buffer, maxQuerySize?: string): QueryText {
  const maxBytes = Math.min(Number(maxQuerySize) || DEFAULT_STATEMENT_BYTES, MAX_STATEMENT_BYTES);
  const head = query.subarray(0, maxBytes).toString('latin1');
  const cut = findInsertData(head);
  if (cut !== undefined) {
    return {
      text: query.subarray(0, cut.statementEnd).toString('utf8'),
      insert: { format: cut.format, data: query.subarray(cut.dataStart) },
    };
  }
  if (query.length > maxBytes) {
    throw new ClickHouseException(
      'QUERY_IS_TOO_LARGE',
      `the statement is longer than ${maxBytes} bytes (max_query_size)`,
    );
  }
  return { text: query.toString('utf8'), insert: undefined };
}

interface Cut {
  statementEnd: number;
  dataStart: number;
  format: string;
}

function findInsertData(text: string): Cut | undefined {
  let depth = 0;
  let previous: Token | undefined;
  let count = 0;
  for (const token of tokens(text)) {
    count += 1;
    if (count === 1 && !isKeyword(token, 'INSERT')) return undefined;
    if (token.text === '(') depth += 1;
    if (token.text === ')') depth -= 1;
    if (isKeyword(token, 'SELECT') || isKeyword(token, 'WITH')) return undefined;
    if (depth === 0 && count > 2 && !isKeyword(previous, 'INTO') && previous?.text !== '.') {
      if (isKeyword(token, 'VALUES')) {
        return { statementEnd: token.end, dataStart: token.end, format: 'Values' };
      }
      if (isKeyword(previous, 'FORMAT') && token.kind !== 'symbol') {
        return { statementEnd: token.end, dataStart: dataStart(text, token.end), format: unquoted(token) };
      }
    }
    previous = token;
  }
  return undefined;
}

/** Data begin after the blanks that follow the format's name, and after one line end. */
function dataStart(text: string, formatEnd: number): number {
  const blank = /[ \t\f\v]*(?:\r?\n)?/y;
  blank.lastIndex = formatEnd;
  blank.test(text);
  return blank.lastIndex;
}

/**
 * How to run a statement. `formatted` is the text as the engine's own parser understood it: one statement,
 * no comments, only plain quotes; `insertFormat` is that of the data that follow. What is refused here is refused for every user.
 */
export function parseStatement(formatted: string, insertFormat: string | undefined): Statement {
  const all = [...tokens(formatted)];
  refuseFiles(all);
  for (const { name, value } of settingsOf(all)) refuseSetting(name, value);
  if (insertFormat !== undefined) return insertStatement(formatted, all, insertFormat);
  const [first] = all;
  if (isKeyword(first, 'SELECT') || isKeyword(first, 'WITH') || first?.text === '(') {
    return rowsStatement(formatted, all);
  }
  if (isKeyword(first, 'KILL')) {
    const queryId = /^KILL QUERY WHERE query_id = '([^'\\]*)'/.exec(formatted)?.[1];
    if (queryId !== undefined) return { kind: 'kill', queryId, sql: formatted };
  }
  return { kind: 'command', verb: first?.text.toUpperCase() ?? '', sql: formatted };
}

/**
 * The engine runs inside our process, where these clauses, of ClickHouse's command-line client, read and
 * write any file that we can.
 */
function refuseFiles(all: Token[]): void {
  for (const [index, token] of all.entries()) {
    const next = all[index + 1];
    if (isKeyword(token, 'INTO') && isKeyword(next, 'OUTFILE') && all[index + 2]?.kind === 'string') {
      throw new ClickHouseException('NOT_IMPLEMENTED', 'INTO OUTFILE is not available over HTTP');
    }
    if (isKeyword(token, 'FROM') && isKeyword(next, 'INFILE')) {
      throw new ClickHouseException('NOT_IMPLEMENTED', 'FROM INFILE is not available over HTTP');
    }
  }
}

/** Of every SETTINGS clause, wherever it stands; perhaps some more names that a `=` follows. `value` is its first token. */
function* settingsOf(all: Token[]): Generator<{ name: string; value: Token | undefined }> {
  let inSettings = false;
  for (const [index, token] of all.entries()) {
    if (isKeyword(token, 'SETTINGS')) inSettings = true;
    else if (isKeyword(token, 'SELECT')) inSettings = false;
    const name = identifierOf(token);
    const previous = all[index - 1];
    const begins = isKeyword(previous, 'SETTINGS') || previous?.text === ',';
    if (inSettings && begins && name !== undefined && all[index + 1]?.text === '=') {
      yield { name, value: all[index + 2] };
    }
  }
}

/**
 * Throws UNKNOWN_QUERY_PARAMETER unless each `{name:Type}` has a value. The engine would say so too, but in a
 * session used before it may know the name. The parameters of a view are those of its readers.
 */
export function checkParameters(formatted: string, parameters: Record<string, string>): void {
  const all = [...tokens(formatted)];
  if (isKeyword(all[0], 'CREATE') && all.slice(1, 4).some((token) => isKeyword(token, 'VIEW'))) return;
  for (const [index, token] of all.entries()) {
    const name = all[index + 1];
    if (token.text !== '{' || name === undefined || all[index + 2]?.text !== ':') continue;
    if (identifierOf(name) === undefined) continue; // A map.
    if (!Object.hasOwn(parameters, unquoted(name))) {
      throw new ClickHouseException(
        'UNKNOWN_QUERY_PARAMETER',
        `Substitution \`${unquoted(name)}\` is not set.`,
      );
    }
  }
}

/** Takes the FORMAT clause off, since the output is led elsewhere: `… [SETTINGS …] [FORMAT x [SETTINGS …]]`. */
function rowsStatement(formatted: string, all: Token[]): Statement {
  let depth = 0;
  for (const [index, token] of all.entries()) {
    if (token.text === '(' || token.text === '[' || token.text === '{') depth += 1;
    if (token.text === ')' || token.text === ']' || token.text === '}') depth -= 1;
    const name = all[index + 1];
    const after = all[index + 2];
    if (depth !== 0 || !isKeyword(token, 'FORMAT') || name === undefined) continue;
    if (identifierOf(name) === undefined || !(after === undefined || isKeyword(after, 'SETTINGS'))) continue;
    return {
      kind: 'rows',
      sql: formatted.slice(0, token.start).trimEnd(),
      format: unquoted(name),
      settingsAfterFormat: after === undefined ? '' : formatted.slice(after.start),
    };
  }
  return { kind: 'rows', sql: formatted, format: undefined, settingsAfterFormat: '' };
}

/** `INSERT INTO [TABLE] db.t (a, b) [SETTINGS …] FORMAT x`, as the engine formats it. */
function insertStatement(formatted: string, all: Token[], format: string): Statement {
  const formatAt = all.findLastIndex((token) => isKeyword(token, 'FORMAT'));
  const settingsAt = all.findLastIndex((token) => isKeyword(token, 'SETTINGS'));
  const formatToken = all[formatAt];
  const name = all[formatAt + 1];
  if (
    !isKeyword(all[0], 'INSERT') ||
    formatToken === undefined ||
    name === undefined ||
    unquoted(name) !== format
  ) {
    throw new ClickHouseException('SYNTAX_ERROR', 'this INSERT is not understood');
  }
  const settingsToken = settingsAt < 0 ? undefined : all[settingsAt];
  return {
    kind: 'insert',
    target: {
      sql: formatted.slice(0, (settingsToken ?? formatToken).start).trimEnd(),
      settings: settingsToken === undefined ? '' : formatted.slice(settingsToken.start, formatToken.start),
    },
    format,
  };
}
