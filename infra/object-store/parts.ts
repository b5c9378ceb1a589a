/** A stretch of one object, `end` exclusive. */
export interface Piece {
  key: string;
  start: number;
  end: number;
}

const MIB = 1024 ** 2;
const LEAST_PART_BYTES = 8 * MIB;
/** S3's own limits: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html */
const MOST_PARTS = 10_000;
const MOST_OBJECT_BYTES = 5 * 1024 ** 4;

/**
 * How to cut what is made of `sources` into the parts of a multipart upload: all of one size, only the last
 * one shorter (Cloudflare R2 wants them equal, S3 at least 5 MiB). A part of one piece can be copied where
 * it is; one of several has to be fetched and sent.
 * Throws RangeError above 5 TiB.
 */
export function planParts(sources: readonly { key: string; bytes: number }[]): Piece[][] {
  const partBytes = partSize(sources.reduce((sum, { bytes }) => sum + bytes, 0));
  const parts: Piece[][] = [];
  let room = 0;
  for (const { key, bytes } of sources) {
    for (let start = 0; start < bytes; ) {
      if (room === 0) {
        parts.push([]);
        room = partBytes;
      }
      const end = Math.min(bytes, start + room);
      parts.at(-1)?.push({ key, start, end });
      room -= end - start;
      start = end;
    }
  }
  return parts;
}

function partSize(totalBytes: number): number {
  if (totalBytes > MOST_OBJECT_BYTES) throw new RangeError('An object cannot be larger than 5 TiB.');
  return Math.max(LEAST_PART_BYTES, Math.ceil(totalBytes / MOST_PARTS / MIB) * MIB);
}
