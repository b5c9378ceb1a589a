import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { ImmutableError } from '../../core/errors.ts';
import { DATABASE, TABLES, VIEWS, VIEWS_OWNER } from '../clickhouse/names.ts';
import { ClickHouseException } from './exception.ts';
import { identifierOf, isKeyword, type Token, tokens, unquoted } from './lexer.ts';
import type { Statement } from './statement.ts';
import { workspaceAnalystName, workspaceAnalystPassword, workspaceOfAnalyst } from './workspace-analyst.ts';

/** A user of the server. The engine knows one user only; what each of ours may do are roles of that one. */
export interface User {
  name: string;
  /** For an analyst of one workspace: the only one whose events the views show. */
  workspace?: string;
  /** Where names without a database are looked up. */
  database?: string;
  grants: string[];
  readOnly: boolean;
  /** Statements it may run beside what everybody may. */
  verbs?: readonly string[];
  /** Settings each of its queries starts with. */
  settings: Record<string, string | number>;
  /** Limits of settings, in users.xml. */
  profile?: string;
  /** How many of its queries run at a time, and how many more may wait. Each user has places of its own, so that nobody's long query delays another's. */
  running: number;
  waiting: number;
}

const MIB = 1024 * 1024;
/** As many as can run at once, of `analyst` and of workspaces, leave half of what the engine may use to the service itself. */
const ANALYST_MEMORY_BYTES = Math.min(2048 * MIB, Math.floor(totalmem() / 16));

/** Limits of one query, as it begins; what it may ask for instead is in the profile. */
const ANALYST_LIMITS = {
  max_execution_time: 60,
  max_memory_usage: ANALYST_MEMORY_BYTES,
  max_result_rows: 10_000_000,
  max_result_bytes: 1024 * MIB,
  // A sort or join too large for memory goes to disk, and the disk is the log's.
  max_temporary_data_on_disk_size_for_query: 4096 * MIB,
};

export const ANALYST: User = {
  name: 'analyst',
  database: DATABASE,
  grants: ['GRANT SELECT ON immutable.audit_events', 'GRANT SELECT ON immutable.audit_chain'],
  readOnly: true,
  profile: 'analyst',
  settings: ANALYST_LIMITS,
  running: 2,
  waiting: 16,
};

/** An analyst who sees one workspace. */
function analystOf(workspace: string): User {
  return { ...ANALYST, ...ONE_WORKSPACE, name: workspaceAnalystName(workspace), workspace };
}

/** Places of one workspace's analyst; `running: 1` also keeps the engine's sessions as few as the workspaces. */
export const ONE_WORKSPACE = { running: 1, waiting: 8 };
/** Places of all of them together, beside the analyst's own. */
export const WORKSPACE_ANALYSTS = { running: 2, waiting: 32 };

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
  {
    // The only one that removes events, and nothing but events; for as long as a run of the retention lasts.
    name: 'retention',
    grants: [
      'GRANT SELECT ON immutable.*',
      'GRANT INSERT ON immutable.boundaries',
      'GRANT INSERT ON immutable.restored_events',
      'GRANT ALTER DELETE ON immutable.events',
    ],
    readOnly: false,
    verbs: ['ALTER'],
    profile: 'writer',
    settings: {
      input_format_values_interpret_expressions: 0,
      input_format_values_deduce_templates_of_expressions: 0,
    },
    running: 2,
    waiting: 8,
  },
];

/** How many queries the engine runs at a time. */
export const RUNNING_QUERIES = [...USERS, WORKSPACE_ANALYSTS].reduce((sum, { running }) => sum + running, 0);

/**
 * Tells the row policy which workspace a session sees. chDB takes no settings of our own making
 * (`custom_settings_prefixes` is not read there), so this is one of the engine's that does nothing else
 * here: it names a table for a dialect that FIXED_SETTINGS rules out.
 */
const WORKSPACE_SETTING = 'promql_table';
const ALL_WORKSPACES = '*';

