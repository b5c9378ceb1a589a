import { hexDecode } from './bytes.ts';
import { parseCheckpointNote, workspaceOf } from './checkpoint.ts';
import type { Tally } from './checks.ts';
import { ImmutableError } from './errors.ts';
import { parseInclusion } from './evidence.ts';
import { type Hasher, portableHasher } from './hash.ts';
import type { JsonObject } from './json.ts';
import { type InclusionProof, leafHash, verifyInclusion } from './tree.ts';
import { checkSigner, checkWitnesses, SIGNATURE_CHECKS, type Trust } from './trust.ts';

/** What a manifest has to show that the last of its events, and so all that it links to, is in a signed log. */
export interface Seal {
  /** A signed note. */
  checkpoint: string | null;
  inclusion: InclusionProof | null;
}

/** The members `checkpoint` and `inclusion` of a manifest; older ones have none. Throws `validation_failed`. */
export function parseSeal({ checkpoint = null, inclusion = null }: JsonObject): Seal {
  if (checkpoint !== null && typeof checkpoint !== 'string') {
    throw new ImmutableError('validation_failed', 'checkpoint must be a text or null');
  }
  return {
    checkpoint,
    inclusion: inclusion === null ? null : parseInclusion(inclusion, 'inclusion'),
  };
}

/** The checks that a seal allows, with what they prove. */
export const SEAL_CHECKS = {
  inclusion: {
    proves:
      'the last event is in the log of which the checkpoint states size and root, and so is all that it links to',
  },
  ...SIGNATURE_CHECKS,
} as const;

export type SealCheckName = keyof typeof SEAL_CHECKS | 'workspace';

export interface SealedEnd {
  seq: number;
  event_hash: string;
}

/** @param last the last event; undefined where there is none */
export function checkSeal(
  { checkpoint: note, inclusion }: Seal,
  last: SealedEnd | undefined,
  workspaceId: string,
  trust: Trust,
  tally: Pick<Tally<SealCheckName>, 'problem' | 'skip' | 'settle'>,
  hasher: Hasher = portableHasher,
): void {
  if (note === null) {
    for (const name of ['inclusion', 'witnesses'] as const) tally.skip(name, 'there is no checkpoint');
    tally.settle(
      'checkpoint',
      'unknown_signer',
      'the manifest has no checkpoint: nobody vouches for any of this',
    );
    return;
  }
  const checkpoint = parseCheckpointNote(note);
  if (checkpoint === null) {
    tally.problem('checkpoint', 'the checkpoint cannot be read');
    for (const name of ['inclusion', 'witnesses'] as const) tally.skip(name, 'the checkpoint cannot be read');
    return;
  }
  const signer = checkSigner(note, checkpoint, trust, hasher);
  tally.settle('checkpoint', signer.outcome, signer.detail);
  const witnessed = checkWitnesses(note, trust, hasher);
  tally.settle('witnesses', witnessed.outcome, witnessed.detail);
  if (workspaceOf(checkpoint) !== workspaceId) {
    tally.problem('workspace', `the checkpoint is of the log ${checkpoint.origin}, not of ${workspaceId}`);
  }
  if (last === undefined) {
    tally.skip('inclusion', 'there is no event');
    return;
  }
  if (inclusion === null) {
    tally.settle(
      'inclusion',
      'unknown_signer',
      'the manifest has no path from the last event to the checkpoint',
    );
    return;
  }
  if (inclusion.leafIndex !== last.seq - 1) {
    tally.problem('inclusion', `the path is of event ${inclusion.leafIndex + 1}, not of the last`, last.seq);
  } else if (inclusion.treeSize !== checkpoint.size) {
    const sizes = `the path is for size ${inclusion.treeSize}, the checkpoint for ${checkpoint.size}`;
    tally.problem('inclusion', sizes, last.seq);
  } else {
    const hash = hexDecode(last.event_hash);
    const holds =
      hash !== null && verifyInclusion(leafHash(hash, hasher), inclusion, checkpoint.root, hasher);
    if (!holds) tally.problem('inclusion', 'the path does not lead to the root of the checkpoint', last.seq);
  }
}
