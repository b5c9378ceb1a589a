import { expect, test } from 'vitest';
import vectors from '../test/vectors/integrity-v1.json' with { type: 'json' };
import { anchorTree, verifyAnchorPath } from './anchor.ts';
import { hexEncode } from './bytes.ts';
import { checkpointText } from './checkpoint.ts';
import { ImmutableError } from './errors.ts';

const { checkpoints, anchor_root, proofs } = vectors.anchor;

test('the vector, in whatever order the checkpoints come', () => {
  for (const texts of [checkpoints, [...checkpoints].reverse()]) {
    const { root, leaves } = anchorTree(texts);
    expect(hexEncode(root)).toBe(anchor_root);
    expect(leaves.map((leaf) => leaf.checkpointText)).toEqual(checkpoints);
    expect(leaves.map(({ proof }) => ({ ...proof, path: proof.path.map(hexEncode) }))).toEqual(
      proofs.map((proof) => ({ leafIndex: proof.leaf_index, treeSize: proof.tree_size, path: proof.path })),
    );
  }
});

test('a checkpoint is under the root by its own path, and by no other', () => {
  const { root, leaves } = anchorTree(checkpoints);
  for (const leaf of leaves) {
    for (const { proof } of leaves) {
      expect(verifyAnchorPath(leaf.checkpointText, proof, root)).toBe(proof === leaf.proof);
    }
    expect(verifyAnchorPath(leaf.checkpointText.replace('\n', 'x\n'), leaf.proof, root)).toBe(false);
  }
});

test('many workspaces are anchored in reasonable time', () => {
  const texts = Array.from({ length: 2000 }, (_, index) =>
    checkpointText(`log/ws_${index}`, index, new Uint8Array(32)),
  );
  const { root, leaves } = anchorTree(texts);
  expect(leaves.every((leaf) => verifyAnchorPath(leaf.checkpointText, leaf.proof, root))).toBe(true);
});

test('no checkpoint, no checkpoint text, or two of one workspace are refused', () => {
  expect(() => anchorTree([])).toThrow(ImmutableError);
  expect(() => anchorTree(['text'])).toThrow(ImmutableError);
  expect(() => anchorTree([checkpoints[0]!, checkpoints[0]!])).toThrow(ImmutableError);
});
