import { utf8Encode } from '../../core/bytes.ts';
import {
  checkpointText,
  encodeVerifierKey,
  type SigningKey,
  signNote,
  verifierKeyOf,
} from '../../core/checkpoint.ts';
import { consistencyPath, leafHash, treeRoot } from '../../core/tree.ts';

/** A log in memory, as a witness sees one. */
export interface SampleLog {
  key: SigningKey;
  origin: string;
  verifierKey: string;
  /** The checkpoint of the first `size` leaves, signed. */
  noteOf(size: number): string;
  proofFrom(oldSize: number, size: number): Promise<Uint8Array[]>;
  /** Another history under the same key, the same up to `size`. */
  forkedAfter(size: number): SampleLog;
}

export function createSampleLog(origin: string, leafCount = 200, seedByte = 1): SampleLog {
  const key = { name: origin, seed: new Uint8Array(32).fill(seedByte) };
  return sampleLog(key, leavesOf('event', leafCount));
}

function leavesOf(what: string, count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, index) => leafHash(utf8Encode(`${what} ${index}`)));
}

function sampleLog(key: SigningKey, leaves: Uint8Array[]): SampleLog {
  const notes = new Map<number, string>();
  function noteOf(size: number): string {
    const known = notes.get(size);
    if (known !== undefined) return known;
    const note = signNote(checkpointText(key.name, size, treeRoot(leaves.slice(0, size))), key);
    notes.set(size, note);
    return note;
  }
  return {
    key,
    origin: key.name,
    verifierKey: encodeVerifierKey(verifierKeyOf(key)),
    noteOf,
    proofFrom: async (oldSize, size) => consistencyPath(leaves.slice(0, size), oldSize),
    forkedAfter: (size) =>
      sampleLog(key, [...leaves.slice(0, size), ...leavesOf('other event', leaves.length).slice(size)]),
  };
}
