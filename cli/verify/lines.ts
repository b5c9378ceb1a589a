import { isAscii } from 'node:buffer';
import { utf8Decode } from '../../core/bytes.ts';
import { ImmutableError } from '../../core/errors.ts';

/** An event takes 256 KiB of text; twice, escaped, and with all around it, far less than this. */
const MAX_LINE_BYTES = 8 * 1024 * 1024;

/**
 * The lines of a stream of bytes, as many at a time as came together. Only a line feed ends a line: an event's text
 * may hold other things that elsewhere do. Throws `validation_failed` for a line longer than any event, and
 * for what is no UTF-8.
 */
export async function* linesOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string[]> {
  let rest: Uint8Array[] = [];
  let restBytes = 0;
  for await (const chunk of chunks) {
    const end = chunk.lastIndexOf(10) + 1;
    if (end > 0) {
      const lines = textOf([...rest, chunk.subarray(0, end - 1)]).split('\n');
      rest = [];
      restBytes = 0;
      yield lines;
    }
    if (end < chunk.length) rest.push(chunk.subarray(end));
    restBytes += chunk.length - end;
    if (restBytes > MAX_LINE_BYTES) throw unreadable('a line is longer than any event');
  }
  if (restBytes > 0) yield [textOf(rest)];
}

function textOf(parts: readonly Uint8Array[]): string {
  const data = Buffer.concat(parts);
  // Most are, and these are copied for half of what it takes to decode them.
  if (isAscii(data)) return data.toString('latin1');
  const text = utf8Decode(data);
  if (text === null) throw unreadable('the text is not UTF-8');
  return text;
}

function unreadable(what: string): ImmutableError {
  return new ImmutableError('validation_failed', what);
}
