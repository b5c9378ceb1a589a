import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Checkpoint, openNote, parseForeignCheckpoint, type VerifierKey } from '../core/checkpoint.ts';
import { verifyCosignatures } from '../core/cosignature.ts';
import { ImmutableError } from '../core/errors.ts';
import { nativeHasher } from '../infra/hash.ts';
import { savePrivateFile } from '../infra/private-file.ts';
import { originHash } from './files.ts';

/** What the witness cosigned last of one origin. */
export interface Kept {
  checkpoint: Checkpoint;
  /** With the signatures of the log and of this witness. */
  note: string;
}

/** The memory of a witness: one note for each origin. Not for two writers of one origin at a time. */
export interface Keeper {
  /**
   * Null if nothing was cosigned yet. Throws `damaged_message` for a file that is not a note cosigned by this
   * witness: to begin from nothing would be to forget what it vouched for.
   */
  latest(origin: string): Promise<Kept | null>;
  /** The note as it is kept for the origin with this hash; null if there is none. */
  noteByHash(hash: string): Promise<string | null>;
  /** On disk when it resolves; if everything dies before, the note before it is there, or this one. */
  keep(kept: Kept): Promise<void>;
}

/** Some 10 MB of notes. */
const MAX_REMEMBERED = 10_000;

export function createKeeper(folder: string, own: VerifierKey): Keeper {
  const pathOf = (hash: string) => join(folder, hash);
  const noteByHash = (hash: string) => readIfThere(pathOf(hash));
  /** What was verified before: a signature takes longer to verify than everything else does. */
  const verified = new Map<string, Kept>();

  function remember(origin: string, kept: Kept): Kept {
    verified.delete(origin);
    const [oldest] = verified.keys();
    if (verified.size >= MAX_REMEMBERED && oldest !== undefined) verified.delete(oldest);
    verified.set(origin, kept);
    return kept;
  }

  return {
    noteByHash,
    async latest(origin) {
      // The disk has the word; memory only saves what its very bytes would lead to again.
      const note = await noteByHash(originHash(origin));
      if (note === null) return null;
      const known = verified.get(origin);
      return known?.note === note ? known : remember(origin, readKept(note, origin, own));
    },
    async keep(kept) {
      const { origin } = kept.checkpoint;
      await savePrivateFile(pathOf(originHash(origin)), kept.note);
      remember(origin, kept);
    },
  };
}

function readKept(note: string, origin: string, own: VerifierKey): Kept {
  const opened = openNote(note);
  const checkpoint = opened === null ? null : parseForeignCheckpoint(opened.text);
  const verdict = verifyCosignatures(note, [own], nativeHasher);
  if (checkpoint?.origin !== origin || !verdict.ok || verdict.cosignatures.length === 0) {
    throw new ImmutableError('damaged_message', `What was cosigned last of ${origin} cannot be read.`, {
      nextStep: `Restore the file ${originHash(origin)} as it was last; an older one must not take its place.`,
    });
  }
  return { checkpoint, note };
}

async function readIfThere(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
}
