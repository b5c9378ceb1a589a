import type { Micros } from '../../core/time.ts';
import { formatTimestamp } from '../../core/time.ts';
import type { ChainRow, QuarantineEntry, Source } from './row.ts';

/** Large enough to be sent in few pieces, small enough never to hold a whole insert as one text. */
const PIECE_CHARACTERS = 512 * 1024;

/** The bytes of one insert in ClickHouse's format TabSeparated, columns as in `EVENT_INSERT_COLUMNS`. */
export function* eventsTsv(
  source: Source,
  rows: readonly ChainRow[],
  chainedAtMicros: Micros,
): Generator<Buffer> {
  const chainedAt = dateTime(formatTimestamp(chainedAtMicros));
  let piece = '';
  for (const row of rows) {
    piece +=
      `${source.partition}\t${source.epoch}\t${row.position.sequence}\t${row.position.index}\t${chainedAt}\t` +
      `${escaped(row.workspaceId)}\t${row.seq}\t${dateTime(row.createdAt)}\t` +
      `${escapedLine(row.body)}\t${escapedLine(row.private)}\t${escapedLine(row.salt)}\t` +
      `${row.eventHash}\t${row.previousEventHash}\n`;
    if (piece.length < PIECE_CHARACTERS) continue;
    yield Buffer.from(piece);
    piece = '';
  }
  yield Buffer.from(piece);
}

/**
 * One row of `quarantine`, columns as in `QUARANTINE_COLUMNS`. The bytes may be anything, so they are
 * escaped byte by byte.
 */
export function quarantineTsv(source: Source, entry: QuarantineEntry): Buffer {
  const { position, workspaceId, reason } = entry;
  const fields = [source.partition, source.epoch, position.sequence, position.index, workspaceId, reason];
  const payload = escaped(Buffer.from(entry.bytes).toString('latin1'));
  return Buffer.concat([
    Buffer.from(`${fields.map((field) => escaped(String(field))).join('\t')}\t`),
    Buffer.from(`${payload}\n`, 'latin1'),
  ]);
}

export const QUARANTINE_COLUMNS = [
  'partition',
  'stream_epoch',
  'stream_seq',
  'stream_index',
  'workspace_id',
  'reason',
  'payload',
] as const;

const SPECIAL = /[\\\t\n\r\0]/;

/** The fields of a queued line have neither tabs nor newlines. */
function escapedLine(text: string): string {
  return text.includes('\\') ? text.replaceAll('\\', '\\\\') : text;
}

function escaped(text: string): string {
  if (!SPECIAL.test(text)) return text;
  return text
    .replaceAll('\\', '\\\\')
    .replaceAll('\t', '\\t')
    .replaceAll('\n', '\\n')
    .replaceAll('\r', '\\r')
    .replaceAll('\0', '\\0');
}

/** `2026-03-15T14:32:18.847312Z` as ClickHouse reads it without guessing: `2026-03-15 14:32:18.847312`. */
function dateTime(timestamp: string): string {
  return `${timestamp.slice(0, 10)} ${timestamp.slice(11, 26)}`;
}
