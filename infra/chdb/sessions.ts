import type { Session } from 'chdb';
import { plainName, quote, quoteName } from './sql.ts';
import type { User } from './users.ts';

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
  const idle = new Map<string, Session[]>();
  const databases = new WeakMap<Session, string>();

  function take(options: SessionOptions): Lease {
    const { user } = options;
    const readOnly = options.readOnly || user.readOnly;
    const kind = `${user.name} ${readOnly}`;
    const session = idle.get(kind)?.pop() ?? prepared(connect(), user, readOnly);
    const release = ({ spoilt } = { spoilt: false }) => {
      if (spoilt || !restored(session, user, options.settings)) session.close();
      else idle.set(kind, [...(idle.get(kind) ?? []), session]);
    };
    try {
      apply(session, options);
      use(session, options.database ?? 'default');
    } catch (error) {
      release();
      throw error;
    }
    return { session, release };
  }

  function use(session: Session, database: string): void {
    if ((databases.get(session) ?? 'default') === database) return;
    session.query(`USE ${quoteName(database)}`);
    databases.set(session, database);
  }

  return {
    take,
    close: () => {
      for (const session of [...idle.values()].flat()) session.close();
      idle.clear();
    },
  };
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

/** Gives a new session its user's rights. They cannot be raised by anything a user may run (users.ts). */
function prepared(session: Session, user: User, readOnly: boolean): Session {
  session.query(`SET ${assignments({ ...DEFAULTS, ...user.settings })}`);
  if (user.profile !== undefined) session.query(`SET profile = ${quote(user.profile)}`);
  session.query(`SET ROLE ${user.name}`);
  if (readOnly) session.query('SET readonly = 2');
  return session;
}

function apply(session: Session, { settings, parameters, tag }: SessionOptions): void {
  session.query(`SET ${assignments({ ...settings, log_comment: tag })}`);
  if (Object.keys(parameters).length > 0) {
    session.query(
      `SET ${assignments(
        Object.fromEntries(Object.entries(parameters).map(([name, value]) => [`param_${name}`, value])),
      )}`,
    );
  }
}

/** Takes back what a request set. False if the session kept something of it. */
function restored(session: Session, user: User, settings: Record<string, string>): boolean {
  const base: Record<string, string | number> = { ...DEFAULTS, ...user.settings };
  for (const name of Object.keys(settings)) {
    const value = base[name];
    try {
      session.query(`SET ${plainName(name)} = ${value === undefined ? 'DEFAULT' : quote(String(value))}`);
    } catch {
      if (isSetting(session, name)) return false;
    }
  }
  return true;
}

function isSetting(session: Session, name: string): boolean {
  return (
    session.query(`SELECT count() FROM system.settings WHERE name = ${quote(name)}`, 'TSV').trim() !== '0'
  );
}

function assignments(values: Record<string, string | number>): string {
  return Object.entries(values)
    .map(([name, value]) => `${plainName(name)} = ${quote(String(value))}`)
    .join(', ');
}
