/**
 * A body on its way in. Its pieces are copied into one buffer: a list of them would take a hundred times
 * their size from a client that sends chunks of one byte.
 */
export interface Gathering {
  readonly length: number;
  /** What it takes of our memory: never more than twice its length, or 4 KiB. */
  readonly heldBytes: number;
  /** The piece's own memory may be used again afterwards. */
  add(piece: Uint8Array): void;
  whole(): Buffer;
  /** Begins anew in the same memory: what `whole` gave before is overwritten. */
  empty(): void;
}

const FIRST_BYTES = 4096;

/** @param maxBytes that the body may have; whoever adds keeps to it */
export function createGathering(maxBytes: number): Gathering {
  let held = Buffer.alloc(0);
  let length = 0;

  function makeRoom(needed: number): void {
    if (needed <= held.length) return;
    const larger = Buffer.allocUnsafe(
      Math.max(needed, Math.min(maxBytes, Math.max(FIRST_BYTES, 2 * length))),
    );
    held.copy(larger, 0, 0, length);
    held = larger;
  }

  return {
    get length() {
      return length;
    },
    get heldBytes() {
      return held.length;
    },
    add(piece) {
      makeRoom(length + piece.length);
      held.set(piece, length);
      length += piece.length;
    },
    whole: () => held.subarray(0, length),
    empty() {
      length = 0;
    },
  };
}
