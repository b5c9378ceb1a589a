import { ImmutableError } from '../core/errors.ts';
import type { Micros } from '../core/time.ts';
import type { Bucket } from '../infra/nats/kv.ts';
import { type Clock, timestamp } from './record.ts';
import { isConflict, readWorkspace, type Workspace } from './workspaces.ts';

export const MAX_RETENTION_DAYS = 36_500;
const DAY_MICROS = 24 * 3600 * 1_000_000;

/** From when on a workspace's events are shown; `undefined` for all of them. A legal hold keeps what is there. */
export function retainedFrom(workspace: Workspace | undefined, nowMs: number): Micros | undefined {
  const days = workspace?.retention_days;
  if (days === undefined || days === null || isHeld(workspace)) return undefined;
  return Math.max(0, nowMs * 1000 - days * DAY_MICROS);
}

export function isHeld(workspace: Workspace | undefined): boolean {
  return workspace?.legal_hold !== undefined && workspace.legal_hold !== null;
}

/**
 * Keeps a workspace's events for `days` from now on, or for ever (`null`). Shorter than before means that
 * older events are hidden at once, and archived and removed by the next run.
 */
export async function setRetention(
  bucket: Bucket,
  workspaceId: string,
  days: number | null,
): Promise<Workspace> {
  if (days !== null && (!Number.isSafeInteger(days) || days < 1 || days > MAX_RETENTION_DAYS)) {
    throw new ImmutableError('validation_failed', `A retention has 1 to ${MAX_RETENTION_DAYS} days.`);
  }
  return await change(bucket, workspaceId, (workspace) => ({ ...workspace, retention_days: days }));
}

/** Nothing of the workspace is removed, or hidden, until the hold is released. */
export async function holdWorkspace(
  bucket: Bucket,
  workspaceId: string,
  reason: string,
  now: Clock = Date.now,
): Promise<Workspace> {
  const text = reason.trim();
  if (text === '' || [...text].length > 255) {
    throw new ImmutableError('validation_failed', 'The reason of a legal hold has 1 to 255 characters.');
  }
  return await change(bucket, workspaceId, (workspace) => ({
    ...workspace,
    legal_hold: { reason: text, since: timestamp(now()) },
  }));
}

export async function releaseWorkspace(bucket: Bucket, workspaceId: string): Promise<Workspace> {
  return await change(bucket, workspaceId, (workspace) => ({ ...workspace, legal_hold: null }));
}

const ATTEMPTS = 5;

async function change(
  bucket: Bucket,
  workspaceId: string,
  next: (workspace: Workspace) => Workspace,
): Promise<Workspace> {
  for (let attempt = 1; ; attempt++) {
    const entry = await bucket.get(workspaceId);
    if (entry === undefined) {
      throw new ImmutableError('not_found', `There is no workspace ${workspaceId}.`);
    }
    const changed = next(readWorkspace(entry.value));
    try {
      await bucket.update(workspaceId, changed, entry.revision);
      return changed;
    } catch (error) {
      // Somebody changed something else of it in between.
      if (!isConflict(error) || attempt === ATTEMPTS) throw error;
    }
  }
}
