import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { ImmutableError } from '../core/errors.ts';
import { USERS, type User } from '../infra/clickhouse/names.ts';
import { writePrivateFile } from '../infra/private-file.ts';

/** What the embedded stack makes for itself at its first start and keeps in `keys/`, one file each. */
export interface Secrets {
  natsPassword: string;
  clickhousePasswords: Readonly<Record<User, string>>;
  /** The same passwords, for the ClickHouse process: `{"<user>":"<password>"}`. */
  clickhousePasswordsFile: string;
  /** Holds IMMUTABLE_SECRET_KEY. */
  secretKeyFile: string;
  /** 64 hex digits. */
  secretKey: string;
  /** Tells the processes of this data directory from all others that share a NATS. */
  instanceId: string;
}

const HEX_64 = /^[0-9a-f]{64}$/;
const REMAKE = 'Delete the file: it is made again at the next start.';
const RESTORE =
  'Restore it from a backup. If there is none, delete it: what was encrypted with it can then not be read again.';

/** Throws `misconfigured` for a file that is damaged, rather than making another secret in its place. */
export function readOrMakeSecrets(keysFolder: string): Secrets {
  const clickhousePasswordsFile = join(keysFolder, 'clickhouse-users.json');
  const secretKeyFile = join(keysFolder, 'secret.key');
  const secretKey = readOrMakeHex(secretKeyFile, RESTORE);
  return {
    natsPassword: readOrMakeHex(join(keysFolder, 'nats.password'), REMAKE),
    clickhousePasswords: readOrMakePasswords(clickhousePasswordsFile),
    clickhousePasswordsFile,
    secretKeyFile,
    secretKey,
    instanceId: readOrMakeHex(join(keysFolder, 'instance.id'), REMAKE),
  };
}

function readOrMakeHex(path: string, nextStep: string): string {
  return readOrMake(path, nextStep, randomHex, (text) =>
    HEX_64.test(text.trim()) ? text.trim() : undefined,
  );
}

function readOrMakePasswords(path: string): Record<User, string> {
  const make = () => JSON.stringify(Object.fromEntries(USERS.map((user) => [user, randomHex()])), null, 2);
  addMissingPasswords(path);
  return readOrMake(path, REMAKE, make, parsePasswords);
}

/** A newer version may have a user that the file does not know. */
function addMissingPasswords(path: string): void {
  if (!existsSync(path)) return;
  const known = z.partialRecord(z.enum(USERS), z.string().regex(HEX_64)).safeParse(parseJson(path));
  if (!known.success) return;
  const missing = USERS.filter((user) => known.data[user] === undefined);
  if (missing.length === 0) return;
  const added = Object.fromEntries(missing.map((user) => [user, randomHex()]));
  writePrivateFile(path, `${JSON.stringify({ ...known.data, ...added }, null, 2)}\n`);
}

function parseJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}

const passwordsSchema = z.record(z.enum(USERS), z.string().regex(HEX_64));

function parsePasswords(text: string): Record<User, string> | undefined {
  try {
    return passwordsSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

function readOrMake<T>(
  path: string,
  nextStep: string,
  make: () => string,
  parse: (text: string) => T | undefined,
): T {
  if (!existsSync(path)) writePrivateFile(path, `${make()}\n`);
  const parsed = parse(readFileSync(path, 'utf8'));
  if (parsed !== undefined) return parsed;
  throw new ImmutableError(
    'misconfigured',
    `The data directory is damaged: ${path} does not hold what was written there.`,
    {
      nextStep,
    },
  );
}

function randomHex(): string {
  return randomBytes(32).toString('hex');
}
