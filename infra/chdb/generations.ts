import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { ImmutableError } from '../../core/errors.ts';
import { writePrivateFile } from '../private-file.ts';

/**
 * Which password of a workspace's analyst counts: it is made of a number that rises whenever the one before shall
 * end. A small file for each workspace that has ever had another than the first, read at every request, so that a
 * change holds from the next one on.
 */
const schema = z.strictObject({ generation: z.int().min(0), revoked: z.boolean() });
export type Generation = z.infer<typeof schema>;

const FIRST: Generation = { generation: 0, revoked: false };

/** Beside the passwords of the users. */
export function generationsFolder(passwordsFile: string): string {
  return join(dirname(passwordsFile), 'analysts');
}

/** Throws `misconfigured` for a file that is damaged: no password counts then. */
export function readGeneration(folder: string, workspaceId: string): Generation {
  const path = fileOf(folder, workspaceId);
  if (!existsSync(path)) return FIRST;
  try {
    return schema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (cause) {
    throw new ImmutableError('misconfigured', `${path} does not hold what was written there.`, {
      nextStep: `Restore it from a backup, or delete it and rotate the password of ${workspaceId}'s analyst.`,
      cause,
    });
  }
}

/** The passwords there have been end; the next generation's counts, or none. */
export function nextGeneration(folder: string, workspaceId: string, revoked: boolean): Generation {
  const next = { generation: readGeneration(folder, workspaceId).generation + 1, revoked };
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writePrivateFile(fileOf(folder, workspaceId), `${JSON.stringify(next)}\n`);
  return next;
}

function fileOf(folder: string, workspaceId: string): string {
  return join(folder, `${workspaceId}.json`);
}
