import { ImmutableError } from '../../core/errors.ts';

/** Far more than a row of an export takes. */
const MAX_RECORD_LENGTH = 8 * 1024 * 1024;

/** Reads CSV (RFC 4180) piece by piece: records that are complete, each a list of cells. */
export interface CsvReader {
  /** Throws `validation_failed` for what is no CSV. */
  push(text: string): string[][];
  /** The last record, if no line end closed it. */
  end(): string[][];
}

export function createCsvReader(): CsvReader {
  let pending = '';

  function take(isEnd: boolean): string[][] {
    const records: string[][] = [];
    let from = 0;
    for (;;) {
      const record = readRecord(pending, from, isEnd);
      if (record === undefined) break;
      records.push(record.cells);
      from = record.end;
    }
    pending = pending.slice(from);
    if (pending.length > MAX_RECORD_LENGTH) throw malformed('a row is longer than any event');
    return records;
  }

  return {
    push(text) {
      pending += text;
      return take(false);
    },
    end: () => take(true),
  };
}

/** The record that begins at `from`, and where the next one does; undefined if it is not all there. */
function readRecord(
  text: string,
  from: number,
  isEnd: boolean,
): { cells: string[]; end: number } | undefined {
  if (from === text.length) return undefined;
  const cells: string[] = [];
  let at = from;
  for (;;) {
    const cell = text[at] === '"' ? readQuoted(text, at, isEnd) : readPlain(text, at);
    if (cell === undefined) return undefined;
    cells.push(cell.value);
    at = cell.end;
    if (text[at] === ',') at += 1;
    else if (text[at] === '\n') return { cells, end: at + 1 };
    else if (text.startsWith('\r\n', at)) return { cells, end: at + 2 };
    else if (at === text.length || (at === text.length - 1 && text[at] === '\r')) {
      return isEnd ? { cells, end: text.length } : undefined;
    } else throw malformed('a quote within a cell is not doubled');
  }
}

interface Cell {
  value: string;
  /** Of what follows it. */
  end: number;
}

function readPlain(text: string, from: number): Cell {
  let end = from;
  while (end < text.length && !',\r\n'.includes(text.charAt(end))) end += 1;
  return { value: text.slice(from, end), end };
}

function readQuoted(text: string, from: number, isEnd: boolean): Cell | undefined {
  let value = '';
  for (let at = from + 1; ; ) {
    const quote = text.indexOf('"', at);
    if (quote === -1) {
      if (isEnd) throw malformed('the file ends within a cell');
      return undefined;
    }
    value += text.slice(at, quote);
    // Whether it is doubled may stand in the piece to come.
    if (quote + 1 === text.length && !isEnd) return undefined;
    if (text[quote + 1] !== '"') return { value, end: quote + 1 };
    value += '"';
    at = quote + 2;
  }
}

function malformed(what: string): ImmutableError {
  return new ImmutableError('validation_failed', `this is no CSV: ${what}`);
}
