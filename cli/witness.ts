import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { base64Decode } from '../core/bytes.ts';
import { isKeyName, parseVerifierKey, type VerifierKey } from '../core/checkpoint.ts';
import { ImmutableError } from '../core/errors.ts';
import { parsePolicy } from '../core/policy.ts';
import type { Config } from '../infra/config.ts';
import { startWitness, verifierKeyIn } from '../witness/main.ts';
import type { LogFamily, TrustedLogs } from '../witness/trusted-logs.ts';
import { type ProcessContext, type RunningRole, runProcess } from './process.ts';
import type { Terminal } from './terminal.ts';

/** As commander reads them. */
export interface WitnessArguments {
  name?: string;
  directory?: string;
  host?: string;
  port?: number;
  policy?: string;
  log?: string[];
  logKey?: string[];
  logOrigin?: string[];
  printKey?: true;
}

/** Runs a witness until it is asked to stop. It needs neither NATS nor ClickHouse. */
export async function witnessCommand(
  config: Config,
  terminal: Terminal,
  given: WitnessArguments,
): Promise<void> {
  const directory = given.directory ?? join(config.dataDir, 'witness');
  if (given.printKey) {
    terminal.result(await verifierKeyIn(directory, given.name));
    return;
  }
  const trusted = trustedLogsOf(given);
  const settings = { ...config, host: given.host ?? config.host, port: given.port ?? config.port };
  await runProcess('witness', settings, (context) => startRole(context, directory, given.name, trusted));
}

async function startRole(
  { log, metrics, lifecycle }: ProcessContext,
  directory: string,
  name: string | undefined,
  trusted: TrustedLogs,
): Promise<RunningRole> {
  const witness = await startWitness({ directory, name, trusted, log, metrics });
  lifecycle.onStop('witness', () => witness.stop());
  const { logs, families } = trusted;
  log.info({ key: witness.verifierKey, logs: logs.length, log_origins: families.length }, 'witnessing');
  return { routes: witness.routes, ready: witness.ready };
}

function trustedLogsOf({ policy, log = [], logKey = [], logOrigin = [] }: WitnessArguments): TrustedLogs {
  const logs = [...(policy === undefined ? [] : logsOfPolicy(policy)), ...log.map(logOf)];
  const families = familiesOf(logKey, logOrigin);
  if (logs.length === 0 && families.length === 0) {
    throw new ImmutableError('misconfigured', 'A witness must be told which logs it follows.', {
      nextStep: 'Name them with --policy, --log, or --log-key and --log-origin; see docs/witness.md.',
    });
  }
  return { logs, families };
}

function logsOfPolicy(path: string): VerifierKey[] {
  try {
    return parsePolicy(readFileSync(path)).logs.map(({ key }) => key);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ImmutableError('misconfigured', `--policy ${path}: ${reason}`, { cause });
  }
}

function logOf(text: string): VerifierKey {
  const key = parseVerifierKey(text);
  if (key === null) throw new ImmutableError('misconfigured', `--log ${text} is no verifier key of a log.`);
  return key;
}

const PUBLIC_KEY_BYTES = 32;

/** The keys and the origins belong together in their order. */
function familiesOf(keys: readonly string[], origins: readonly string[]): LogFamily[] {
  if (keys.length !== origins.length)
    throw new ImmutableError('misconfigured', 'Give --log-key and --log-origin the same number of times.');
  return origins.map((name, index) => {
    const text = keys[index] ?? '';
    const publicKey = base64Decode(text);
    if (publicKey?.length !== PUBLIC_KEY_BYTES) {
      const wanted = `the base64 of an Ed25519 public key (${PUBLIC_KEY_BYTES} bytes)`;
      throw new ImmutableError('misconfigured', `--log-key ${text} is not ${wanted}.`);
    }
    if (!isKeyName(name) || name.endsWith('/'))
      throw new ImmutableError('misconfigured', `--log-origin ${name} is not what origins begin with.`);
    return { name, publicKey };
  });
}
