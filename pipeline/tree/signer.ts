import { type CheckpointRecord, getLastSigned, type LastSigned } from '../../control/checkpoints.ts';
import { logNameOf, signingKeysOf } from '../../control/signing-keys.ts';
import { isConflict } from '../../control/workspaces.ts';
import { checkpointText, signNote } from '../../core/checkpoint.ts';
import { ImmutableError } from '../../core/errors.ts';
import type { Hasher } from '../../core/hash.ts';
import { createNativeSigner } from '../../infra/ed25519.ts';
import type { Bucket } from '../../infra/nats/kv.ts';
import type { Growth } from './growing-tree.ts';
import { recordOf } from './record.ts';

export interface SignerOptions {
  bucket: Bucket;
  logOrigin: string;
  /** The seeds that sign now, the newest first. */
  seeds(): readonly Uint8Array[];
  hasher: Hasher;
  /** RFC 3339 UTC, six fraction digits. */
  now(): string;
}

export interface Signer {
  /**
   * Signs a tree that begins with the tree signed last, and stores the checkpoint in its place before it answers; only one
   * of several signers can. Throws `fenced` if another has signed meanwhile, `internal` for a tree that is smaller
   * than the last, or another of the same size.
   */
  sign(workspaceId: string, last: LastSigned | undefined, growth: Growth): Promise<LastSigned>;
}

const signer = createNativeSigner();

export function createSigner({ bucket, logOrigin, seeds, hasher, now }: SignerOptions): Signer {
  function signed(workspaceId: string, growth: Growth): CheckpointRecord {
    const name = logNameOf(logOrigin, workspaceId);
    const text = checkpointText(name, growth.size, growth.root);
    const [newest, ...others] = signingKeysOf(seeds(), name);
    if (newest === undefined) throw new ImmutableError('misconfigured', 'There is no key to sign with.');
    const note = signNote(text, newest, hasher, signer);
    const lines = others.map((key) => signNote(text, key, hasher, signer).slice(text.length + 1));
    return recordOf(growth, note + lines.join(''), now());
  }

  return {
    async sign(workspaceId, last, growth) {
      refuseFork(workspaceId, last?.record, growth);
      if (last?.record.size === growth.size) return last;
      const record = signed(workspaceId, growth);
      try {
        const revision =
          last === undefined
            ? await bucket.create(workspaceId, record)
            : await bucket.update(workspaceId, record, last.revision);
        return { record, revision };
      } catch (error) {
        if (!isConflict(error)) throw error;
        return await storedBefore(workspaceId, record, error);
      }
    },
  };

  /** The answer to an earlier attempt may have been lost: what is stored is then what was to be. */
  async function storedBefore(
    workspaceId: string,
    wanted: CheckpointRecord,
    cause: unknown,
  ): Promise<LastSigned> {
    const stored = await getLastSigned(bucket, workspaceId);
    if (stored?.record.size === wanted.size && stored.record.root === wanted.root) return stored;
    throw new ImmutableError('fenced', `Another process signs the checkpoints of ${workspaceId}.`, { cause });
  }
}

/** The last line of defence: by then the tree was built on the one that was signed last (integrity.md §4). */
function refuseFork(workspaceId: string, last: CheckpointRecord | undefined, growth: Growth): void {
  if (last === undefined) return;
  const sameSizeOtherRoot =
    growth.size === last.size && Buffer.from(growth.root).toString('hex') !== last.root;
  if (growth.size >= last.size && !sameSizeOtherRoot) return;
  throw new ImmutableError(
    'internal',
    `A tree of ${growth.size} events of ${workspaceId} was to be signed after one of ${last.size}.`,
  );
}
