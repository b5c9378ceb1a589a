import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { z } from 'zod';
import { ImmutableError } from '../core/errors.ts';
import { parseObjectStoreUrl } from './object-store/parse-url.ts';
import { isRange } from './outbound/policy.ts';

/** Every setting, by the name it has in the environment. The only place these names are written. */
const port = z.coerce.number().int().min(0).max(65_535);
const list = z.string().transform((text) =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== ''),
);
const urlList = list.pipe(z.array(z.url()));
const flag = z
  .enum(['true', 'false', '1', '0', 'yes', 'no'])
  .transform((text) => ['true', '1', 'yes'].includes(text));

const settings = z.object({
  IMMUTABLE_PORT: port.default(8080),
  IMMUTABLE_HOST: z.string().min(1).default('127.0.0.1'),
  IMMUTABLE_DATA_DIR: z
    .string()
    .min(1)
    .default('./data')
    .transform((path) => resolve(path)),
  IMMUTABLE_PUBLIC_URL: z.url().optional(),
  IMMUTABLE_LOG_ORIGIN: z
    .string()
    .regex(
      /^[a-z0-9.-]+(:\d+)?(\/[A-Za-z0-9._~/-]*)?$/,
      'must look like a host name, such as audit.example.com',
    )
    .optional(),
  IMMUTABLE_NATS_URL: z.string().min(1).optional(),
  IMMUTABLE_NATS_MONITOR_URL: urlList.optional(),
  IMMUTABLE_NATS_SERVER_BIN: z.string().min(1).optional(),
  IMMUTABLE_STREAM_REPLICAS: z.coerce.number().int().min(1).max(5).default(1),
  /** Accept events although a NATS server may lose them in a power cut. Logged at every start. */
  IMMUTABLE_ALLOW_UNSYNCED_NATS: flag.default(false),
  IMMUTABLE_CLICKHOUSE_URL: z.url().optional(),
  /** Used by `immutable migrate` and at start, when it differs from the services' own user. */
  IMMUTABLE_CLICKHOUSE_ADMIN_URL: z.url().optional(),
  IMMUTABLE_CLICKHOUSE_RETENTION_URL: z.url().optional(),
  IMMUTABLE_CLICKHOUSE_PORT: port.default(8123),
  /** Where exports and archives go; else `objects` in the data directory. */
  IMMUTABLE_OBJECT_STORE_URL: z.string().superRefine(refuseWrongObjectStore).optional(),
  IMMUTABLE_GEOIP_CITY_V4: z.string().min(1).optional(),
  IMMUTABLE_GEOIP_CITY_V6: z.string().min(1).optional(),
  IMMUTABLE_TRUSTED_PROXIES: list.default([]),
  /** Networks that are not public and that requests to addresses of customers may reach, unencrypted too. */
  IMMUTABLE_ALLOW_PRIVATE_DESTINATIONS: list.superRefine(refuseWrongRange).default([]),
  /** A file of C2SP tlog-policy: who cosigns checkpoints, and how many of them must. */
  IMMUTABLE_WITNESS_POLICY: z.string().min(1).optional(),
  /** JSON-RPC of the chain on which roots are anchored; the next is asked when one does not answer. */
  IMMUTABLE_ANCHOR_RPC_URL: list
    .pipe(
      z
        .array(z.url({ protocol: /^https?$/, error: 'must be http or https addresses, comma-separated' }))
        .min(1),
    )
    .optional(),
  /** Base is 8453, Base Sepolia 84532. */
  IMMUTABLE_ANCHOR_CHAIN_ID: z.coerce.number().int().min(1).default(8453),
  IMMUTABLE_ANCHOR_CONTRACT: z
    .string()
    .regex(/^0x[0-9a-f]{40}$/i, 'must be an address: 0x and 40 hexadecimal digits')
    .transform((address) => address.toLowerCase())
    .optional(),
  /** Of the account that pays. */
  IMMUTABLE_ANCHOR_PRIVATE_KEY: z
    .string()
    .regex(/^0x[0-9a-f]{64}$/i, 'must be 0x and 64 hexadecimal digits')
    .optional(),
  /** What the chain must call a block before an anchor in it counts as confirmed. */
  IMMUTABLE_ANCHOR_CONFIRM: z.enum(['latest', 'safe', 'finalized']).default('safe'),
  /** No transaction offers more for a unit of gas; above it the job waits. */
  IMMUTABLE_ANCHOR_MAX_FEE_GWEI: z.coerce.number().positive().default(5),
  IMMUTABLE_TLS_CERT: z.string().min(1).optional(),
  IMMUTABLE_TLS_KEY: z.string().min(1).optional(),
  IMMUTABLE_SECRET_KEY: z
    .string()
    .regex(/^[0-9a-f]{64}$/i, 'must be 32 bytes as 64 hexadecimal characters')
    .optional(),
  /**
   * Decided at the first start; later starts may leave it out, and are refused if it differs. No more than 32:
   * ClickHouse remembers 100,000 tokens, and ten inserts a second and partition must stay within for 5 minutes.
   */
  IMMUTABLE_PARTITIONS: z.coerce.number().int().min(1).max(32).optional(),
  /** What all streams together may reserve on NATS's disks. Else: from the free space, or the account's limit. */
  IMMUTABLE_STREAM_LIMIT_GIB: z.coerce.number().int().min(1).optional(),
  IMMUTABLE_HTTP: z.enum(['uws', 'node']).default('uws'),
  IMMUTABLE_LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  /** Port on which a role without routes of its own (chain, …) serves /healthz, /readyz and /metrics; 0 = any free one. */
  IMMUTABLE_HEALTH_PORT: port.optional(),
  /** Same for every life of one supervised process, so that its successor takes over its leases at once. */
  IMMUTABLE_INSTANCE_ID: z.string().min(1).optional(),
});

