import { readOrCreateInstall } from '../control/install.ts';
import {
  ensureSigningKeys,
  logNameOf,
  publishedKeys,
  rotateSigningKey,
  SIGNING_KEY_PURPOSE,
  type SigningKeys,
} from '../control/signing-keys.ts';
import { ImmutableError } from '../core/errors.ts';
import type { Config } from '../infra/config.ts';
import { createLogger } from '../infra/log.ts';
import { connectNats } from '../infra/nats/connect.ts';
import { type Bucket, openBucket } from '../infra/nats/kv.ts';
import { BUCKETS } from '../infra/nats/names.ts';
import { createSealer, type Sealer } from '../infra/seal.ts';
import { dataDirAt } from './data-dir.ts';
import { natsUrlFor } from './manage.ts';
import { readOrMakeSecrets } from './secrets.ts';
import { openControlBuckets } from './stores.ts';
import { type Terminal, table } from './terminal.ts';

interface Output {
  json: boolean;
}

/** Throws `misconfigured` without a secret key. */
export function signingKeySealer(secretKey: string | undefined): Sealer {
  if (secretKey === undefined) {
    throw new ImmutableError(
      'misconfigured',
      'Signing keys are kept encrypted, under IMMUTABLE_SECRET_KEY.',
      {
        nextStep: 'Give it the same one as every other process.',
      },
    );
  }
  return createSealer(secretKey, SIGNING_KEY_PURPOSE);
}

/** The keys that checkpoints are and were signed with; for one workspace, as its log's verifier keys. */
export async function listSigningKeysCommand(
  config: Config,
  terminal: Terminal,
  { workspace, json }: Output & { workspace: string | undefined },
): Promise<void> {
  await withSigningKeys(config, async (bucket, logOrigin) => {
    const keys = await ensureSigningKeys(bucket, sealerOf(config));
    show(terminal, keys, workspace === undefined ? undefined : logNameOf(logOrigin, workspace), json);
  });
}

/** Makes a new key; every process signs with it within a second. */
export async function rotateSigningKeyCommand(
  config: Config,
  terminal: Terminal,
  { overlapDays, json }: Output & { overlapDays: number },
): Promise<void> {
  await withSigningKeys(config, async (bucket) => {
    await ensureSigningKeys(bucket, sealerOf(config));
    show(terminal, await rotateSigningKey(bucket, sealerOf(config), overlapDays), undefined, json);
  });
}

function show(terminal: Terminal, keys: SigningKeys, logName: string | undefined, json: boolean): void {
  const published = publishedKeys(keys, logName);
  const rows = published.map((key, index) => [
    key.verifier_key ?? key.public_key,
    key.created_at.slice(0, 10),
    index === 0 ? 'signs' : `signs until ${key.signs_until?.slice(0, 16) ?? ''}`,
  ]);
  const headings = [logName === undefined ? 'PUBLIC KEY' : 'VERIFIER KEY', 'CREATED', ''];
  terminal.result(json ? JSON.stringify(published) : table(headings, rows));
}

/** The running stack's own, where no other is given. */
function sealerOf(config: Config): Sealer {
  if (config.secretKey !== undefined || config.natsUrl !== undefined)
    return signingKeySealer(config.secretKey);
  return signingKeySealer(readOrMakeSecrets(dataDirAt(config.dataDir).keys).secretKey);
}

async function withSigningKeys(
  config: Config,
  use: (bucket: Bucket, logOrigin: string) => Promise<void>,
): Promise<void> {
  const log = createLogger('signing-key', 'silent');
  const nc = await connectNats({ url: natsUrlFor(config), name: 'immutable signing-key', log });
  try {
    const { install } = await openControlBuckets(nc);
    const { log_origin } = await readOrCreateInstall(install, config);
    await use(await openBucket(nc, BUCKETS.signing), log_origin);
  } finally {
    await nc.close();
  }
}