/** Settings that each session of `user` begins with. */
export function initialSettings({ settings, workspace }: User): Record<string, string | number> {
  return { ...settings, [WORKSPACE_SETTING]: workspace ?? ALL_WORKSPACES };
}

/** The engine's role with the user's grants. */
export function roleOf({ name, workspace }: User): string {
  return workspace === undefined ? name : ANALYST.name;
}

/**
 * The rows that the views show. They are read as the views' owner, and this is its row policy: ClickHouse
 * applies it to a row before anything that a query says, so that not even an expression that throws tells
 * of another workspace's rows. Without the setting there are none.
 */
const VISIBLE_ROWS = `getSettingOrDefault('${WORKSPACE_SETTING}', '') = '${ALL_WORKSPACES}' OR workspace_id = getSettingOrDefault('${WORKSPACE_SETTING}', '')`;

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
        <${WORKSPACE_SETTING}><const/></${WORKSPACE_SETTING}>
        <max_execution_time><min>1</min><max>600</max></max_execution_time>
        ${atMost('max_memory_usage', ANALYST_LIMITS.max_memory_usage)}
        ${atMost('max_result_rows', ANALYST_LIMITS.max_result_rows)}
        ${atMost('max_result_bytes', ANALYST_LIMITS.max_result_bytes)}
        ${atMost('max_temporary_data_on_disk_size_for_query', ANALYST_LIMITS.max_temporary_data_on_disk_size_for_query)}
        ${ANALYST_FIXED_SETTINGS.map((name) => `<${name}><const/></${name}>`).join('')}
        <max_threads><max>${MAX_ANALYST_THREADS}</max></max_threads>
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
    <${VIEWS_OWNER}>
      <no_password/>
      <networks><ip>::1</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
      <grants>${queries(VIEWS_OWNER_READS.map((table) => `GRANT SELECT ON ${table}`))}</grants>
      <databases><${DATABASE}><events><filter>${VISIBLE_ROWS}</filter></events></${DATABASE}></databases>
    </${VIEWS_OWNER}>
  </users>
</clickhouse>`;
}

const VIEWS_OWNER_READS = [TABLES.events, VIEWS.visibleEvents, VIEWS.visibleChain];

function atMost(setting: string, max: number): string {
  return `<${setting}><min>1</min><max>${max}</max></${setting}>`; // 0 would be no limit.
}

/** With these an analyst's query could use more memory than is counted, more threads, or more stack than there is. */
const ANALYST_FIXED_SETTINGS = ['max_untracked_memory', 'max_parser_depth', 'max_parser_backtracks'];
const MAX_ANALYST_THREADS = 16;

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
  // Its entries are told apart by user and text, and we all are one user of the engine: it would answer one
  // workspace's analyst with what another's had asked.
  'use_query_cache',
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

function isAllowedCommand(user: User, { verb }: { verb: string }): boolean {
  return (
    READING_VERBS.includes(verb) ||
    WITHOUT_EFFECT.includes(verb) ||
    (verb === 'INSERT' && !user.readOnly) ||
    (user.verbs?.includes(verb) ?? false)
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
  const workspace = workspaceOfAnalyst(user);
  const found = workspace === undefined ? USERS.find(({ name }) => name === user) : analystOf(workspace);
  const expected = found === undefined ? undefined : passwordOf(found, passwords);
  const matches = timingSafeEqual(digest(password), digest(expected ?? ''));
  if (found === undefined || expected === undefined || !matches) {
    throw new ClickHouseException(
      'AUTHENTICATION_FAILED',
      `${user}: Authentication failed: password is incorrect, or there is no user with such name.`,
    );
  }
  return found;
}

function passwordOf({ name, workspace }: User, passwords: Passwords): string | undefined {
  if (workspace === undefined) return passwords[name];
  return passwords.analyst === undefined ? undefined : workspaceAnalystPassword(workspace, passwords.analyst);
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
