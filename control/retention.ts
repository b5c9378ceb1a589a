import { ImmutableError } from '../core/errors.ts';
import type { Micros } from '../core/time.ts';
import type { Bucket } from '../infra/nats/kv.ts';
import { PLANS } from './plans.ts';
import { type Clock, timestamp } from './record.ts';
import { changeWorkspace, type Workspace } from './workspaces.ts';

export const MAX_RETENTION_DAYS = 36_500;
const DAY_MICROS = 24 * 3600 * 1_000_000;

/** For how long a workspace's events are kept, and what says so. `days` is `null` for ever. */
export interface Retention {
  days: number | null;
  because: 'legal_hold' | 'workspace' | 'plan';
}

/** A legal hold keeps everything; else the workspace's own setting counts, and without one its plan's. */
export function retentionOf({ plan, retention_days, legal_hold }: Workspace): Retention {
  if (legal_hold !== undefined && legal_hold !== null) return { days: null, because: 'legal_hold' };
  if (retention_days !== undefined) return { days: retention_days, because: 'workspace' };
  return { days: PLANS[plan].retentionDays, because: 'plan' };
}

/** From when on a workspace's events are shown; `undefined` for all of them. */
export function retainedFrom(workspace: Workspace | undefined, nowMs: number): Micros | undefined {
  const days = workspace === undefined ? null : retentionOf(workspace).days;
  return days === null ? undefined : Math.max(0, nowMs * 1000 - days * DAY_MICROS);
}

/**
 * Keeps a workspace's events for `days` from now on, for ever (`null`), or for as long as its plan says.
 * Shorter than before means that older events are hidden at once, and archived and removed by the next run.
 */
export async function setRetention(
  bucket: Bucket,
  workspaceId: string,
  days: number | null | 'plan',
): Promise<Workspace> {
  if (typeof days === 'number' && !isRetention(days)) {
    throw new ImmutableError('validation_failed', `A retention has 1 to ${MAX_RETENTION_DAYS} days.`);
  }
  return await changeWorkspace(bucket, workspaceId, ({ retention_days: _, ...workspace }) =>
    days === 'plan' ? workspace : { ...workspace, retention_days: days },
  );
}

function isRetention(days: number): boolean {
  return Number.isSafeInteger(days) && days >= 1 && days <= MAX_RETENTION_DAYS;
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
  return await changeWorkspace(bucket, workspaceId, (workspace) => ({
    ...workspace,
    legal_hold: { reason: text, since: timestamp(now()) },
  }));
}

export async function releaseWorkspace(bucket: Bucket, workspaceId: string): Promise<Workspace> {
  return await changeWorkspace(bucket, workspaceId, (workspace) => ({ ...workspace, legal_hold: null }));
}
