import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { utf8Decode } from '../../core/bytes.ts';
import { ImmutableError } from '../../core/errors.ts';
import {
  createExportChecker,
  type ExportChecker,
  type ExportManifest,
  type ExportReport,
} from '../../core/export.ts';
import type { Trust } from '../../core/trust.ts';
import { nativeHasher } from '../../infra/hash.ts';
import { checkAhead } from './checkers.ts';
import { createCsvReader } from './csv.ts';
import { linesIn, wholeLines } from './lines.ts';
import { parquetRows } from './parquet.ts';

const READ_BYTES = 1024 * 1024;

/** Called now and then: bytes of the file that are read, of how many, and rows so far. */
export type OnRead = (bytes: number, of: number, rows: number) => void;

/** Checks the file of an export from its bytes, in memory that does not grow with it. */
export async function verifyExportFile(
  path: string,
  manifest: ExportManifest,
  trust: Trust,
  onRead: OnRead,
): Promise<ExportReport> {
  const checker = countRows(createExportChecker(manifest, trust, nativeHasher), manifest.rows);
  const file = createFileReader(path, (await stat(path)).size, (bytes, of) =>
    onRead(bytes, of, checker.rows()),
  );
  try {
    await READERS[manifest.format](file, checker, manifest);
  } catch (error) {
    if (!(error instanceof ImmutableError) || error.code !== 'validation_failed') throw error;
    checker.unreadable(error.message);
  }
  return checker.end(await file.end());
}

/** So many more than the manifest says are still told one by one. */
const MAX_SURPLUS_ROWS = 1000;

interface CountingChecker extends ExportChecker {
  rows(): number;
  /** Whether so many more rows are not far too many. */
  hasRoom(more: number): boolean;
}

/** Throws `validation_failed` for the first row that is far too many. */
function countRows(checker: ExportChecker, expected: number): CountingChecker {
  let rows = 0;
  const hasRoom = (more: number) => rows + more <= expected + MAX_SURPLUS_ROWS;
  const counting =
    <Row>(check: (row: Row) => void) =>
    (row: Row) => {
      if (!hasRoom(1)) {
        throw new ImmutableError('validation_failed', 'there are far more rows than the manifest says');
      }
      rows += 1;
      check(row);
    };
  return {
    ...checker,
    line: counting(checker.line),
    row: counting(checker.row),
    link: counting(checker.link),
    append(more) {
      rows += more.rows;
      checker.append(more);
    },
    rows: () => rows,
    hasRoom,
  };
}

type Read = (file: FileReader, checker: CountingChecker, manifest: ExportManifest) => Promise<void>;

const READERS: Readonly<Record<ExportManifest['format'], Read>> = {
  async ndjson(file, checker, manifest) {
    const sections = wholeLines(file.chunks());
    for await (const { data, section } of checkAhead({ kind: 'export', manifest }, sections, file.size)) {
      if (section.rows !== undefined && checker.hasRoom(section.rows.rows)) checker.append(section.rows);
      else for (const line of linesIn(data)) checker.line(line);
    }
  },

  async csv(file, checker) {
    let columns: CsvColumns | undefined;
    for await (const records of csvRecords(file.chunks())) {
      for (const cells of records) {
        if (columns === undefined) columns = columnsOf(cells);
        else checker.link(linkOf(cells, columns));
      }
    }
  },

  async parquet(file, checker, manifest) {
    for await (const rows of parquetRows(file.path, manifest.rows)) {
      for (const row of rows) checker.row(row);
    }
  },
};

// --- The file --------------------------------------------------------------------------------------

/** Reads a file once, and knows at the end what it was. */
interface FileReader {
  path: string;
  /** In bytes, as it was when it was opened. */
  size: number;
  chunks(): AsyncGenerator<Uint8Array>;
  /** Reads what nobody has read yet. */
  end(): Promise<{ bytes: number; sha256: string }>;
}

function createFileReader(
  path: string,
  size: number,
  onRead: (bytes: number, of: number) => void,
): FileReader {
  const hash = createHash('sha256');
  const stream = createReadStream(path, { highWaterMark: READ_BYTES });
  let bytes = 0;
  async function* chunks(): AsyncGenerator<Uint8Array> {
    for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
      if (!(chunk instanceof Uint8Array)) continue;
      hash.update(chunk);
      bytes += chunk.length;
      yield chunk;
      onRead(bytes, size);
    }
  }
  return {
    path,
    size,
    chunks,
    async end() {
      for await (const _ of chunks());
      return { bytes, sha256: hash.digest('hex') };
    },
  };
}

// --- CSV -------------------------------------------------------------------------------------------

async function* csvRecords(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string[][]> {
  const reader = createCsvReader();
  let isFirst = true;
  for await (const text of textsOf(chunks)) {
    yield reader.push(isFirst ? text.replace(/^\ufeff/, '') : text);
    isFirst = false;
  }
  yield reader.end();
}

/** Cut between characters. */
async function* textsOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let rest: Uint8Array = new Uint8Array();
  for await (const chunk of chunks) {
    const data = Buffer.concat([rest, chunk]);
    const end = endOfCharacters(data);
    yield decoded(data.subarray(0, end));
    rest = data.subarray(end);
  }
  yield decoded(rest);
}

/** Where the last character begins that may be cut off. */
function endOfCharacters(data: Uint8Array): number {
  for (let end = data.length; end > Math.max(0, data.length - 4); end -= 1) {
    const byte = data[end - 1] ?? 0;
    if (byte < 0x80) return end;
    if (byte >= 0xc0) return end - 1;
  }
  return data.length;
}

function decoded(data: Uint8Array): string {
  const text = utf8Decode(data);
  if (text === null) throw new ImmutableError('validation_failed', 'the text is not UTF-8');
  return text;
}

type CsvColumns = Record<'seq' | 'event_hash' | 'previous_event_hash', number>;

function columnsOf(names: readonly string[]): CsvColumns {
  const columns = {
    seq: names.indexOf('seq'),
    event_hash: names.indexOf('event_hash'),
    previous_event_hash: names.indexOf('previous_event_hash'),
  };
  if (Object.values(columns).includes(-1)) {
    throw new ImmutableError('validation_failed', 'the header lacks seq, event_hash or previous_event_hash');
  }
  return columns;
}

function linkOf(cells: readonly string[], columns: CsvColumns) {
  const seq = cells[columns.seq] ?? '';
  return {
    seq: /^[1-9]\d*$/.test(seq) ? Number(seq) : seq,
    event_hash: cells[columns.event_hash],
    previous_event_hash: cells[columns.previous_event_hash] || null,
  };
}
