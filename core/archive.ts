import { privateDigest } from './canonical.ts';
import { eventHash } from './chain.ts';
import { type CheckMeanings, createTally, type Report } from './checks.ts';
import { ImmutableError } from './errors.ts';
import { shorten } from './findings.ts';
import { type Hasher, portableHasher } from './hash.ts';
import { hasTwins, isJsonObject } from './json.ts';
import { checkSeal, parseSeal, SEAL_CHECKS } from './seal.ts';
import type { Trust } from './trust.ts';

export const ARCHIVE_FORMAT = 'imk-archive/v1';

/** One line of an archive: an event with what it was hashed from, and its place in the chain. */
export interface ArchivedEvent {
  seq: number;
  created_at: string;
  /** Canonical text, byte for byte as it was hashed. */
  body: string;
  /** Canonical text; empty if the personal data was erased. */
  private: string;
  salt: string;
  event_hash: string;
  /** Empty for the first event of a workspace. */
  previous_event_hash: string;
}

/** Stands beside an archive and says what must be in it. */
export interface ArchiveManifest {
  format: typeof ARCHIVE_FORMAT;
  workspace_id: string;
  first_seq: number;
  last_seq: number;
  rows: number;
  first_created_at: string;
  last_created_at: string;
  /** Of the first event; empty if it is the first of its workspace. */
  previous_event_hash: string;
  /** Of the last event: what the oldest event that was kept must follow. */
  event_hash: string;
  /** Of the file as it is stored, compressed. */
  file_bytes: number;
  file_sha256: string;
  /** The signed note that covers the last event, where it was signed before the archive was made. */
  checkpoint?: string | null;
  /** The way from the last event to that checkpoint. */
  inclusion?: { leaf_index: number; tree_size: number; path: string[] } | null;
}

/** The line of an event, without its line feed: the same bytes for the same event, always. */
export function archiveLine(event: ArchivedEvent): string {
  const { seq, created_at, body, salt, event_hash, previous_event_hash } = event;
  return JSON.stringify({
    seq,
    created_at,
    body,
    private: event.private,
    salt,
    event_hash,
    previous_event_hash,
  });
}

/** The event of a line; undefined for anything but the one spelling that `archiveLine` gives it. */
export function parseArchiveLine(text: string): ArchivedEvent | undefined {
  const event = parse(text);
  return isArchivedEvent(event) && archiveLine(event) === text ? event : undefined;
}

/** Throws `validation_failed` for anything that is not the text of a manifest. */
export function parseArchiveManifest(text: string): ArchiveManifest {
  const value = parse(text);
  if (!isManifest(value) || hasTwins(text, value)) {
    throw new ImmutableError('validation_failed', `This is not a manifest of the format ${ARCHIVE_FORMAT}.`);
  }
  parseSeal({ ...value });
  return value;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const EVENT_TEXTS = ['created_at', 'body', 'private', 'salt', 'event_hash', 'previous_event_hash'] as const;

function isArchivedEvent(value: unknown): value is ArchivedEvent {
  return isJsonObject(value) && isCount(value.seq) && EVENT_TEXTS.every((name) => isText(value[name]));
}

const MANIFEST_COUNTS = ['first_seq', 'last_seq', 'rows', 'file_bytes'] as const;
const MANIFEST_TEXTS = [
  'workspace_id',
  'first_created_at',
  'last_created_at',
  'previous_event_hash',
  'event_hash',
  'file_sha256',
] as const;

function isManifest(value: unknown): value is ArchiveManifest {
  return (
    isJsonObject(value) &&
    value.format === ARCHIVE_FORMAT &&
    MANIFEST_COUNTS.every((name) => isCount(value[name])) &&
    MANIFEST_TEXTS.every((name) => isText(value[name]))
  );
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) > 0;
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}

export const ARCHIVE_CHECKS = {
  file: { proves: 'the file has the size and SHA-256 of the manifest' },
  line: { proves: 'every line is an event' },
  event_hash: { proves: 'the hash of each event is that of its body, number, time and previous hash' },
  private: { proves: 'the personal data of each event is what it was recorded with, or was erased' },
  workspace: { proves: 'each event belongs to the workspace of the manifest' },
  chain: { proves: 'each event follows the one before: none is missing, added or moved' },
  manifest: { proves: 'the first and the last event, and their number, are those of the manifest' },
} as const satisfies CheckMeanings<string>;

export type ArchiveCheckName = keyof typeof ARCHIVE_CHECKS;

export interface ArchiveProblem {
  check: ArchiveCheckName;
  /** Of the event concerned, where there is one. */
  seq?: number;
  detail: string;
}

export interface ArchiveReport {
  valid: boolean;
  rows: number;
  /** Events whose personal data was erased before they were archived. */
  erased: number;
  /** Every check that found something. */
  failed: ArchiveCheckName[];
  /** The first twenty. */
  problems: ArchiveProblem[];
}

const MAX_PROBLEMS = 20;

