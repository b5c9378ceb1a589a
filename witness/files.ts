import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { ImmutableError } from '../core/errors.ts';

/** Everything a witness keeps, in one directory. */
export interface WitnessFiles {
  key: string;
  /** Names the process that works here. */
  claim: string;
  /** A folder with one file for each origin: the note that was cosigned last. */
  checkpoints: string;
}

/** Makes what is missing. */
export function prepareWitnessFiles(directory: string): WitnessFiles {
  const checkpoints = join(directory, 'checkpoints');
  try {
    mkdirSync(checkpoints, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new ImmutableError('misconfigured', `The directory ${directory} cannot be used.`, {
      nextStep: 'Make it writable for this user, or name another one with --directory.',
      cause,
    });
  }
  return { key: join(directory, 'key.json'), claim: join(directory, 'claim.json'), checkpoints };
}

/** Lower-case hex of the SHA-256 of an origin: its name where any character may not stand. */
export function originHash(origin: string): string {
  return createHash('sha256').update(origin).digest('hex');
}
