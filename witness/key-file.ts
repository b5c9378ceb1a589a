import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { z } from 'zod';
import { base64Decode, base64Encode } from '../core/bytes.ts';
import { isKeyName, type SigningKey } from '../core/checkpoint.ts';
import { ImmutableError } from '../core/errors.ts';
import { writePrivateFile } from '../infra/private-file.ts';
import type { WitnessFiles } from './files.ts';

const SEED_BYTES = 32;
const schema = z.strictObject({ name: z.string(), seed: z.string() });

/**
 * The key of this witness, made at its first start. Throws `misconfigured` for a file that is damaged or
 * missing beside cosigned checkpoints, or bears another name: a cosignature does not hold the name, so that
 * one key under two names would speak for both.
 */
export function readOrMakeKey(files: WitnessFiles, name: string | undefined): SigningKey {
  if (existsSync(files.key)) return readKey(files.key, name);
  if (readdirSync(files.checkpoints).length > 0) {
    throw new ImmutableError('misconfigured', `The key ${files.key} is missing, although it was used.`, {
      nextStep: 'Restore it from a backup, or begin a new witness in another directory.',
    });
  }
  if (name === undefined || !isKeyName(name)) {
    throw new ImmutableError(
      'misconfigured',
      name === undefined ? 'A new witness needs a name.' : `"${name}" cannot be the name of a witness.`,
      { nextStep: 'Give one with --name, such as witness.example.com/w1: without spaces and "+".' },
    );
  }
  const key = { name, seed: randomBytes(SEED_BYTES) };
  writePrivateFile(files.key, `${JSON.stringify({ name, seed: base64Encode(key.seed) })}\n`);
  return key;
}

function readKey(path: string, name: string | undefined): SigningKey {
  const key = parseKey(readFileSync(path, 'utf8'));
  if (key === undefined) {
    throw new ImmutableError('misconfigured', `${path} does not hold the key that was written there.`, {
      nextStep: 'Restore it from a backup, or begin a new witness in another directory.',
    });
  }
  if (name === undefined || name === key.name) return key;
  throw new ImmutableError('misconfigured', `This witness is ${key.name}, not ${name}.`, {
    nextStep: 'Leave out --name, or begin a new witness in another directory: a key has one name.',
  });
}

function parseKey(text: string): SigningKey | undefined {
  try {
    const { name, seed: encoded } = schema.parse(JSON.parse(text));
    const seed = base64Decode(encoded);
    return isKeyName(name) && seed?.length === SEED_BYTES ? { name, seed } : undefined;
  } catch {
    return undefined;
  }
}
