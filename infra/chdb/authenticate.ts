import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { ImmutableError } from '../../core/errors.ts';
import { ClickHouseException } from './exception.ts';
import type { Generation } from './generations.ts';
import { analystOf, USERS, type User } from './users.ts';
import { workspaceAnalystPassword, workspaceOfAnalyst } from './workspace-analyst.ts';

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
export function authenticate(
  { user, password }: Credentials,
  passwords: Passwords,
  generationOf: (workspaceId: string) => Generation,
): User {
  const workspace = workspaceOfAnalyst(user);
  const found = workspace === undefined ? USERS.find(({ name }) => name === user) : analystOf(workspace);
  const expected = found === undefined ? undefined : passwordOf(found, passwords, generationOf);
  const matches = timingSafeEqual(digest(password), digest(expected ?? ''));
  if (found === undefined || expected === undefined || !matches) {
    throw new ClickHouseException(
      'AUTHENTICATION_FAILED',
      `${user}: Authentication failed: password is incorrect, or there is no user with such name.`,
    );
  }
  return found;
}

function passwordOf(
  { name, workspace }: User,
  passwords: Passwords,
  generationOf: (workspaceId: string) => Generation,
): string | undefined {
  if (workspace === undefined) return passwords[name];
  const { generation, revoked } = generationOf(workspace);
  if (passwords.analyst === undefined || revoked) return undefined;
  return workspaceAnalystPassword(workspace, passwords.analyst, generation);
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
