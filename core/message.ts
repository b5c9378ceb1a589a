import { equalBytes, utf8Decode, utf8Encode, utf8EncodeAll } from './bytes.ts';
import { ImmutableError } from './errors.ts';
import { formatTimestamp, type Micros, parseTimestamp } from './time.ts';

/**
 * The payloads of the streams EVENTS and CHAINED: a header line and one line per event, fields set apart by
 * tabs. Canonical JSON holds neither a raw tab nor a raw newline, so nothing is escaped, and the texts that
 * were hashed pass through every stage byte by byte.
 *
 *     imk-queued/1 ⇥ checksum ⇥ workspace ⇥ received at ⇥ count
 *     id ⇥ k|- ⇥ salt ⇥ body ⇥ private                                    (k: the id is made from a key)
 *
 *     imk-chained/1 ⇥ checksum ⇥ workspace ⇥ first seq ⇥ count
 *     id ⇥ seq ⇥ created at ⇥ event hash ⇥ previous hash ⇥ salt ⇥ body ⇥ private
 *
 * The checksum is the CRC-32, eight hex digits, of all bytes after the tab that follows it: it finds damage,
 * it proves nothing.
 */

/** An accepted event on its way to the chain. */
export interface QueuedEvent {
  id: string;
  /** Whether the id comes from an idempotency key, so that it may come again. */
  keyed: boolean;
  salt: string;
  body: string;
  private: string;
}

export interface QueuedMessage {
  workspaceId: string;
  receivedAtMicros: Micros;
  events: QueuedEvent[];
}

/** An event with its place in the chain of its workspace. */
export interface ChainedEvent {
  id: string;
  seq: number;
  /** RFC 3339 UTC, six fraction digits. */
  createdAt: string;
  eventHash: string;
  /** Empty for the first event of the chain. */
  previousEventHash: string;
  salt: string;
  body: string;
  private: string;
}

/** At least one event, their `seq` without a gap. */
export interface ChainedMessage {
  workspaceId: string;
  events: ChainedEvent[];
}

/** CRC-32 (IEEE 802.3), passed in because the fast one is the platform's. */
export type Crc32 = (data: Uint8Array) => number;

export function encodeQueued(message: QueuedMessage, crc32: Crc32): Uint8Array {
  const lines = message.events.map(encodeQueuedLine);
  return queuedMessageFromLines(message.workspaceId, message.receivedAtMicros, lines, crc32);
}

/** One event's line, its newline included, so that the edge knows the size of a message before it makes it. */
export function encodeQueuedLine(event: QueuedEvent): string {
  return `${event.id}\t${event.keyed ? 'k' : '-'}\t${event.salt}\t${event.body}\t${event.private}\n`;
}

/** The payload of EVENTS made of lines by `encodeQueuedLine`. */
export function queuedMessageFromLines(
  workspaceId: string,
  receivedAtMicros: Micros,
  lines: readonly string[],
  crc32: Crc32,
): Uint8Array {
  const receivedAt = formatTimestamp(receivedAtMicros);
  return seal(QUEUED, [`${workspaceId}\t${receivedAt}\t${lines.length}\n`, ...lines], crc32);
}

/** Throws `damaged_message` for bytes that are not exactly what `encodeQueued` makes. */
export function decodeQueued(data: Uint8Array, crc32: Crc32): QueuedMessage {
  const { workspaceId, position, lines } = openMessage(QUEUED, data, crc32);
  const receivedAtMicros = parseTimestamp(position);
  if (receivedAtMicros === null) throw damaged('its time of receipt cannot be read');
  return { workspaceId, receivedAtMicros, events: lines.map(readQueuedLine) };
}

function readQueuedLine(line: string): QueuedEvent {
  const [id, mark, salt, body, privateText, ...surplus] = line.split('\t');
  const isWhole = id && salt && body && privateText && surplus.length === 0;
  if (!isWhole || (mark !== 'k' && mark !== '-'))
    throw damaged('a line has not the fields of a queued event');
  return { id, keyed: mark === 'k', salt, body, private: privateText };
}

/** Throws `internal` for a message without events. */
export function encodeChained(message: ChainedMessage, crc32: Crc32): Uint8Array {
  const [first] = message.events;
  if (first === undefined) throw new ImmutableError('internal', 'a chained message needs an event');
  const lines = message.events.map(encodeChainedLine);
  return seal(CHAINED, [`${message.workspaceId}\t${first.seq}\t${lines.length}\n`, ...lines], crc32);
}

