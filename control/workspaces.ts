import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { ImmutableError } from '../core/errors.ts';
import type { Bucket } from '../infra/nats/kv.ts';
import { DEFAULT_PLAN, PLAN_NAMES, type Plan } from './plans.ts';
import { byCreation, type Clock, recordReader, timestamp } from './record.ts';

const schema = z.looseObject({
  id: z.string().regex(/^ws_[0-9a-f]{16}$/),
  name: z.string().min(1).max(255),
  plan: z.enum(PLAN_NAMES),
  created_at: z.string(),
  /** For how many days events are kept, for ever if `null`; what the plan says if absent. */
  retention_days: z.int().min(1).nullable().optional(),
  /** Whether anybody who knows its id may read its checkpoint and tiles, which hold nothing but hashes. */
  public_log: z.boolean().optional(),
  /** While it stands, nothing is removed. */
  legal_hold: z.looseObject({ reason: z.string(), since: z.string() }).nullable().optional(),
});

/** One tenant of the installation: a chain of events, and the keys that reach it. */
export type Workspace = z.infer<typeof schema>;

export const readWorkspace = recordReader('workspace', schema);

/** `ws_` and 64 random bits. */
export function newWorkspaceId(): string {
  return `ws_${randomBytes(8).toString('hex')}`;
}

export interface NewWorkspace {
  name: string;
  /** Given where the id had to be written down before the workspace could be made. */
  id?: string;
  plan?: Plan;
}

/** Throws `validation_failed` for a name that is empty or longer than 255 characters, `conflict` for a taken id. */
export async function createWorkspace(
  bucket: Bucket,
  wanted: NewWorkspace,
  now: Clock = Date.now,
): Promise<Workspace> {
  const name = wanted.name.trim();
  if (name === '' || [...name].length > 255) {
    throw new ImmutableError('validation_failed', 'A workspace name has 1 to 255 characters.', {
      violations: [{ path: 'name', message: 'must have 1 to 255 characters' }],
    });
  }
  const workspace: Workspace = {
    id: wanted.id ?? newWorkspaceId(),
    name,
    plan: wanted.plan ?? DEFAULT_PLAN,
    created_at: timestamp(now()),
  };
  await bucket.create(workspace.id, workspace);
  return workspace;
}

/** The workspace with this id, made first if there is none: what a start repeats until it holds. */
export async function ensureWorkspace(
  bucket: Bucket,
  wanted: NewWorkspace & { id: string },
  now: Clock = Date.now,
): Promise<Workspace> {
  try {
    return (await getWorkspace(bucket, wanted.id)) ?? (await createWorkspace(bucket, wanted, now));
  } catch (error) {
    // Another start made it in between.
    const present = isConflict(error) ? await getWorkspace(bucket, wanted.id) : undefined;
    if (present !== undefined) return present;
    throw error;
  }
}

export async function getWorkspace(bucket: Bucket, id: string): Promise<Workspace | undefined> {
  const entry = await bucket.get(id);
  return entry === undefined ? undefined : readWorkspace(entry.value);
}

export async function setPlan(bucket: Bucket, id: string, plan: Plan): Promise<Workspace> {
  return await changeWorkspace(bucket, id, (workspace) => ({ ...workspace, plan }));
}

const CHANGE_ATTEMPTS = 5;

/** Throws `not_found`. What somebody else changes of it at the same time stays. */
export async function changeWorkspace(
  bucket: Bucket,
  id: string,
  next: (workspace: Workspace) => Workspace,
): Promise<Workspace> {
  for (let attempt = 1; ; attempt++) {
    const entry = await bucket.get(id);
    if (entry === undefined) throw new ImmutableError('not_found', `There is no workspace ${id}.`);
    const changed = next(readWorkspace(entry.value));
    try {
      await bucket.update(id, changed, entry.revision);
      return changed;
    } catch (error) {
      if (!isConflict(error) || attempt === CHANGE_ATTEMPTS) throw error;
    }
  }
}

/** All workspaces, oldest first. */
export async function listWorkspaces(bucket: Bucket): Promise<Workspace[]> {
  const ids = await bucket.keys();
  const found = await Promise.all(ids.map((id) => getWorkspace(bucket, id)));
  return found.filter((workspace) => workspace !== undefined).sort(byCreation);
}

/** Every workspace, kept current in memory. */
export interface WorkspaceDirectory {
  get(id: string): Workspace | undefined;
  all(): Workspace[];
  stop(): Promise<void>;
}

/** Resolves once every present workspace is known. */
export async function watchWorkspaces(bucket: Bucket): Promise<WorkspaceDirectory> {
  const known = new Map<string, Workspace>();
  const stop = await bucket.watch((id, entry) => {
    if (entry === undefined) known.delete(id);
    else known.set(id, readWorkspace(entry.value));
  });
  return {
    get: (id) => known.get(id),
    all: () => [...known.values()],
    stop,
  };
}

export function isConflict(error: unknown): boolean {
  return error instanceof ImmutableError && error.code === 'conflict';
}
