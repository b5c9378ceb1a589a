import { utf8Encode } from './bytes.ts';
import { parseCheckpoint, workspaceOf } from './checkpoint.ts';
import { ImmutableError } from './errors.ts';
import { type Hasher, portableHasher } from './hash.ts';
import { type InclusionProof, inclusionPathIn, leafHash, treeLevels, verifyInclusion } from './tree.ts';

/** One day's checkpoints as one root, of which a single transaction tells the world. */
export interface AnchorTree {
  /** `anchor_root`, 32 bytes. */
  root: Uint8Array;
  /** In the order of workspace ids. */
  leaves: AnchorLeaf[];
}

export interface AnchorLeaf {
  workspaceId: string;
  checkpointText: string;
  proof: InclusionProof;
}

/**
 * The anchor tree over checkpoint texts, in whatever order they come.
 * Throws `internal` for none at all, for one that is no checkpoint, and for two of one workspace.
 */
export function anchorTree(checkpointTexts: readonly string[], hasher: Hasher = portableHasher): AnchorTree {
  const sorted = sortByWorkspace(checkpointTexts);
  const levels = treeLevels(
    sorted.map(({ checkpointText }) => anchorLeafHash(checkpointText, hasher)),
    hasher,
  );
  const root = levels.at(-1)?.[0];
  if (root === undefined) throw new ImmutableError('internal', 'an anchor needs a checkpoint');
  const leaves = sorted.map((leaf, leafIndex) => ({
    ...leaf,
    proof: { leafIndex, treeSize: sorted.length, path: inclusionPathIn(levels, leafIndex) },
  }));
  return { root, leaves };
}

/** Whether the checkpoint text is a leaf under the anchor's root. */
export function verifyAnchorPath(
  checkpointText: string,
  proof: InclusionProof,
  anchorRoot: Uint8Array,
  hasher: Hasher = portableHasher,
): boolean {
  return verifyInclusion(anchorLeafHash(checkpointText, hasher), proof, anchorRoot, hasher);
}

/** As unguessable as the batch's id, which is 128 random bits in hexadecimal digits. */
export function anchorIdOf(batchId: string, workspaceId: string, hasher: Hasher = portableHasher): string {
  return `anc_${hasher.hex(`imk/anchor-id/v1\n${batchId}\n${workspaceId}`).slice(0, 32)}`;
}

function anchorLeafHash(checkpointText: string, hasher: Hasher): Uint8Array {
  return leafHash(utf8Encode(checkpointText), hasher);
}

function sortByWorkspace(
  checkpointTexts: readonly string[],
): { workspaceId: string; checkpointText: string }[] {
  const byWorkspace = new Map(checkpointTexts.map((text) => [workspaceIn(text), text]));
  if (byWorkspace.size !== checkpointTexts.length) {
    throw new ImmutableError('internal', 'an anchor takes one checkpoint of each workspace');
  }
  return [...byWorkspace.keys()].sort().map((workspaceId) => ({
    workspaceId,
    checkpointText: byWorkspace.get(workspaceId) ?? '',
  }));
}

function workspaceIn(checkpointText: string): string {
  const checkpoint = parseCheckpoint(checkpointText);
  if (checkpoint === null) throw new ImmutableError('internal', `not a checkpoint: ${checkpointText}`);
  return workspaceOf(checkpoint);
}
