import { type ArchivedEvent, checkRecorded, parseArchiveLine } from './archive.ts';
import { base64Encode, equalBytes, hexDecode, hexEncode } from './bytes.ts';
import { type Checkpoint, parseCheckpointNote, workspaceOf } from './checkpoint.ts';
import { type CheckMeanings, createTally, type Report, type Tally } from './checks.ts';
import { ImmutableError } from './errors.ts';
import { type Hasher, portableHasher } from './hash.ts';
import { isJsonObject } from './json.ts';
import { consistencyRanges, rangeHashes, TILE_WIDTH, tilePath, tilesOf, tileWidth } from './tile.ts';
import { type FetchTile, openTileReader, type TileReader, WrongTile } from './tile-reader.ts';
import { leafHash, verifyConsistency } from './tree.ts';
import { checkSigner, checkWitnesses, SIGNATURE_CHECKS, type Trust } from './trust.ts';

const HASH_BYTES = 32;

/** What a follower of a log keeps between two visits. */
export interface LogState {
  origin: string;
  size: number;
  /** Base64. */
  root: string;
  /** The signed note that said so. */
  note: string;
}

export const LOG_STATE_FORMAT = 'imk-log-state/v1';

export function logStateText(state: LogState): string {
  return `${JSON.stringify({ format: LOG_STATE_FORMAT, ...state }, null, 2)}\n`;
}

/** Throws `validation_failed` for anything but a state whose members are those of its note. */
export function parseLogState(text: string): LogState {
  const state = parseJson(text);
  const { format, origin, size, root, note } = isJsonObject(state) ? state : {};
  const checkpoint = typeof note === 'string' ? parseCheckpointNote(note) : null;
  if (
    format !== LOG_STATE_FORMAT ||
    typeof note !== 'string' ||
    checkpoint === null ||
    origin !== checkpoint.origin ||
    size !== checkpoint.size ||
    root !== base64Encode(checkpoint.root)
  ) {
    throw new ImmutableError('validation_failed', 'This is not what a follower of a log keeps.');
  }
  return stateOf(checkpoint, note);
}

