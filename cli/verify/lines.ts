import { isAscii } from 'node:buffer';
import { utf8Decode } from '../../core/bytes.ts';
import { ImmutableError } from '../../core/errors.ts';

/** An event takes 256 KiB of text; twice, escaped, and with all around it, far less than this. */
const MAX_LINE_BYTES = 8 * 1024 * 1024;

/**
 * A stream of bytes cut behind lines: as many whole lines at a time as came together, at least `minBytes` of them where
 * there are so many, without the line feed behind the last. Only a line feed ends a line: an event's text may hold
 * other things that elsewhere do. Throws `validation_failed` for a line longer than any event.
 */
export async function* wholeLines(
  chunks: AsyncIterable<Uint8Array>,
  minBytes = 0,
): AsyncGenerator<Uint8Array> {
  let parts: Uint8Array[] = [];
  let bytes = 0;
  /** Behind the last line feed. */
  let restBytes = 0;
  for await (const chunk of chunks) {
    parts.push(chunk);
    bytes += chunk.length;
    const end = chunk.lastIndexOf(LINE_FEED) + 1;
    restBytes = end > 0 ? chunk.length - end : restBytes + chunk.length;
    const isTooLong = restBytes > MAX_LINE_BYTES;
    if (bytes > restBytes && (bytes >= minBytes || isTooLong)) {
      const data = Buffer.concat(parts, bytes);
      yield data.subarray(0, bytes - restBytes - 1);
      parts = restBytes === 0 ? [] : [data.subarray(bytes - restBytes)];
      bytes = restBytes;
    }
    if (isTooLong) throw unreadable('a line is longer than any event');
  }
  if (bytes > 0) yield Buffer.concat(parts, bytes).subarray(0, bytes - (restBytes === 0 ? 1 : 0));
}

const LINE_FEED = 10;

/** The lines of what `wholeLines` gave. Throws `validation_failed` for what is no UTF-8. */
export function linesIn(data: Uint8Array): string[] {
  return textOf(data).split('\n');
}

/** The last line that is not empty. Throws `validation_failed` for what is no UTF-8. */
export function lastLineIn(data: Uint8Array): string | undefined {
  let end = data.length;
  while (end > 0 && data[end - 1] === LINE_FEED) end -= 1;
  return end === 0 ? undefined : textOf(data.subarray(data.lastIndexOf(LINE_FEED, end - 1) + 1, end));
}

function textOf(data: Uint8Array): string {
  // Most are, and these are copied for half of what it takes to decode them.
  if (isAscii(data)) return Buffer.from(data.buffer, data.byteOffset, data.length).toString('latin1');
  const text = utf8Decode(data);
  if (text === null) throw unreadable('the text is not UTF-8');
  return text;
}

function unreadable(what: string): ImmutableError {
  return new ImmutableError('validation_failed', what);
}
