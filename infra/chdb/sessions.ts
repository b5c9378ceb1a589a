import type { Session } from 'chdb';
import { ClickHouseException } from './exception.ts';
import { plainName, quote, quoteName } from './sql.ts';
import { roleOf, type User } from './users.ts';
import { initialSettings } from './users-xml.ts';

export interface SessionOptions {
  user: User;
  database: string | undefined;
  settings: Record<string, string>;
  /** Values of `{name:Type}`, written as in a TSV field. */
  parameters: Record<string, string>;
  readOnly: boolean;
  /** Finds the query again, for `kill`. */
  tag: string;
}

/** Sessions of the engine, used again: the binding closes one only when nothing at all runs any more. */
export interface Sessions {
  take(options: SessionOptions): Lease;
  close(): void;
}

export interface Lease {
  session: Session;
  /** `spoilt`: in an unknown state, so not used again. */
  release(options?: { spoilt: boolean }): void;
}

export function createSessions(connect: () => Session): Sessions {
  const idle = new Map<string, Prepared[]>();

  function take(asked: SessionOptions): Lease {
    const { user } = asked;
    const readOnly = isReadOnly(asked);
    const options = { ...asked, settings: withoutReadOnly(asked.settings) };
    const same = idleOf(`${user.name} ${readOnly}`);
    const prepared = takeRestored(same, options) ?? prepare(connect(), user, readOnly);
    const { session } = prepared;
    try {
      apply(prepared, options);
    } catch (error) {
      if (cleaned(prepared, options)) same.push(prepared);
      else session.close();
      throw error;
    }
    return {
      session,
      release: ({ spoilt } = { spoilt: false }) => {
        if (spoilt) session.close();
        else same.push(prepared);
      },
    };
  }

  function idleOf(kind: string): Prepared[] {
    const known = idle.get(kind);
    if (known !== undefined) return known;
    const none: Prepared[] = [];
    idle.set(kind, none);
    return none;
  }

  return {
    take,
    close: () => {
      for (const { session } of [...idle.values()].flat()) session.close();
      idle.clear();
    },
  };
}

/** A session with a user's rights, and what the last request set in it. */
interface Prepared {
  session: Session;
  /** Values of settings that requests do not give, as far as they are not the engine's own. */
  base: Record<string, string | number>;
  settings: Record<string, string>;
  /** Names of the parameters that hold a value. They cannot be taken away, only emptied. */
  parameters: string[];
  database: string;
}

/**
 * Whether a request may change nothing. The setting `readonly` says so too, but chooses among sessions
 * rather than being set in one: it could not be taken back, or with it the user's own.
 */
function isReadOnly({ user, readOnly, settings: { readonly = '' } }: SessionOptions): boolean {
  if (!['', '0', '1', '2'].includes(readonly)) {
    throw new ClickHouseException('BAD_ARGUMENTS', 'readonly is 0, 1 or 2');
  }
  if (readonly === '0' && (user.readOnly || readOnly)) {
    throw new ClickHouseException('READONLY', "Cannot modify 'readonly' setting in readonly mode.");
  }
  return user.readOnly || readOnly || readonly === '1' || readonly === '2';
}

function withoutReadOnly({ readonly: _, ...settings }: Record<string, string>): Record<string, string> {
  return settings;
}

/** An idle session without what its last request set in it and this one does not; undefined if there is none. */
function takeRestored(idle: Prepared[], options: SessionOptions): Prepared | undefined {
  for (let prepared = idle.pop(); prepared !== undefined; prepared = idle.pop()) {
    try {
      restore(prepared, options);
      return prepared;
    } catch {
      prepared.session.close(); // What cannot be taken back is nobody else's.
    }
  }
  return undefined;
}

function restore(prepared: Prepared, { settings, parameters }: SessionOptions): void {
  const assignments = [
    ...Object.keys(prepared.settings)
      .filter((name) => !Object.hasOwn(settings, name))
      .map((name) => reset(prepared, name)),
    ...prepared.parameters.filter((name) => !Object.hasOwn(parameters, name)).map(emptied),
  ];
  if (assignments.length > 0) prepared.session.query(`SET ${assignments.join(', ')}`);
}

/** Parameters are set by a statement, and may be longer than a query that comes in (statement.ts). */
export const MAX_QUERY_BYTES = 64 * 1024 ** 2;

/** Settings in which the engine, taking itself for a command-line tool, differs from what we want of a server. */
const DEFAULTS: Record<string, string | number> = {
  async_insert: 0,
  max_query_size: MAX_QUERY_BYTES,
  // The data of an INSERT become one part of the table, whatever their size here: all of them or none.
  min_insert_block_size_bytes: 1024 ** 3,
};

/** Gives a new session its user's rights. They cannot be raised by anything a user may run (rights.ts). */
function prepare(session: Session, user: User, readOnly: boolean): Prepared {
  const base: Record<string, string | number> = { ...DEFAULTS, ...initialSettings(user) };
  session.query(`SET ${Object.entries(base).map(assignment).join(', ')}`);
  if (user.profile !== undefined) session.query(`SET profile = ${quote(user.profile)}`);
  session.query(`SET ROLE ${roleOf(user)}`);
  if (readOnly) session.query('SET readonly = 2');
  return { session, base, settings: {}, parameters: [], database: 'default' };
}

/** Sets what differs from the last request: one statement. */
function apply(
  prepared: Prepared,
  { user, settings, parameters, database = user.database ?? 'default', tag }: SessionOptions,
): void {
  const { session } = prepared;
  const changed = Object.entries(settings).filter(([name, value]) => prepared.settings[name] !== value);
  const assignments = [
    ...[...changed, ['log_comment', tag] as const].map(assignment),
    ...Object.entries(parameters).map(([name, value]) => assignment([`param_${name}`, value])),
  ];
  session.query(`SET ${assignments.join(', ')}`);
  prepared.settings = settings;
  prepared.parameters = Object.keys(parameters);
  if (prepared.database === database) return;
  session.query(`USE ${quoteName(database)}`);
  prepared.database = database;
}

/** After a SET that failed, perhaps half-way: false if the session cannot be brought back. */
function cleaned(prepared: Prepared, { settings, parameters }: SessionOptions): boolean {
  for (const name of Object.keys({ ...prepared.settings, ...settings })) {
    try {
      prepared.session.query(`SET ${reset(prepared, name)}`);
    } catch {
      if (isSetting(prepared.session, name)) return false;
    }
  }
  prepared.settings = {};
  prepared.parameters = [...new Set([...prepared.parameters, ...Object.keys(parameters)])].filter((name) =>
    /^\w+$/.test(name),
  );
  return true;
}

function emptied(parameter: string): string {
  return assignment([`param_${parameter}`, '']);
}

function reset({ base }: Prepared, name: string): string {
  const value = Object.hasOwn(base, name) ? base[name] : undefined;
  return value === undefined ? `${plainName(name)} = DEFAULT` : assignment([name, value]);
}

function isSetting(session: Session, name: string): boolean {
  return (
    session.query(`SELECT count() FROM system.settings WHERE name = ${quote(name)}`, 'TSV').trim() !== '0'
  );
}

function assignment([name, value]: readonly [string, string | number]): string {
  return `${plainName(name)} = ${quote(String(value))}`;
}