function stateOf({ origin, size, root }: Checkpoint, note: string): LogState {
  return { origin, size, root: base64Encode(root), note };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Where a log is read from. Whatever comes from it is checked. */
export interface LogSource {
  /** The latest signed note. */
  checkpoint(): Promise<string>;
  tile: FetchTile;
  /**
   * Events from `first` on, in order, some at a time; those that are gone are left out, and so may be any after the
   * latest checkpoint. Undefined for a source without events.
   */
  events?: (first: number) => AsyncIterable<LogEvents>;
}

/** Some events of a log that stand one behind the other. */
export interface LogEvents {
  /** Each as a line of an archive. */
  lines: () => readonly string[];
  /** What `soundEvents` made of these lines, where it was asked already, on another core perhaps. */
  sound?: SoundEvents | undefined;
}

/**
 * Events without a gap that are what was recorded, each of them, and follow one another. What is left to be
 * checked is whether they are those of the log.
 */
export interface SoundEvents {
  /** That they belong to. */
  workspaceId: string;
  count: number;
  erased: number;
  first: ArchivedEvent;
  last: ArchivedEvent;
  /** The hash of each event, 32 bytes. */
  eventHashes: Uint8Array;
  /** And what it is in the tree. */
  leaves: Uint8Array;
}

/** Every check of a log, in the order in which they are told. */
export const LOG_CHECKS = {
  ...SIGNATURE_CHECKS,
  consistent: {
    proves:
      'the log only grew since the last visit: whatever it held then it holds still, in the same places',
  },
  tiles: { proves: 'every tile that was read belongs to the tree whose root the checkpoint states' },
  line: { proves: 'every event can be read' },
  event_hash: {
    proves: 'the hash of each event is that of its body, number, time and previous hash',
    not: 'that what a body says was true when it was recorded',
  },
  private: { proves: 'the private members of each event are those it was recorded with, or were erased' },
  workspace: { proves: 'each event belongs to the workspace that the checkpoint speaks for' },
  chain: { proves: 'each event names the one before as its predecessor' },
  inclusion: { proves: 'each event is a leaf of the tree, in the place of its number' },
  complete: {
    proves: 'no event that the checkpoint covers is missing behind the first one that is still kept',
  },
} as const satisfies CheckMeanings<string>;

export type LogCheckName = keyof typeof LOG_CHECKS;

const EVENT_CHECKS = [
  'line',
  'event_hash',
  'private',
  'workspace',
  'chain',
  'inclusion',
  'complete',
] as const;

export interface LogReport extends Report<LogCheckName> {
  /** Null where it could not be read. */
  checkpoint: Checkpoint | null;
  /** What to remember; null unless the verdict is `valid`. */
  state: LogState | null;
  covered: Covered;
}

/** What was looked at. */
export interface Covered {
  /** Events that were recomputed. */
  events: number;
  /** The first of them; null if there was none. */
  firstSeq: number | null;
  /** Of these, those whose personal data was erased. */
  erased: number;
  leafTiles: number;
}

export interface LogOptions {
  /** From the last visit; null for the first. */
  state: LogState | null;
  /** Only events that the last visit has not seen. */
  onlyNew?: boolean;
  /** Called now and then with the leaves that are done, and how many there are. */
  onProgress?: (done: number, total: number) => void;
}

/**
 * Checks a whole log as it is now, and against what was remembered of it. Reads each event and each tile of leaves
 * once, and holds a few of each. What the source throws is passed on.
 */
export async function verifyLog(
  source: LogSource,
  trust: Trust,
  options: LogOptions,
  hasher: Hasher = portableHasher,
): Promise<LogReport> {
  const tally = createTally(LOG_CHECKS);
  const covered: Covered = { events: 0, firstSeq: null, erased: 0, leafTiles: 0 };
  const note = await source.checkpoint();
  const checkpoint = parseCheckpointNote(note);
  if (checkpoint === null) {
    tally.problem('checkpoint', 'this is not a signed checkpoint');
    skip(tally, ['witnesses', 'consistent', 'tiles', ...EVENT_CHECKS], 'there is no checkpoint');
  } else {
    const signer = checkSigner(note, checkpoint, trust, hasher);
    tally.settle('checkpoint', signer.outcome, signer.detail);
    const witnessed = checkWitnesses(note, trust, hasher);
    tally.settle('witnesses', witnessed.outcome, witnessed.detail);
    await checkTree({ source, checkpoint, tally, covered, hasher, ...options });
  }
  const report = tally.report();
  const isKept = report.verdict === 'valid' && checkpoint !== null;
  return { ...report, checkpoint, state: isKept ? stateOf(checkpoint, note) : null, covered };
}

function skip(tally: Tally<LogCheckName>, names: readonly LogCheckName[], why: string): void {
  for (const name of names) tally.skip(name, why);
}

/** One visit. */
interface Visit extends LogOptions {
  source: LogSource;
  checkpoint: Checkpoint;
  tally: Tally<LogCheckName>;
  covered: Covered;
  hasher: Hasher;
}

async function checkTree(visit: Visit): Promise<void> {
  const { source, checkpoint, tally, state, hasher } = visit;
  try {
    const tiles = await openTileReader(source.tile, checkpoint, hasher);
    await checkGrowth(visit, tiles);
    if (source.events === undefined) {
      skip(tally, EVENT_CHECKS, 'only the hashes of the events can be had from here');
      await checkLeafTiles(visit, tiles, 0);
      return;
    }
    const from = visit.onlyNew && state?.origin === checkpoint.origin ? state.size : 0;
    if (from >= checkpoint.size) skip(tally, EVENT_CHECKS, 'there are no new events');
    else await checkEvents(visit, tiles, source.events(from + 1), from);
  } catch (error) {
    if (!(error instanceof WrongTile)) throw error;
    tally.problem('tiles', error.message);
    skip(tally, ['inclusion', 'complete'], 'the tiles cannot be relied upon');
    if (visit.covered.events === 0) skip(tally, EVENT_CHECKS, 'the tiles cannot be relied upon');
  }
}

/** Whether the log now begins with all of the log that was remembered. */
async function checkGrowth(
  { checkpoint, tally, state, hasher }: Visit,
  tiles: Pick<TileReader, 'read'>,
): Promise<void> {
  if (state === null) {
    tally.skip('consistent', 'this is the first visit; the next one will be compared with it');
    return;
  }
  const { origin, size, root } = checkpoint;
  const oldRoot = parseCheckpointNote(state.note)?.root ?? new Uint8Array();
  if (state.origin !== origin) {
    tally.problem('consistent', `it was the log ${state.origin}, now it says that it is ${origin}`);
  } else if (size < state.size) {
    tally.problem('consistent', `the log has forgotten events: it had ${state.size}, says ${size}`);
  } else if (size === state.size) {
    if (!equalBytes(oldRoot, root)) {
      tally.problem('consistent', `the log was rewritten: another root for the same ${size} events`);
    }
  } else {
    const ranges = consistencyRanges(state.size, size);
    const path = rangeHashes(ranges, await tiles.read(tilesOf(ranges, size)), hasher);
    if (!verifyConsistency({ firstSize: state.size, secondSize: size, path }, oldRoot, root, hasher)) {
      const detail = `the log was rewritten: its first ${state.size} events are not those of the last visit`;
      tally.problem('consistent', detail);
    }
  }
}

/** The tiles of leaves from the `first` one on. */
async function checkLeafTiles(
  { checkpoint: { size }, covered, onProgress }: Visit,
  tiles: Pick<TileReader, 'leaves'>,
  first: number,
): Promise<void> {
  for (let index = first; index * TILE_WIDTH < size; index += 1) {
    await tiles.leaves(index);
    covered.leafTiles += 1;
    onProgress?.(Math.min(size, (index + 1) * TILE_WIDTH), size);
  }
}

/** Undefined where anything is wrong with the events of these lines, or there are none. */
export function soundEvents(
  lines: readonly string[],
  workspaceId: string,
  hasher: Hasher = portableHasher,
): SoundEvents | undefined {
  const eventHashes = new Uint8Array(lines.length * HASH_BYTES);
  const leaves = new Uint8Array(lines.length * HASH_BYTES);
  let [count, erased, problems] = [0, 0, 0];
  let first: ArchivedEvent | undefined;
  let last: ArchivedEvent | undefined;
  for (const line of lines) {
    const event = parseArchiveLine(line);
    if (event === undefined || (last !== undefined && !follows(event, last))) return undefined;
    checkRecorded(event, workspaceId, () => (problems += 1), hasher);
    const hash = hexDecode(event.event_hash);
    if (problems > 0 || hash === null) return undefined;
    eventHashes.set(hash, count * HASH_BYTES);
    leaves.set(leafHash(hash, hasher), count * HASH_BYTES);
    if (event.private === '') erased += 1;
    count += 1;
    first ??= event;
    last = event;
  }
  if (first === undefined || last === undefined) return undefined;
  return { workspaceId, count, erased, first, last, eventHashes, leaves };
}

function follows(event: ArchivedEvent, before: ArchivedEvent): boolean {
  return (
    event.seq === before.seq + 1 &&
    event.previous_event_hash === before.event_hash &&
    event.created_at > before.created_at
  );
}

/** The events after the first `from`, each by itself, with the one before, and with its leaf. */
async function checkEvents(
  visit: Visit,
  tiles: TileReader,
  events: AsyncIterable<LogEvents>,
  from: number,
): Promise<void> {
  const { checkpoint, tally, covered, hasher, onProgress } = visit;
  const { size } = checkpoint;
  const workspaceId = workspaceOf(checkpoint);
  /** At first the one before that of the last event which is known: the first new one must name it. */
  let tile: { index: number; leaves: Uint8Array } = {
    index: Math.floor(Math.max(0, from - 1) / TILE_WIDTH) - 1,
    leaves: new Uint8Array(),
  };
  let before: ArchivedEvent | undefined;
  let seq = from;

  /** A tile at a time, also over those of events that are gone: they are all that is left of them. */
  async function leafOf(leafIndex: number): Promise<Uint8Array> {
    while (tile.index < Math.floor(leafIndex / TILE_WIDTH)) {
      tile = { index: tile.index + 1, leaves: await tiles.leaves(tile.index + 1) };
      covered.leafTiles += 1;
    }
    return hashAt(tile.leaves, leafIndex % TILE_WIDTH);
  }

  function count(events: number, erased: number, firstSeq: number): void {
    covered.events += events;
    covered.erased += erased;
    covered.firstSeq ??= firstSeq;
  }

  async function checkEvent(event: ArchivedEvent): Promise<void> {
    checkRecorded(event, workspaceId, tally.problem, hasher);
    count(1, event.private === '' ? 1 : 0, event.seq);
    if (event.seq <= seq) {
      tally.problem('complete', `stands after event ${seq}`, event.seq);
      return;
    }
    await checkPredecessor(event);
    const leaf = await leafOf(event.seq - 1);
    if (!isLeafOf(event.event_hash, leaf)) tellWrongLeaf(event.seq, event.event_hash);
    before = event;
    seq = event.seq;
  }

  /** The same, for events of which only their place is left to be checked. */
  async function checkSound(sound: SoundEvents): Promise<void> {
    const { first, last } = sound;
    count(sound.count, sound.erased, first.seq);
    await checkPredecessor(first);
    for (let index = 0; index < sound.count; index += 1) {
      const leafIndex = first.seq - 1 + index;
      const isInTile = Math.floor(leafIndex / TILE_WIDTH) === tile.index;
      const leaf = isInTile ? hashAt(tile.leaves, leafIndex % TILE_WIDTH) : await leafOf(leafIndex);
      if (!equalBytes(hashAt(sound.leaves, index), leaf)) {
        tellWrongLeaf(leafIndex + 1, hexEncode(hashAt(sound.eventHashes, index)));
      }
    }
    before = last;
    seq = last.seq;
  }

  function tellWrongLeaf(eventSeq: number, eventHash: string): void {
    const width = tileWidth({ level: 0, index: tile.index }, size);
    const name = tilePath({ level: 0, index: tile.index, width });
    tally.problem('inclusion', `the hash ${eventHash} is not its leaf in ${name}`, eventSeq);
  }

  async function checkPredecessor(event: ArchivedEvent): Promise<void> {
    if (before !== undefined && event.seq > seq + 1) {
      tally.problem('complete', missing(seq + 1, event.seq - 1));
    }
    const previous = event.previous_event_hash;
    if (before !== undefined && event.created_at <= before.created_at) {
      tally.problem('chain', `is of ${event.created_at}, not later than event ${before.seq}`, event.seq);
    }
    const follows =
      event.seq === 1
        ? previous === ''
        : before?.seq === event.seq - 1
          ? previous === before.event_hash
          : isLeafOf(previous, await leafOf(event.seq - 2));
    if (!follows) tally.problem('chain', `does not follow event ${event.seq - 1}`, event.seq);
  }

  function isLeafOf(eventHash: string, leaf: Uint8Array): boolean {
    const data = hexDecode(eventHash);
    return data?.length === HASH_BYTES && equalBytes(leafHash(data, hasher), leaf);
  }

  async function checkLines(lines: readonly string[]): Promise<void> {
    for (const line of lines) {
      const event = parseArchiveLine(line);
      if (event === undefined) tally.problem('line', `the line after event ${seq} is not an event`);
      // One that came after the checkpoint is for the next visit.
      else if (event.seq <= size) await checkEvent(event);
    }
  }

  for await (const { lines, sound } of events) {
    const isInPlace = sound?.workspaceId === workspaceId && sound.first.seq > seq && sound.last.seq <= size;
    await (isInPlace ? checkSound(sound) : checkLines(lines()));
    onProgress?.(seq, size);
  }
  if (seq < size) tally.problem('complete', missing(seq + 1, size));
  await checkLeafTiles(visit, tiles, tile.index + 1);
  tellCovered(visit, from);
}

function hashAt(hashes: Uint8Array, index: number): Uint8Array {
  return hashes.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES);
}

function missing(first: number, last: number): string {
  const which = first === last ? `event ${first} is` : `events ${first} to ${last} are`;
  return `${which} missing, which the checkpoint covers`;
}

function tellCovered({ tally, covered }: Visit, from: number): void {
  const { firstSeq, erased } = covered;
  if (erased > 0) tally.remark('private', `the personal data of ${erased} events was erased`);
  if (from > 0) tally.remark('complete', `events up to ${from} were checked before`);
  if (firstSeq !== null && firstSeq > from + 1) {
    const which = `events ${from + 1} to ${firstSeq - 1} are not served any more`;
    tally.remark('complete', `${which}: their hashes are in the tree, what they said cannot be checked`);
  }
}
