import { base64Decode, base64Encode } from './bytes.ts';
import {
  type Checkpoint,
  type NoteSignature,
  type OpenedNote,
  openNote,
  parseForeignCheckpoint,
  parseTreeSize,
} from './checkpoint.ts';
import { ImmutableError } from './errors.ts';

/** What goes over the wire between a log and a witness: `add-checkpoint` of C2SP tlog-witness. */

/** Below the witness's submission prefix. */
export const ADD_CHECKPOINT_PATH = '/add-checkpoint';

/** Media type of the answer that tells which size the witness knows. */
export const SIZE_MEDIA_TYPE = 'text/x.tlog.size';

/** A proof between two trees of up to 2^63 leaves has no more hashes. */
export const MAX_PROOF_LINES = 63;
const HASH_BYTES = 32;

export interface AddCheckpoint {
  /** Of the checkpoint that the witness is believed to have cosigned last; 0 for none. */
  oldSize: number;
  /** From there to the size of the checkpoint. */
  consistencyProof: readonly Uint8Array[];
  /** A signed note with the checkpoint. */
  note: string;
}

/** Throws `internal` for a request that no witness would read. */
export function encodeAddCheckpoint({ oldSize, consistencyProof, note }: AddCheckpoint): string {
  const proofLines = consistencyProof.map((hash) => `${base64Encode(hash)}\n`).join('');
  const body = `old ${oldSize}\n${proofLines}\n${note}`;
  if (parseAddCheckpoint(body) === null)
    throw new ImmutableError('internal', `not a request to a witness: ${body.slice(0, 200)}`);
  return body;
}

/** Nothing in it is to be believed before the signature of its log was verified. */
export interface ReceivedCheckpoint extends AddCheckpoint {
  /** The note taken apart. */
  opened: OpenedNote;
  /** As its text says. */
  checkpoint: Checkpoint;
}

/** Null for whatever is not to the letter such a request. */
export function parseAddCheckpoint(body: string): ReceivedCheckpoint | null {
  const headEnd = body.indexOf('\n\n');
  if (headEnd < 0) return null;
  const [oldLine = '', ...proofLines] = body.slice(0, headEnd).split('\n');
  const oldSize = oldLine.startsWith(OLD) ? parseTreeSize(oldLine.slice(OLD.length)) : null;
  const consistencyProof = parseProof(proofLines);
  const note = body.slice(headEnd + 2);
  const opened = openNote(note);
  const checkpoint = opened === null ? null : parseForeignCheckpoint(opened.text);
  if (oldSize === null || consistencyProof === null || opened === null || checkpoint === null) return null;
  return { oldSize, consistencyProof, note, opened, checkpoint };
}

const OLD = 'old ';

function parseProof(lines: readonly string[]): Uint8Array[] | null {
  if (lines.length > MAX_PROOF_LINES) return null;
  const hashes = lines.map(base64Decode).filter((hash) => hash?.length === HASH_BYTES);
  return hashes.length === lines.length ? hashes.filter((hash) => hash !== null) : null;
}

/** The body that says which size the witness cosigned last. */
export function encodeSize(size: number): string {
  return `${size}\n`;
}

/** Null for whatever is not to the letter such a body. */
export function parseSize(body: string): number | null {
  return body.endsWith('\n') ? parseTreeSize(body.slice(0, -1)) : null;
}

/** The signatures in a witness's answer to the note with this text; null unless it is made of nothing else. */
export function parseSignatureLines(body: string, text: string): NoteSignature[] | null {
  const opened = openNote(`${text}\n${body}`);
  return opened?.text === text ? opened.signatures : null;
}
