import { type CheckpointRecord, type LastSigned, readLastSigned } from '../../control/checkpoints.ts';
import { hexEncode } from '../../core/bytes.ts';
import { openNote, parseCheckpoint } from '../../core/checkpoint.ts';
import type { Bucket } from '../../infra/nats/kv.ts';
import { asSigned } from './commit.ts';
import { TreeMismatch } from './load.ts';
import type { SignedCheckpoint, TreeStore } from './store.ts';

export interface KnownCheckpointsOptions {
  bucket: Bucket;
  store: TreeStore;
  isWanted(workspaceId: string): boolean;
  /** Whether a note is of this workspace's log, and signed by a key of ours. */
  isOurs(workspaceId: string, note: string): boolean;
  /** Checkpoints up to this revision of the bucket are in ClickHouse too. */
  keptRevision: number;
}

/** The newest checkpoint of each workspace, by NATS and by ClickHouse. */
export interface KnownCheckpoints {
  /** By NATS; changed by who signs. */
  lastSigned: Map<string, LastSigned>;
  /**
   * What a tree must begin with. Where ClickHouse has a larger one than NATS (which lost its data, or was restored from a
   * backup), that one counts, and NATS is told; where NATS has, ClickHouse keeps it from now on. Throws `TreeMismatch`
   * for one that no key of ours has signed.
   */
  newestOf(workspaceId: string): Promise<CheckpointRecord | undefined>;
  /** Compares the sizes of many at once, so that those that agree need no question of their own. */
  compareAll(workspaceIds: readonly string[]): Promise<void>;
}

const COMPARED_AT_A_TIME = 1_000;

/** Also keeps in ClickHouse what was signed a moment before a process died. */
export async function openKnownCheckpoints(options: KnownCheckpointsOptions): Promise<KnownCheckpoints> {
  const { bucket, store } = options;
  const lastSigned = await readLastSigned(bucket, options.isWanted);
  await store.writeCheckpoints(signedSince(lastSigned, options.keptRevision));
  const compared = new Set<string>();

  async function compare(workspaceId: string): Promise<void> {
    const known = lastSigned.get(workspaceId);
    const stored = await store.newestCheckpoint(workspaceId);
    if (known !== undefined && known.record.size > (stored?.size ?? 0)) {
      // By a process that was taken for dead and signed on, so that the floor knew nothing of it.
      await store.writeCheckpoints([asSigned(workspaceId, known)]);
    }
    if (stored === undefined || stored.size <= (known?.record.size ?? 0)) return;
    const record = await recordOfStored(options, stored);
    const revision =
      known === undefined
        ? await bucket.create(workspaceId, record)
        : await bucket.update(workspaceId, record, known.revision);
    lastSigned.set(workspaceId, { record, revision });
  }

  return {
    lastSigned,
    async newestOf(workspaceId) {
      if (!compared.has(workspaceId)) await compare(workspaceId);
      compared.add(workspaceId);
      return lastSigned.get(workspaceId)?.record;
    },
    async compareAll(workspaceIds) {
      for (let from = 0; from < workspaceIds.length; from += COMPARED_AT_A_TIME) {
        const some = workspaceIds.slice(from, from + COMPARED_AT_A_TIME);
        const sizes = await store.largestSizes(some);
        for (const workspaceId of some) {
          const known = lastSigned.get(workspaceId)?.record.size ?? 0;
          if (known === (sizes.get(workspaceId) ?? 0)) compared.add(workspaceId);
        }
      }
    },
  };
}

function signedSince(lastSigned: ReadonlyMap<string, LastSigned>, revision: number): SignedCheckpoint[] {
  return [...lastSigned].flatMap(([workspaceId, last]) =>
    last.revision > revision ? [asSigned(workspaceId, last)] : [],
  );
}

async function recordOfStored(
  { store, isOurs }: KnownCheckpointsOptions,
  { workspaceId, size, root, note, signedAt }: SignedCheckpoint,
): Promise<CheckpointRecord> {
  if (!isOurs(workspaceId, note) || !isNoteOf(note, size, root)) {
    throw new TreeMismatch(workspaceId, `A checkpoint of ${size} is stored that was never signed.`, { size });
  }
  const event = await store.eventAt(workspaceId, size);
  if (event === undefined) {
    throw new TreeMismatch(workspaceId, `Events are missing: a checkpoint of ${size} was signed.`, { size });
  }
  const { createdAt, eventHash } = event;
  return {
    size,
    root,
    note,
    signed_at: signedAt,
    last_created_at: createdAt,
    last_event_hash: eventHash,
  };
}

/** An older note of ours in another row would otherwise be taken for that row's, and for ever once NATS is told. */
function isNoteOf(note: string, size: number, root: string): boolean {
  const said = parseCheckpoint(openNote(note)?.text ?? '');
  return said?.size === size && hexEncode(said.root) === root;
}
