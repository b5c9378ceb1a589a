import { ClickHouseException } from './exception.ts';
import { identifierOf, isKeyword, type Token, tokens, unquoted } from './lexer.ts';
import type { Statement } from './statement.ts';
import type { User } from './users.ts';
import { WORKSPACE_SETTING } from './users-xml.ts';

/**
 * Throws ACCESS_DENIED unless `user` may run such a statement at all; on what, the engine's grants decide,
 * but for `system`. `parameters` may name a table too (`{name:Identifier}`).
 */
export function checkAllowed(user: User, statement: Statement, parameters: Record<string, string>): void {
  if (user.name === 'admin') return;
  if (statement.kind === 'kill' || (statement.kind === 'insert' && !user.readOnly)) return;
  if (statement.kind !== 'rows' && !(statement.kind === 'command' && isAllowedCommand(user, statement))) {
    throw new ClickHouseException('ACCESS_DENIED', `${user.name}: Not enough privileges for this statement.`);
  }
  const text =
    statement.kind === 'rows' ? `${statement.sql} ${statement.settingsAfterFormat}` : statement.sql;
  const named = [...withIdentifiers([...tokens(text)], parameters)];
  if (hasInnerSettings(named)) {
    throw new ClickHouseException(
      'ACCESS_DENIED',
      `${user.name}: SETTINGS may stand only at the end of the whole statement, not within it.`,
    );
  }
  const forbidden =
    forbiddenName(named) ?? Object.values(parameters).find(isForbiddenName) ?? forbiddenTable(named);
  if (forbidden !== undefined) {
    throw new ClickHouseException(
      'ACCESS_DENIED',
      `${user.name}: Not enough privileges to use ${forbidden}.`,
    );
  }
}

function isAllowedCommand(user: User, { verb }: { verb: string }): boolean {
  return (
    READING_VERBS.includes(verb) ||
    WITHOUT_EFFECT.includes(verb) ||
    (verb === 'INSERT' && !user.readOnly) ||
    (user.verbs?.includes(verb) ?? false)
  );
}

/** Each request has a session of its own, so these change nothing that outlives them: accepted and not run. */
export const WITHOUT_EFFECT = ['SET', 'USE'];

/** Statements a read-only user may run, by their first word. */
const READING_VERBS = ['SHOW', 'DESCRIBE', 'DESC', 'EXPLAIN', 'EXISTS'];

/**
 * Whether a SETTINGS clause stands elsewhere than at the end of the statement: in a subquery, or before UNION.
 * The engine checks no limits there, nor whether a setting may be changed at all.
 */
function hasInnerSettings(all: Token[]): boolean {
  let depth = 0;
  let before = false;
  for (const [index, token] of all.entries()) {
    if (token.text === '(') depth += 1;
    if (token.text === ')') depth -= 1;
    if (before && isKeyword(token, 'SELECT')) return true;
    if (!beginsSettings(all, index)) continue;
    if (depth > 0) return true;
    before = true;
  }
  return false;
}

function beginsSettings(all: Token[], index: number): boolean {
  const name = all[index + 1];
  return (
    isKeyword(all[index], 'SETTINGS') &&
    name !== undefined &&
    identifierOf(name) !== undefined &&
    ['=', '.'].includes(all[index + 2]?.text ?? '')
  );
}

/** The statement with what each `{name:Identifier}` stands for in its place. */
function* withIdentifiers(all: Token[], parameters: Record<string, string>): Generator<Token> {
  for (let at = 0; at < all.length; at++) {
    const token = all[at];
    const name = all[at + 1];
    const type = all[at + 3];
    if (token === undefined) return;
    const substituted =
      token.text === '{' && all[at + 2]?.text === ':' && type && identifierOf(type) === 'identifier';
    if (!substituted || name === undefined) {
      yield token;
      continue;
    }
    yield* tokens(parameters[unquoted(name)] ?? '');
    at += 4;
  }
}

function forbiddenName(all: Token[]): string | undefined {
  for (const [index, token] of all.entries()) {
    const name = identifierOf(token);
    if (name === undefined) continue;
    if (isForbiddenName(name)) return name;
    const called = all[index + 1]?.text === '(';
    if (called && (READING_BY_TEXT.has(name) || ENDLESS.has(name))) return name;
  }
  return undefined;
}

function isForbiddenName(name: string): boolean {
  return FORBIDDEN_NAMES.has(
    name
      .slice(name.lastIndexOf('.') + 1)
      .replace(/[`"]/g, '')
      .trim()
      .toLowerCase(),
  );
}

/**
 * Functions and tables that need no right in the engine, yet reach outside of it or show other users'
 * queries. (`file('/etc/passwd')` as a function reads any file of this process; `eval` runs text.)
 */
const FORBIDDEN_NAMES = new Set([
  WORKSPACE_SETTING,
  'file',
  'eval',
  'processes',
  'processlist',
  'catboostevaluate',
  'naivebayesclassifier',
  'naivebayesclassifierwithallprobs',
  'aigenerate',
  'aiclassify',
  'aiembed',
  'showcertificate',
]);

/**
 * Table functions that are told by a text, perhaps a computed one, what to read. For what is outside of the
 * engine nobody has the right, but some open it before they ask: `sqlite('/any/path', 't')` makes the file.
 */
const READING_BY_TEXT = new Set([
  'arrowflight',
  'azureblobstorage',
  'azureblobstoragecluster',
  'cluster',
  'clusterallreplicas',
  'dictionary',
  'executable',
  'filecluster',
  'gcs',
  'hdfs',
  'hdfscluster',
  'jdbc',
  'loop',
  'merge',
  'mongodb',
  'mysql',
  'odbc',
  'postgresql',
  'redis',
  'remote',
  'remotesecure',
  's3',
  's3cluster',
  'sqlite',
  'url',
  'urlcluster',
  'ytsaurus',
]);

/**
 * Table functions that answer without end and out of chance: made for trying out the engine itself. Their
 * answer begins as a success and breaks off at a limit, or not, as chance has it.
 */
const ENDLESS = new Set(['fuzzquery', 'fuzzjson']);

/** A table of `system`, unless it is one of those that everybody may read. */
function forbiddenTable(all: Token[]): string | undefined {
  for (const [index, token] of all.entries()) {
    const name = identifierOf(token);
    if (name?.startsWith('system.')) return name; // One identifier that some function may take apart.
    if (name !== 'system' || all[index + 1]?.text !== '.' || all[index - 1]?.text === '.') continue;
    const next = all[index + 2];
    const table = next && identifierOf(next);
    if (table === undefined || !READABLE_SYSTEM_TABLES.has(table)) return `system.${table ?? next?.text}`;
  }
  return undefined;
}

/**
 * All of `system` that anybody but the admin reads: what the engine is, and what the user may see anyway.
 * The engine itself, in spite of `select_from_system_db_requires_grant`, lets everybody read most of it;
 * `system.errors` alone holds other users' statements and values.
 */
const READABLE_SYSTEM_TABLES = new Set([
  'aggregate_function_combinators',
  'build_options',
  'codecs',
  'collations',
  'columns',
  'data_type_families',
  'database_engines',
  'databases',
  'formats',
  'functions',
  'keywords',
  'merge_tree_settings',
  'numbers',
  'numbers_mt',
  'one',
  'settings',
  'settings_changes',
  'table_engines',
  'table_functions',
  'tables',
  'time_zones',
  'zeros',
  'zeros_mt',
]);
