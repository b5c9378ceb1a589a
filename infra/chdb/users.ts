import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { ImmutableError } from '../../core/errors.ts';
import { ClickHouseException } from './exception.ts';
import { identifierOf, type Token, tokens, unquoted } from './lexer.ts';
import type { Statement } from './statement.ts';

/** A user of the server. The engine knows one user only; what each of ours may do are roles of that one. */
export interface User {
  name: string;
  grants: string[];
  readOnly: boolean;
  /** Settings each of its queries starts with. */
  settings: Record<string, string | number>;
  /** Limits of settings, in users.xml. */
  profile?: string;
  /** How many of its queries run at a time, and how many more may wait. Each user has places of its own, so that nobody's long query delays another's. */
  running: number;
  waiting: number;
}

const MIB = 1024 * 1024;
/** Two of them at once leave room for what the service itself asks. */
const ANALYST_MEMORY_BYTES = Math.min(2048 * MIB, Math.floor(totalmem() / 8));

export const ANALYST: User = {
  name: 'analyst',
  grants: ['GRANT SELECT ON immutable.audit_events'],
  readOnly: true,
  profile: 'analyst',
  settings: { max_execution_time: 60, max_memory_usage: ANALYST_MEMORY_BYTES },
  running: 2,
  waiting: 16,
};

/**
 * Nobody holds a right to files, URLs or other servers (SOURCES). The writer adds and reads; that it can
 * neither alter nor delete is what "append-only" rests on.
 */
export const USERS: readonly User[] = [
  {
    name: 'admin',
    grants: [
      'GRANT SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW, CREATE DICTIONARY, DROP, TRUNCATE, OPTIMIZE, SHOW, KILL QUERY, SYSTEM, dictGet, SET DEFINER ON *.*',
    ],
    readOnly: false,
    settings: {},
    running: 2,
    waiting: 32,
  },
  {
    name: 'writer',
    grants: ['GRANT SELECT, INSERT ON immutable.*'],
    readOnly: false,
    profile: 'writer',
    // VALUES are values: an expression there could read what the writer may not.
    settings: {
      input_format_values_interpret_expressions: 0,
      input_format_values_deduce_templates_of_expressions: 0,
    },
    running: 6,
    waiting: 256,
  },
  {
    name: 'reader',
    grants: ['GRANT SELECT ON immutable.*'],
    readOnly: true,
    settings: {},
    running: 6,
    waiting: 256,
  },
  ANALYST,
];

/** The engine's users.xml: our users as roles of its only user, and settings that nobody may change. */
export function usersXml(): string {
  const roles = USERS.map(
    ({ name, grants }) => `<${name}><grants>${queries([...grants, IN_DEFAULT_DATABASE])}</grants></${name}>`,
  );
  return `<clickhouse>
  <profiles>
    <default>
      <implicit_select>0</implicit_select>
      <constraints>${FIXED_SETTINGS.map((name) => `<${name}><const/></${name}>`).join('')}</constraints>
    </default>
    <writer>
      <constraints>
        <input_format_values_interpret_expressions><const/></input_format_values_interpret_expressions>
        <input_format_values_deduce_templates_of_expressions><const/></input_format_values_deduce_templates_of_expressions>
      </constraints>
    </writer>
    <analyst>
      <constraints>
        <max_execution_time><min>1</min><max>600</max></max_execution_time>
        <max_memory_usage><min>1</min><max>${ANALYST_MEMORY_BYTES}</max></max_memory_usage>
      </constraints>
    </analyst>
  </profiles>
  <quotas><default/></quotas>
  <roles>${roles.join('')}</roles>
  <users>
    <default>
      <password/>
      <networks><ip>::/0</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
      <grants>${queries(USERS.map(({ name }) => `GRANT ${name}`))}</grants>
    </default>
  </users>
</clickhouse>`;
}

/** Every session begins in the database `default`, which stays empty. */
const IN_DEFAULT_DATABASE = 'GRANT SHOW DATABASES ON default.*';

function queries(texts: string[]): string {
  return texts.map((text) => `<query>${text}</query>`).join('');
}

/**
 * Another dialect would be parsed differently from how we looked at it; the others name files or
 * servers that the engine reads or writes while it formats.
 */
const FIXED_SETTINGS = [
  'dialect',
  'implicit_select',
  'output_format_schema',
  'format_schema',
  'format_schema_source',
  'format_template_row',
  'format_template_resultset',
  'format_avro_schema_registry_url',
];

/** Each request has a session of its own, so these change nothing that outlives them: accepted and not run. */
export const WITHOUT_EFFECT = ['SET', 'USE'];

/** Statements a read-only user may run, by their first word. */
const READING_VERBS = ['SHOW', 'DESCRIBE', 'DESC', 'EXPLAIN', 'EXISTS'];

/**
 * Functions and tables that need no right in the engine, yet reach outside of it or show other users'
 * queries. (`file('/etc/passwd')` as a function reads any file of this process; `eval` runs text.)
 */
const FORBIDDEN_NAMES = new Set([
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

/** Functions that are told by a text, perhaps a computed one, which table to read. */
const READING_BY_TEXT = new Set([
  'merge',
  'loop',
  'dictionary',
  'cluster',
  'clusterallreplicas',
  'remote',
  'remotesecure',
]);

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
  const named = [...withIdentifiers([...tokens(statement.sql)], parameters)];
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
    READING_VERBS.includes(verb) || WITHOUT_EFFECT.includes(verb) || (verb === 'INSERT' && !user.readOnly)
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
    if (isForbiddenName(name) || (READING_BY_TEXT.has(name) && all[index + 1]?.text === '(')) return name;
  }
  return undefined;
}

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

function isForbiddenName(name: string): boolean {
  return FORBIDDEN_NAMES.has(
    name
      .slice(name.lastIndexOf('.') + 1)
      .replace(/[`"]/g, '')
      .trim()
      .toLowerCase(),
  );
}

/** Passwords by user name. */
export type Passwords = Record<string, string>;

/** Reads a JSON object `{"admin":"…","writer":"…","reader":"…","analyst":"…"}`; throws `misconfigured`. */
export function readPasswords(path: string): Passwords {
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw new ImmutableError('misconfigured', `The ClickHouse passwords cannot be read from ${path}.`, {
      cause,
    });
  }
  const given: Record<string, unknown> = typeof parsed === 'object' && parsed !== null ? { ...parsed } : {};
  return Object.fromEntries(
    USERS.map(({ name }) => {
      const password = given[name];
      if (typeof password !== 'string' || password === '') {
        throw new ImmutableError('misconfigured', `${path} holds no ClickHouse password for "${name}".`);
      }
      return [name, password];
    }),
  );
}

export interface Credentials {
  user: string;
  password: string;
}

/** Finds the user, in a time that does not tell which of the two was wrong. Throws AUTHENTICATION_FAILED. */
export function authenticate({ user, password }: Credentials, passwords: Passwords): User {
  const found = USERS.find(({ name }) => name === user);
  const expected = found === undefined ? undefined : passwords[found.name];
  const matches = timingSafeEqual(digest(password), digest(expected ?? ''));
  if (found === undefined || expected === undefined || !matches) {
    throw new ClickHouseException(
      'AUTHENTICATION_FAILED',
      `${user}: Authentication failed: password is incorrect, or there is no user with such name.`,
    );
  }
  return found;
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
