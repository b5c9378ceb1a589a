/** Header lines as they came: name, value, name, value … Names in lower case. */
export type HeaderLines = readonly string[];

/** What was sent several times is joined: whoever reads only one of two lines can be told anything by the other. */
export function headerOf(lines: HeaderLines, name: string): string | undefined {
  let value: string | undefined;
  for (let index = 0; index < lines.length; index += 2) {
    if (lines[index] !== name) continue;
    const line = lines[index + 1] ?? '';
    value = value === undefined ? line : `${value}, ${line}`;
  }
  return value;
}

export type Framing =
  /** `bytes` is undefined for a chunked body, whose length nobody knows before its end. */
  | { ok: true; bytes: number | undefined }
  /** Two readers could disagree where this request ends: it is refused and the connection closed (RFC 9112 §6.3). */
  | { ok: false; problem: string };

const NO_BODY: Framing = { ok: true, bytes: 0 };
const CHUNKED: Framing = { ok: true, bytes: undefined };
const MAX_LENGTH_DIGITS = 15;

/** How long the body says it is. */
export function framingOf(lines: HeaderLines): Framing {
  let length: string | undefined;
  let encoding: string | undefined;
  for (let index = 0; index < lines.length; index += 2) {
    const name = lines[index];
    if (name === 'content-length') {
      if (length !== undefined) return { ok: false, problem: 'Content-Length was sent twice.' };
      length = lines[index + 1] ?? '';
    } else if (name === 'transfer-encoding') {
      if (encoding !== undefined) return { ok: false, problem: 'Transfer-Encoding was sent twice.' };
      encoding = lines[index + 1] ?? '';
    }
  }
  if (encoding !== undefined) {
    if (length !== undefined)
      return { ok: false, problem: 'Content-Length and Transfer-Encoding were both sent.' };
    return encoding.trim().toLowerCase() === 'chunked'
      ? CHUNKED
      : { ok: false, problem: 'Transfer-Encoding must be chunked.' };
  }
  if (length === undefined) return NO_BODY;
  return /^\d+$/.test(length) && length.length <= MAX_LENGTH_DIGITS
    ? { ok: true, bytes: Number(length) }
    : { ok: false, problem: 'Content-Length is not a number.' };
}