/** Whether an event by itself is what was recorded: its hash, its personal data, its workspace. */
export function checkRecorded(
  event: ArchivedEvent,
  workspaceId: string,
  problem: (check: 'event_hash' | 'private' | 'workspace', detail: string, seq: number) => void,
  hasher: Hasher = portableHasher,
): void {
  const { seq, created_at, body, salt } = event;
  const hash = eventHash(event.previous_event_hash, seq, created_at, body, hasher);
  if (hash !== event.event_hash) problem('event_hash', `computed ${hash}, found ${event.event_hash}`, seq);
  const members = parse(body);
  const { private: digest, workspace_id } = isJsonObject(members) ? members : {};
  if (workspace_id !== workspaceId) problem('workspace', shorten(String(workspace_id)), seq);
  if (event.private !== '' && privateDigest(event.private, salt, hasher) !== digest) {
    problem('private', 'the digest in the body is another', seq);
  }
}

/** Checks an archive event by event, in the memory of one. */
export interface ArchiveChecker {
  /** Gives the event of the line, if it is one. */
  line(text: string): ArchivedEvent | undefined;
  event(event: ArchivedEvent): void;
  /** What the file was found to be; called once, after the last event. */
  end(file: { bytes: number; sha256: string }): ArchiveReport;
}

/** What is in the archive must be what `manifest` says; that the manifest itself is true is for others to show. */
export function createArchiveChecker(
  manifest: ArchiveManifest,
  hasher: Hasher = portableHasher,
): ArchiveChecker {
  const problems: ArchiveProblem[] = [];
  const failed = new Set<ArchiveCheckName>();
  let rows = 0;
  let erased = 0;
  let before = {
    seq: manifest.first_seq - 1,
    event_hash: manifest.previous_event_hash,
    created_at: '',
  };

  function problem(check: ArchiveCheckName, detail: string, seq?: number): void {
    failed.add(check);
    if (problems.length < MAX_PROBLEMS)
      problems.push({ check, detail, ...(seq === undefined ? {} : { seq }) });
  }

  function checkEvent(event: ArchivedEvent): void {
    const { seq, created_at } = event;
    rows += 1;
    if (event.private === '') erased += 1;
    checkRecorded(event, manifest.workspace_id, problem, hasher);
    if (rows === 1 && created_at !== manifest.first_created_at) {
      problem('manifest', `the first event is of ${created_at}, not ${manifest.first_created_at}`, seq);
    }
    if (seq !== before.seq + 1) problem('chain', `stands after event ${before.seq}`, seq);
    else if (event.previous_event_hash !== before.event_hash || created_at <= before.created_at) {
      problem('chain', `does not follow event ${before.seq}`, seq);
    }
    before = { seq, event_hash: event.event_hash, created_at };
  }

  return {
    event: checkEvent,
    line(text) {
      const event = parseArchiveLine(text);
      if (event !== undefined) {
        checkEvent(event);
        return event;
      }
      problem('line', `the line after event ${before.seq} is not an event`);
      return undefined;
    },
    end(file) {
      if (rows !== manifest.rows) problem('manifest', `there are ${rows} events, not ${manifest.rows}`);
      if (before.seq !== manifest.last_seq || before.event_hash !== manifest.event_hash) {
        problem('manifest', `the last event is ${before.seq}, ${before.event_hash}`);
      } else if (before.created_at !== manifest.last_created_at) {
        problem('manifest', `the last event is of ${before.created_at}, not ${manifest.last_created_at}`);
      }
      if (file.bytes !== manifest.file_bytes || file.sha256 !== manifest.file_sha256) {
        problem('file', `it has ${file.bytes} bytes and the SHA-256 ${file.sha256}`);
      }
      return { valid: failed.size === 0, rows, erased, failed: [...failed], problems };
    },
  };
}

/** Every check of an archive, in the order in which they are told. */
export const SEALED_ARCHIVE_CHECKS = { ...ARCHIVE_CHECKS, ...SEAL_CHECKS } as const;

export type SealedArchiveCheckName = keyof typeof SEALED_ARCHIVE_CHECKS;

/**
 * What was found in an archive, and whether a log that the caller trusts has its events. Throws
 * `validation_failed` for a manifest whose checkpoint or inclusion has another form.
 */
export function judgeArchive(
  manifest: ArchiveManifest,
  report: ArchiveReport,
  trust: Trust,
  hasher: Hasher = portableHasher,
): Report<SealedArchiveCheckName> {
  const seal = parseSeal({ ...manifest });
  const tally = createTally(SEALED_ARCHIVE_CHECKS);
  for (const { check, seq, detail } of report.problems) tally.problem(check, detail, seq);
  const told = new Set(report.problems.map(({ check }) => check));
  for (const check of report.failed.filter((name) => !told.has(name))) {
    tally.problem(check, 'more is wrong than is listed');
  }
  if (report.erased > 0) tally.remark('private', `the personal data of ${report.erased} was erased`);
  checkSeal(seal, { seq: manifest.last_seq, ...manifest }, manifest.workspace_id, trust, tally, hasher);
  return tally.report();
}
