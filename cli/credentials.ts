import { existsSync, readFileSync } from 'node:fs';
import { z } from 'zod';
import { ImmutableError } from '../core/errors.ts';
import { writePrivateFile } from '../infra/private-file.ts';

const schema = z.object({
  base_url: z.string(),
  workspace_id: z.string().regex(/^ws_[0-9a-f]{16}$/),
  api_key: z.string().regex(/^imk_[A-Za-z0-9_-]{43}$/),
  operator_key: z.string().regex(/^imk_[A-Za-z0-9_-]{43}$/),
  setup_url: z.string().nullable(),
  clickhouse: z.object({ url: z.string(), user: z.string(), password: z.string() }),
});

/** What the first start gives its operator, in `credentials.json` of the data directory (mode 0600). */
export type Credentials = z.infer<typeof schema>;

/** Undefined where there is no such file. Throws `misconfigured` for one that is damaged. */
export function readCredentials(path: string): Credentials | undefined {
  if (!existsSync(path)) return undefined;
  try {
    return schema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (cause) {
    throw new ImmutableError('misconfigured', `The data directory is damaged: ${path} cannot be read.`, {
      nextStep:
        'Restore it from a backup, or delete it: the next start then makes new keys for the same workspace.',
      cause,
    });
  }
}

export function writeCredentials(path: string, credentials: Credentials): void {
  writePrivateFile(path, `${JSON.stringify(credentials, null, 2)}\n`);
}
