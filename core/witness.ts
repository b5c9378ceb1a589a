import { equalBytes } from './bytes.ts';
import { type Checkpoint, type VerifierKey, verifyNote } from './checkpoint.ts';
import { type Hasher, portableHasher } from './hash.ts';
import { treeRoot, verifyConsistency } from './tree.ts';
import { parseAddCheckpoint, type ReceivedCheckpoint } from './witness-message.ts';

/**
 * What a witness decides, as C2SP tlog-witness has it, in two steps: `admit` needs nothing but the request and
 * the keys of the logs; `judge` needs what was cosigned last, and holds only if that does not change before
 * the new checkpoint took its place.
 */

/** An answer that refuses. */
export interface WitnessRefusal {
  status: 400 | 403 | 404 | 409 | 422;
  /** One sentence for the log's operator. */
  message: string;
  /** With some 409: the size cosigned last, which is the body of the answer. */
  knownSize?: number;
}

export type Admission = { ok: true; request: ReceivedCheckpoint } | ({ ok: false } & WitnessRefusal);

/** Whether the request is one, of a log that the witness follows, signed by that log. */
export function admit(
  body: string,
  keysOf: (origin: string) => readonly VerifierKey[],
  hasher: Hasher = portableHasher,
): Admission {
  const request = parseAddCheckpoint(body);
  if (request === null) return refuse(400, 'This is not the body of an add-checkpoint request.');
  const keys = keysOf(request.checkpoint.origin);
  if (keys.length === 0) return refuse(404, 'This witness does not follow a log of that origin.');
  if (!verifyNote(request.note, keys, hasher).ok)
    return refuse(403, 'The checkpoint is not signed by a key that this witness trusts for its origin.');
  return { ok: true, request };
}

/** The size and root of a log. */
export type TreeHead = Pick<Checkpoint, 'size' | 'root'>;

export type Judgement = { ok: true } | ({ ok: false } & WitnessRefusal);

/** @param latest what the witness cosigned last of that origin; null if nothing */
export function judge(
  { oldSize, consistencyProof, checkpoint }: ReceivedCheckpoint,
  latest: TreeHead | null,
  hasher: Hasher = portableHasher,
): Judgement {
  const { size, root } = checkpoint;
  const known = latest ?? { size: 0, root: treeRoot([], hasher) };
  if (oldSize > size) return refuse(400, 'The old size is larger than that of the checkpoint.');
  if (oldSize !== known.size) {
    const message = `The checkpoint cosigned last has size ${known.size}, not ${oldSize}.`;
    return { ...refuse(409, message), knownSize: known.size };
  }
  if (oldSize === size && !equalBytes(root, known.root))
    return refuse(409, `The checkpoint cosigned last, of the same size ${size}, has another root.`);
  const proof = { firstSize: oldSize, secondSize: size, path: consistencyProof };
  return verifyConsistency(proof, known.root, root, hasher)
    ? { ok: true }
    : refuse(422, `The proof does not show that the log continues from size ${oldSize}.`);
}

function refuse(status: WitnessRefusal['status'], message: string): { ok: false } & WitnessRefusal {
  return { ok: false, status, message };
}
