import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { ImmutableError } from '../core/errors.ts';
import type { Bucket } from '../infra/nats/kv.ts';
import { type Clock, recordReader, timestamp } from './record.ts';
import { isConflict, newWorkspaceId } from './workspaces.ts';

const schema = z.looseObject({
  /** How many partitions the streams have. */
  partitions: z.int().min(1),
  /** First line of every checkpoint, before the workspace (C2SP tlog-checkpoint). */
  log_origin: z.string().min(1),
  /** The workspace whose chain holds what concerns no other: alarms, management. */
  operator_workspace_id: z.string(),
  created_at: z.string(),
});

/** What was decided when this installation started for the first time and can never change. */
export type Install = z.infer<typeof schema>;

const readInstall = recordReader('installation record', schema);

const KEY = 'install';
const DEFAULT_PARTITIONS = 4;

/** What this start was told; `undefined` agrees with whatever is stored. */
export interface WantedInstall {
  partitions?: number | undefined;
  logOrigin?: string | undefined;
  /** Gives the log its origin at the first start, unless one is named. */
  publicUrl?: string | undefined;
}

/**
 * The stored decisions, made now at the very first start. Throws `misconfigured` if this start was told
 * other ones: workspaces would change their partition in the middle of their chain, or checkpoints that
 * were handed out would stop verifying.
 */
export async function readOrCreateInstall(
  bucket: Bucket,
  wanted: WantedInstall,
  now: Clock = Date.now,
): Promise<Install> {
  const install = (await readStored(bucket)) ?? (await create(bucket, wanted, now));
  refuseChange('IMMUTABLE_PARTITIONS', wanted.partitions, install.partitions);
  refuseChange('IMMUTABLE_LOG_ORIGIN', wanted.logOrigin, install.log_origin);
  return install;
}

async function readStored(bucket: Bucket): Promise<Install | undefined> {
  const entry = await bucket.get(KEY);
  return entry === undefined ? undefined : readInstall(entry.value);
}

async function create(bucket: Bucket, wanted: WantedInstall, now: Clock): Promise<Install> {
  const install: Install = {
    partitions: wanted.partitions ?? DEFAULT_PARTITIONS,
    log_origin: wanted.logOrigin ?? originOf(wanted.publicUrl),
    operator_workspace_id: newWorkspaceId(),
    created_at: timestamp(now()),
  };
  try {
    await bucket.create(KEY, install);
    return install;
  } catch (error) {
    // Another process of the same first start was faster: its decisions count.
    const stored = isConflict(error) ? await readStored(bucket) : undefined;
    if (stored !== undefined) return stored;
    throw error;
  }
}

function originOf(publicUrl: string | undefined): string {
  if (publicUrl === undefined) return `immutable-${randomBytes(8).toString('hex')}.invalid`;
  const { host, pathname } = new URL(publicUrl);
  return `${host}${pathname}`.replace(/\/+$/, '');
}

function refuseChange(setting: string, wanted: number | string | undefined, stored: number | string): void {
  if (wanted === undefined || wanted === stored) return;
  throw new ImmutableError(
    'misconfigured',
    `${setting} is ${wanted}, but this installation was made with ${stored}, and it can never change.`,
    { nextStep: `Set ${setting}=${stored}, or leave it out.` },
  );
}