function encodeChainedLine(event: ChainedEvent): string {
  return (
    `${event.id}\t${event.seq}\t${event.createdAt}\t${event.eventHash}\t${event.previousEventHash}\t` +
    `${event.salt}\t${event.body}\t${event.private}\n`
  );
}

/** Throws `damaged_message` for bytes that are not exactly what `encodeChained` makes. */
export function decodeChained(data: Uint8Array, crc32: Crc32): ChainedMessage {
  const { workspaceId, position, lines } = openMessage(CHAINED, data, crc32);
  const firstSeq = parseCount(position);
  if (firstSeq === null || lines.length === 0) throw damaged('its first seq cannot be read');
  return { workspaceId, events: lines.map((line, index) => readChainedLine(line, firstSeq + index)) };
}

function readChainedLine(line: string, expectedSeq: number): ChainedEvent {
  const [id, seqText, createdAt, eventHash, previousEventHash, salt, body, privateText, ...surplus] =
    line.split('\t');
  const isWhole =
    id && createdAt && eventHash && previousEventHash !== undefined && salt && body && privateText;
  if (!isWhole || surplus.length > 0) throw damaged('a line has not the fields of a chained event');
  if (seqText !== String(expectedSeq))
    throw damaged(`seq ${expectedSeq} is expected where ${seqText} stands`);
  return { id, seq: expectedSeq, createdAt, eventHash, previousEventHash, salt, body, private: privateText };
}

const QUEUED = 'imk-queued/1';
const CHAINED = 'imk-chained/1';
const CHECKSUM_LENGTH = 8;

function seal(format: string, content: string[], crc32: Crc32): Uint8Array {
  const prefix = `${format}\t`;
  const data = utf8EncodeAll([`${prefix}${'0'.repeat(CHECKSUM_LENGTH)}\t`, ...content]);
  const checksum = checksumText(data.subarray(prefix.length + CHECKSUM_LENGTH + 1), crc32);
  data.set(utf8Encode(checksum), prefix.length);
  return data;
}

interface OpenedMessage {
  workspaceId: string;
  /** The header's third field, whose meaning is the format's. */
  position: string;
  lines: string[];
}

function openMessage(format: string, data: Uint8Array, crc32: Crc32): OpenedMessage {
  const [header = '', ...lines] = decodeLines(unseal(format, data, crc32));
  const [workspaceId, position, countText, ...surplus] = header.split('\t');
  if (!workspaceId || !position || countText === undefined || surplus.length > 0) {
    throw damaged('its header cannot be read');
  }
  if (parseCount(countText) !== lines.length) {
    throw damaged(`${countText} events are announced, ${lines.length} are there`);
  }
  return { workspaceId, position, lines };
}

/** The bytes after the checksum, once that holds. */
function unseal(format: string, data: Uint8Array, crc32: Crc32): Uint8Array {
  const contentStart = format.length + CHECKSUM_LENGTH + 2;
  const content = data.subarray(contentStart);
  const expectedStart = utf8Encode(`${format}\t${checksumText(content, crc32)}\t`);
  if (!equalBytes(data.subarray(0, contentStart), expectedStart)) {
    throw damaged(`it does not begin with ${format} and its checksum`);
  }
  return content;
}

/**
 * Line by line: one character beyond Latin-1 makes a whole text take twice the memory and time, and an id that
 * is remembered would keep alive all the text it was cut from.
 */
function decodeLines(data: Uint8Array): string[] {
  const lines: string[] = [];
  let start = 0;
  while (start < data.length) {
    const end = data.indexOf(NEWLINE, start);
    const line = end < 0 ? null : utf8Decode(data.subarray(start, end));
    if (line === null) throw damaged('a line is not UTF-8 ended by a newline');
    lines.push(line);
    start = end + 1;
  }
  return lines;
}

const NEWLINE = 10;

function checksumText(data: Uint8Array, crc32: Crc32): string {
  return (crc32(data) >>> 0).toString(16).padStart(CHECKSUM_LENGTH, '0');
}

/** A decimal count in its only spelling, or null. */
function parseCount(text: string): number | null {
  const count = Number(text);
  return Number.isSafeInteger(count) && count >= 0 && String(count) === text ? count : null;
}

function damaged(why: string): ImmutableError {
  return new ImmutableError('damaged_message', `the message is damaged: ${why}`);
}