const SECRET_SUFFIX = '_FILE';

export type SettingName = keyof z.infer<typeof settings>;
type Settings = z.infer<typeof settings>;

/** Settings as a child is given them; a secret as the path of a file that holds it. */
export type SettingEnvironment = Partial<
  Record<SettingName | `${SettingName}${typeof SECRET_SUFFIX}`, string>
>;

/** The settings of one process, named as in code: `IMMUTABLE_DATA_DIR` is `dataDir`. */
export type Config = { [Name in SettingName as CamelCase<StripPrefix<Name>>]: Settings[Name] };

type StripPrefix<Name extends string> = Name extends `IMMUTABLE_${infer Rest}` ? Rest : never;
type CamelCase<Name extends string> = Name extends `${infer Head}_${infer Tail}`
  ? `${Lowercase<Head>}${Capitalize<CamelCase<Tail>>}`
  : Lowercase<Name>;

/**
 * Reads the settings from the environment and from the file that `IMMUTABLE_CONFIG` names (lines
 * `NAME=value`; the environment wins). A setting may also be given as `<name>_FILE`, the path of a file
 * that holds its value. Throws `misconfigured` naming every problem at once.
 */
export function loadConfig(env: NodeJS.ProcessEnv = process.env): Config {
  const problems: string[] = [];
  const given = {
    ...withSecretFiles(readConfigFile(env.IMMUTABLE_CONFIG), problems),
    ...withSecretFiles(nonEmpty(env), problems),
  };
  problems.push(...unknownNames(given));
  const parsed = settings.safeParse(given);
  if (!parsed.success) {
    for (const { path, message } of parsed.error.issues) problems.push(`${String(path[0])}: ${message}`);
  } else {
    problems.push(...contradictions(parsed.data));
  }
  if (!parsed.success || problems.length > 0) {
    throw new ImmutableError('misconfigured', `These settings are wrong:\n  ${problems.join('\n  ')}`, {
      nextStep: 'Correct them and start again; docs/operations.md lists every setting.',
    });
  }
  return Object.fromEntries(
    Object.entries(parsed.data).map(([name, value]) => [camelCase(name), value]),
  ) as Config;
}

function contradictions(values: Settings): string[] {
  const problems: string[] = [];
  if ((values.IMMUTABLE_TLS_CERT === undefined) !== (values.IMMUTABLE_TLS_KEY === undefined)) {
    problems.push('IMMUTABLE_TLS_CERT, IMMUTABLE_TLS_KEY: give both or neither');
  }
  return problems;
}

/** A wrong range is found at the start, not at the first webhook. */
function refuseWrongRange(ranges: readonly string[], context: z.RefinementCtx): void {
  for (const range of ranges) {
    if (isRange(range)) continue;
    const message = `"${range}" is neither an address nor a range such as 10.0.0.0/8`;
    context.addIssue({ code: 'custom', message });
  }
}

/** A wrong address is found at the start, not at the first export. */
function refuseWrongObjectStore(url: string, context: z.RefinementCtx): void {
  try {
    parseObjectStoreUrl(url);
  } catch (error) {
    if (!(error instanceof ImmutableError)) throw error;
    context.addIssue({ code: 'custom', message: [error.message, error.nextStep].join(' ') });
  }
}

/** A mistyped name would otherwise be a setting that silently does nothing. */
function unknownNames(given: Record<string, string>): string[] {
  const elsewhere = [
    'IMMUTABLE_CONFIG',
    'IMMUTABLE_API_KEY',
    'IMMUTABLE_CHROMIUM_BIN',
    'IMMUTABLE_ALLOW_EXPIRED_APT_INDEX',
  ];
  return Object.keys(given)
    .filter((name) => name.startsWith('IMMUTABLE_') && !(name in settings.shape))
    .filter((name) => !elsewhere.includes(name) && !name.startsWith('IMMUTABLE_CHDB_'))
    .map((name) => `${name}: there is no such setting`);
}

function nonEmpty(env: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).filter(
      (entry): entry is [string, string] => entry[1] !== undefined && entry[1] !== '',
    ),
  );
}

/** `<name>_FILE=path` becomes `<name>=<what the file holds>`. */
function withSecretFiles(given: Record<string, string>, problems: string[]): Record<string, string> {
  const result = { ...given };
  for (const [name, path] of Object.entries(given)) {
    const target = name.slice(0, -SECRET_SUFFIX.length);
    if (!name.endsWith(SECRET_SUFFIX) || !(target in settings.shape)) continue;
    if (target in given) problems.push(`${target}, ${name}: give one of them`);
    result[target] = readSettingFile(name, path).trim();
    delete result[name];
  }
  return result;
}

function readConfigFile(path: string | undefined): Record<string, string> {
  if (path === undefined || path === '') return {};
  const lines = readSettingFile('IMMUTABLE_CONFIG', path).split('\n');
  const entries: [string, string][] = [];
  for (const [index, text] of lines.entries()) {
    const line = text.trim();
    if (line === '' || line.startsWith('#')) continue;
    const at = line.indexOf('=');
    if (at < 1) {
      // Its text may be a secret that a broken line was torn from.
      throw new ImmutableError(
        'misconfigured',
        `IMMUTABLE_CONFIG: line ${index + 1} of ${path} is not NAME=value`,
      );
    }
    entries.push([line.slice(0, at).trim(), line.slice(at + 1).trim()]);
  }
  return Object.fromEntries(entries);
}

function readSettingFile(name: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new ImmutableError('misconfigured', `${name}: cannot read ${path}`, { cause });
  }
}

function camelCase(name: string): string {
  return name
    .replace(/^IMMUTABLE_/, '')
    .toLowerCase()
    .replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
}
