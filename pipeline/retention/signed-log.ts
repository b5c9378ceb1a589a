import { hexDecode } from '../../core/bytes.ts';
import { parseCheckpointNote } from '../../core/checkpoint.ts';
import { leafHash, verifyInclusion } from '../../core/tree.ts';
import { nativeHasher } from '../../infra/hash.ts';

/** That an event is in a log that was signed, as a manifest carries it. */
export interface SignedPlace {
  /** C2SP signed-note. */
  checkpoint: string;
  inclusion: { leaf_index: number; tree_size: number; path: string[] };
}

/** The checkpoints and tiles of workspaces. */
export interface SignedLog {
  /** By the first checkpoint that has the event; null if none has. */
  placeOf(workspaceId: string, seq: number): Promise<SignedPlace | null>;
  /** Whether a key of ours has signed a note, as the log of this workspace. */
  isSigned(workspaceId: string, note: string): boolean;
}

/** Whether an event with this hash is what was signed in its place. */
export function isSignedEvent(
  log: SignedLog,
  workspaceId: string,
  event: { seq: number; event_hash: string },
  { checkpoint: note, inclusion }: SignedPlace,
): boolean {
  const checkpoint = parseCheckpointNote(note);
  const hash = hexDecode(event.event_hash);
  const path = inclusion.path.map(hexDecode);
  if (checkpoint === null || hash === null || !path.every((step) => step !== null)) return false;
  const proof = { leafIndex: event.seq - 1, treeSize: checkpoint.size, path };
  return (
    log.isSigned(workspaceId, note) &&
    verifyInclusion(leafHash(hash, nativeHasher), proof, checkpoint.root, nativeHasher)
  );
}
