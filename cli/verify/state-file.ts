import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { ImmutableError } from '../../core/errors.ts';
import { type LogState, logStateText, parseLogState } from '../../core/log.ts';
import { writePrivateFile } from '../../infra/private-file.ts';

/** One for each address, where programs of a user keep what they must not forget. */
export function defaultStateFile(url: string, env: NodeJS.ProcessEnv = process.env): string {
  const folder = env.XDG_STATE_HOME || join(homedir(), '.local', 'state');
  const name = createHash('sha256').update(url).digest('hex').slice(0, 16);
  return join(folder, 'immutable', 'logs', `${name}.json`);
}

/**
 * Null where nothing is remembered. Throws `misconfigured` for a file that is damaged: to go on without it would be
 * to forget what the log once said.
 */
export function readState(path: string): LogState | null {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return null;
    throw unusable(path, 'cannot be read', cause);
  }
  try {
    return parseLogState(text);
  } catch (cause) {
    throw unusable(path, 'does not hold what was remembered of a log', cause);
  }
}

/** There whole or not at all. What another verifier remembered meanwhile, of a longer log, stays. */
export function writeState(path: string, state: LogState): void {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const kept = readState(path);
    if (kept !== null && kept.origin === state.origin && kept.size > state.size) return;
    writePrivateFile(path, logStateText(state));
  } catch (cause) {
    if (cause instanceof ImmutableError) throw cause;
    throw unusable(path, 'cannot be written', cause);
  }
}

function unusable(path: string, what: string, cause: unknown): ImmutableError {
  return new ImmutableError('misconfigured', `The file ${path} ${what}.`, {
    nextStep: 'Mend it, or name another one with --state.',
    cause,
  });
}
