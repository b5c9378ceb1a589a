import { canonicalTexts, privateDigest } from './canonical.ts';
import { eventHash } from './chain.ts';
import { type CheckMeanings, createTally, type Report } from './checks.ts';
import { ImmutableError } from './errors.ts';
import { type CompleteEvent, EVENT_FIELDS, type EventField, type TextName } from './event.ts';
import { shorten } from './findings.ts';
import { type Hasher, portableHasher } from './hash.ts';
import { canonicalJson, hasTwins, isJsonObject, type JsonObject } from './json.ts';
import { checkSeal, parseSeal, SEAL_CHECKS, type Seal } from './seal.ts';
import { isCanonicalTimestamp, parseTimestamp } from './time.ts';
import type { Trust } from './trust.ts';

/** What the `version` member of a manifest says of its shape. */
export const EXPORT_MANIFEST_VERSION = 'immutable/export/v1';

/** Stands beside an export and says what is in it; as far as a verifier reads it. */
export interface ExportManifest extends Seal {
  workspace_id: string;
  file_name: string;
  format: 'csv' | 'ndjson' | 'parquet';
  /** Nothing was filtered but the time: every event from the first to the last is in the file. */
  complete: boolean;
  rows: number;
  file_size: number;
  sha256: string;
  /** Null where there is no row. */
  first: ExportEnd | null;
  last: ExportEnd | null;
}

export interface ExportEnd {
  seq: number;
  event_hash: string;
  previous_event_hash: string | null;
}

/** Throws `validation_failed` for anything that is not the text of a manifest. */
export function parseExportManifest(text: string): ExportManifest {
  const value = parseJson(text);
  if (isJsonObject(value) && hasTwins(text, value)) throw malformed('a member stands twice');
  if (!isJsonObject(value) || value.version !== EXPORT_MANIFEST_VERSION) {
    throw malformed(`version must be ${EXPORT_MANIFEST_VERSION}`);
  }
  const { workspace_id, file_name, format, complete, rows, file_size, sha256 } = value;
  if (typeof workspace_id !== 'string' || typeof file_name !== 'string' || typeof sha256 !== 'string') {
    throw malformed('workspace_id, file_name and sha256 must be texts');
  }
  if (format !== 'csv' && format !== 'ndjson' && format !== 'parquet') {
    throw malformed('format must be csv, ndjson or parquet');
  }
  if (typeof complete !== 'boolean') throw malformed('complete must be true or false');
  if (!isCount(rows) || !isCount(file_size)) throw malformed('rows and file_size must be whole numbers');
  return {
    workspace_id,
    file_name,
    format,
    complete,
    rows,
    file_size,
    sha256,
    first: parseEnd(value.first, 'first'),
    last: parseEnd(value.last, 'last'),
    ...parseSeal(value),
  };
}

function parseEnd(value: unknown, path: string): ExportEnd | null {
  if (value === null) return null;
  const { seq, event_hash, previous_event_hash } = isJsonObject(value) ? value : {};
  if (!isCount(seq) || typeof event_hash !== 'string' || !isTextOrNull(previous_event_hash)) {
    throw malformed(`${path} must be null or say seq, event_hash and previous_event_hash`);
  }
  return { seq, event_hash, previous_event_hash };
}

function malformed(what: string): ImmutableError {
  return new ImmutableError('validation_failed', `This is not the manifest of an export: ${what}.`);
}

/** Every check of an export, in the order in which they are told. */
export const EXPORT_CHECKS = {
  file: {
    proves: 'the file has the size and SHA-256 of the manifest',
    not: 'that the manifest is true: it is not signed',
  },
  row: { proves: 'every row can be read' },
  event_hash: {
    proves: 'the hash of each row is that of its body, number, time and previous hash',
    not: 'that what a body says was true when it was recorded',
  },
  private: { proves: 'the private members of each row are those it was recorded with, or were erased' },
  cells: { proves: 'each cell says what the hashed texts of its row say' },
  workspace: { proves: 'each row belongs to the workspace of the manifest, and the checkpoint to the same' },
  chain: {
    proves: 'each row follows the one before: between the first and the last none is missing, added or moved',
  },
  ends: { proves: 'the first and the last row, and their number, are those of the manifest' },
  ...SEAL_CHECKS,
} as const satisfies CheckMeanings<string>;

export type ExportCheckName = keyof typeof EXPORT_CHECKS;

export interface ExportReport extends Report<ExportCheckName> {
  rows: number;
  /** Rows whose personal data was erased. */
  erased: number;
}

/** Rows that stand one behind the other, nothing being wrong with any of them or between two. */
export interface SoundRows {
  rows: number;
  erased: number;
  first: PlacedRow;
  last: PlacedRow;
  /** So many of them come before the last one that the row behind it does not name as its predecessor. */
  unlinked: number;
}

/** Where a row stands in the chain and in time. */
export interface PlacedRow extends ExportEnd {
  /** Null where nothing vouches for it, as in CSV. */
  created_at: string | null;
}

/** Checks an export row by row, in the memory of one. */
export interface ExportChecker {
  /** A line of an NDJSON file. */
  line(text: string): void;
  /** A row as a line of NDJSON holds it. */
  row(row: unknown): void;
  /** A row of which nothing is known but its place in the chain, as in CSV. */
  link(row: { seq: unknown; event_hash: unknown; previous_event_hash: unknown }): void;
  /** Rows that were lines of another checker with the same manifest, whose `sound` this is. */
  append(rows: SoundRows): void;
  /** The rows so far; undefined where there are none, or something is wrong with them. */
  sound(): SoundRows | undefined;
  /** The rest of the file cannot be read. */
  unreadable(detail: string): void;
  /** What the file was found to be; called once, after the last row. */
  end(file: { bytes: number; sha256: string }): ExportReport;
}

/** @param trust whose checkpoints are believed; what the manifest says is only ever compared */
export function createExportChecker(
  manifest: ExportManifest,
  trust: Trust,
  hasher: Hasher = portableHasher,
): ExportChecker {
  const tally = createTally(EXPORT_CHECKS);
  let rows = 0;
  let erased = 0;
  let first: PlacedRow | undefined;
  let last: PlacedRow | undefined;
  /** Rows that the one behind them does not name as its predecessor. */
  let unlinked = 0;

  function checkRow(row: unknown): void {
    rows += 1;
    const texts = readRow(row);
    if (typeof texts === 'string') {
      tally.problem('row', `row ${rows}: ${texts}`);
      return;
    }
    if (texts.private === '') erased += 1;
    if (!isIntact(texts, manifest.workspace_id, hasher)) explain(texts);
    const { seq, created_at, body, event_hash, previous_event_hash } = texts;
    const hash = eventHash(previous_event_hash ?? '', seq, created_at, body, hasher);
    if (hash !== event_hash) {
      tally.problem('event_hash', `computed ${hash}, found ${shorten(event_hash)}`, seq);
    }
    follow(texts);
  }

  /** What is wrong with a row that is not exactly what its cells make it. */
  function explain(texts: RowTexts): void {
    const { seq, row } = texts;
    checkColumns(row, seq);
    const body = readCanonical(texts.body);
    if (body === undefined) tally.problem('event_hash', 'the body is not canonical JSON', seq);
    else {
      if (body.workspace_id !== manifest.workspace_id) {
        tally.problem('workspace', `it belongs to ${show(body.workspace_id)}`, seq);
      }
      compareCells(row, body, 'body', seq);
    }
    if (texts.private === '') {
      compareCells(row, {}, 'private', seq);
      return;
    }
    const personal = readCanonical(texts.private);
    if (personal === undefined) tally.problem('private', 'the private text is not canonical JSON', seq);
    else compareCells(row, personal, 'private', seq);
    if (body !== undefined && privateDigest(texts.private, texts.salt, hasher) !== body.private) {
      tally.problem('private', 'the digest in the body is another', seq);
    }
  }

  /** One that an export does not have would say something that no text covers. */
  function checkColumns(row: JsonObject, seq: number): void {
    for (const name of Object.keys(row)) {
      if (!COLUMNS.has(name)) tally.problem('cells', `${show(name)} is no column of an export`, seq);
    }
    for (const name of COLUMNS) {
      if (row[name] === undefined) tally.problem('cells', `the column ${name} is missing`, seq);
    }
  }

  function compareCells(row: JsonObject, text: JsonObject, name: TextName, seq: number): void {
    for (const field of CELLS[name]) {
      const [cell, recorded] = [row[field.name] ?? null, text[field.name] ?? absent(field)];
      if (sameValue(cell, recorded)) continue;
      tally.problem('cells', `${field.name} is ${show(cell)}, the ${name} text says ${show(recorded)}`, seq);
    }
  }

  function follow(row: PlacedRow): void {
    first ??= row;
    if (last !== undefined) {
      if (row.created_at !== null && last.created_at !== null && row.created_at <= last.created_at) {
        tally.problem('chain', `is of ${row.created_at}, not after ${last.created_at}`, row.seq);
      }
      const isNext = row.seq === last.seq + 1;
      const isLinked = isNext && row.previous_event_hash === last.event_hash;
      if (!isLinked) unlinked = rows - 1;
      if (row.seq <= last.seq) tally.problem('chain', `stands after event ${last.seq}`, row.seq);
      else if (isNext && !isLinked) tally.problem('chain', `does not follow event ${last.seq}`, row.seq);
      else if (!isNext && manifest.complete) {
        tally.problem('chain', `stands after event ${last.seq}: what is between is missing`, row.seq);
      }
    }
    last = row;
  }

  function checkEnds(): void {
    if (rows !== manifest.rows) tally.problem('ends', `there are ${rows} rows, not ${manifest.rows}`);
    for (const [name, found, stated] of [
      ['first', first, manifest.first],
      ['last', last, manifest.last],
    ] as const) {
      if (found === undefined && stated === null) continue;
      if (found === undefined) tally.problem('ends', `the ${name} row, event ${stated?.seq}, is missing`);
      else if (
        found.seq !== stated?.seq ||
        found.event_hash !== stated.event_hash ||
        found.previous_event_hash !== stated.previous_event_hash
      ) {
        const expected = stated === null ? 'none' : `event ${stated.seq}, ${shorten(stated.event_hash)}`;
        tally.problem('ends', `the ${name} row is this, not ${expected}`, found.seq);
      }
    }
  }

  function settleChain(): void {
    if (unlinked > 0 && !manifest.complete) {
      const which = `${unlinked} of ${rows} rows are not linked to the last one`;
      tally.settle('chain', 'unknown_signer', `${which}, since the export is filtered: ${ASK_FOR_EVIDENCE}`);
    }
  }

  function checkLine(text: string): void {
    const row = parseJson(text);
    checkRow(row);
    if (isJsonObject(row) && hasTwins(withoutTexts(text), row)) {
      tally.problem('row', `row ${rows}: a member stands twice, with two values to choose from`);
    }
  }

  return {
    line: checkLine,
    row: checkRow,
    link({ seq, event_hash, previous_event_hash }) {
      rows += 1;
      if (isCount(seq) && typeof event_hash === 'string' && isTextOrNull(previous_event_hash)) {
        follow({ seq, created_at: null, event_hash, previous_event_hash });
      } else tally.problem('row', `row ${rows} has not the cells of an event`);
    },
    append(more) {
      const before = rows;
      rows += 1;
      follow(more.first);
      rows = before + more.rows;
      erased += more.erased;
      if (more.unlinked > 0) unlinked = before + more.unlinked;
      last = more.last;
    },
    sound() {
      if (first === undefined || last === undefined || tally.hasProblems()) return undefined;
      return { rows, erased, first: placeOf(first), last: placeOf(last), unlinked };
    },
    unreadable: (detail) => tally.problem('row', `after row ${rows}: ${detail}`),
    end(file) {
      if (file.bytes !== manifest.file_size || file.sha256 !== manifest.sha256) {
        tally.problem('file', `it has ${file.bytes} bytes and the SHA-256 ${file.sha256}`);
      }
      checkEnds();
      settleChain();
      if (manifest.format === 'csv') {
        for (const name of ['event_hash', 'private', 'workspace'] as const) tally.skip(name, NO_TEXTS);
        tally.settle('cells', 'unknown_signer', UNVOUCHED_CELLS);
      } else if (erased > 0) tally.remark('private', `the personal data of ${erased} rows was erased`);
      checkSeal(manifest, last, manifest.workspace_id, trust, tally, hasher);
      return { ...tally.report(), rows, erased };
    },
  };
}

const ASK_FOR_EVIDENCE =
  'nothing shows that the log has them; ask for an export without filters, or for the evidence of each';
const NO_TEXTS = 'a CSV file does not hold the texts that were hashed';
const UNVOUCHED_CELLS = `${NO_TEXTS}, so nobody vouches for its cells: ask for NDJSON or Parquet`;

/** Of a row that may hold far more. */
function placeOf({ seq, created_at, event_hash, previous_event_hash }: PlacedRow): PlacedRow {
  return { seq, created_at, event_hash, previous_event_hash };
}

// --- One row ---------------------------------------------------------------------------------------

/** What a row was hashed from, each of the form without which the hashed text could be cut in two ways. */
interface RowTexts extends PlacedRow {
  created_at: string;
  body: string;
  /** Empty where it was erased. */
  private: string;
  salt: string;
  /** With all its cells. */
  row: JsonObject;
}

/** Or what is wrong with it. */
function readRow(row: unknown): RowTexts | string {
  if (!isJsonObject(row)) return 'is not a JSON object';
  const { seq, created_at, body, private: personal, salt, event_hash, previous_event_hash } = row;
  if (!isCount(seq) || seq === 0) return 'seq is not a whole number above 0';
  if (
    typeof created_at !== 'string' ||
    !isCanonicalTimestamp(created_at) ||
    parseTimestamp(created_at) === null
  )
    return 'created_at is not a time in UTC with six fraction digits';
  if (typeof body !== 'string' || typeof personal !== 'string' || typeof salt !== 'string')
    return 'body, private or salt is not a text';
  if (typeof event_hash !== 'string' || !isTextOrNull(previous_event_hash))
    return 'event_hash or previous_event_hash is not a text';
  if (previous_event_hash === null ? seq !== 1 : seq === 1 || !HASH.test(previous_event_hash))
    return `previous_event_hash is ${show(previous_event_hash)}`;
  return { seq, created_at, body, private: personal, salt, event_hash, previous_event_hash, row };
}

const HASH = /^[\da-f]{64}$/;

/**
 * Whether the cells of a row, written as the edge writes an event, give exactly its two texts: then the cells are
 * true, the texts canonical and the digest right. That is a single comparison, where to read both texts and compare
 * what they hold takes twice as long.
 */
function isIntact(
  { row, body, private: personal, salt }: RowTexts,
  workspaceId: string,
  hasher: Hasher,
): boolean {
  const event = Object.keys(row).length === COLUMNS.size ? eventOf(row, workspaceId) : undefined;
  if (event === undefined) return false;
  try {
    const texts = canonicalTexts(event, salt, hasher);
    return texts.body === body && texts.private === personal;
  } catch {
    return false; // what canonical JSON cannot hold is in no text that an edge wrote
  }
}

/** Undefined where a cell has another type than its column. */
function eventOf(row: JsonObject, workspace_id: string): CompleteEvent | undefined {
  const { action, actor_id, id, occurred_at, version, metadata, targets } = row;
  const { action_category, actor_name, actor_type, idempotency_key, ip_address, ip_city, ip_country } = row;
  const { resource, resource_id, resource_name, session_id, tenant_id, user_agent } = row;
  if (
    typeof action !== 'string' ||
    typeof actor_id !== 'string' ||
    typeof id !== 'string' ||
    typeof occurred_at !== 'string' ||
    !isTextOrNull(action_category) ||
    !isTextOrNull(actor_name) ||
    !isTextOrNull(actor_type) ||
    !isTextOrNull(idempotency_key) ||
    !isTextOrNull(ip_address) ||
    !isTextOrNull(ip_city) ||
    !isTextOrNull(ip_country) ||
    !isTextOrNull(resource) ||
    !isTextOrNull(resource_id) ||
    !isTextOrNull(resource_name) ||
    !isTextOrNull(session_id) ||
    !isTextOrNull(tenant_id) ||
    !isTextOrNull(user_agent) ||
    !(version === null || typeof version === 'number') ||
    !(metadata === null || isJsonObject(metadata)) ||
    !Array.isArray(targets)
  )
    return undefined;
  return {
    action,
    action_category: action_category ?? undefined,
    actor_id,
    actor_name: actor_name ?? undefined,
    actor_type: actor_type ?? undefined,
    id,
    idempotency_key: idempotency_key ?? undefined,
    ip_address: ip_address ?? undefined,
    ip_city: ip_city ?? undefined,
    ip_country: ip_country ?? undefined,
    metadata: metadata ?? undefined,
    occurred_at,
    resource: resource ?? undefined,
    resource_id: resource_id ?? undefined,
    resource_name: resource_name ?? undefined,
    session_id: session_id ?? undefined,
    targets: targets.length === 0 ? undefined : targets,
    tenant_id: tenant_id ?? undefined,
    user_agent: user_agent ?? undefined,
    version: version ?? undefined,
    workspace_id,
  };
}

/** The columns that stand for a member of a text; the workspace has none. */
const CELLS: Readonly<Record<TextName, readonly EventField[]>> = {
  body: EVENT_FIELDS.filter(({ text, name }) => text === 'body' && name !== 'workspace_id'),
  private: EVENT_FIELDS.filter(({ text }) => text === 'private'),
};

const COLUMNS: ReadonlySet<string> = new Set([
  ...[...CELLS.body, ...CELLS.private].map(({ name }) => name),
  ...['created_at', 'seq', 'event_hash', 'previous_event_hash', 'body', 'private', 'salt'],
]);

function absent({ kind }: EventField): unknown {
  return kind === 'targets' ? [] : null;
}

function sameValue(left: unknown, right: unknown): boolean {
  try {
    return canonicalJson(left) === canonicalJson(right);
  } catch {
    return false;
  }
}

function readCanonical(text: string): JsonObject | undefined {
  const value = parseJson(text);
  return isJsonObject(value) && sameText(value, text) ? value : undefined;
}

function sameText(value: unknown, text: string): boolean {
  try {
    return canonicalJson(value) === text;
  } catch {
    return false;
  }
}

/**
 * The line with `body`, `private` and `salt` emptied, if it ends with these three, as ours do: its longest texts need
 * not be looked through for names. Within a JSON string a quote has a backslash before it, so `","` stands only
 * between two members.
 */
function withoutTexts(line: string): string {
  const body = line.indexOf(',"body":"');
  const endOfBody = line.indexOf('","', body + 9);
  const endOfPrivate = line.indexOf('","', endOfBody + 3);
  const isTail =
    body > 0 &&
    line.startsWith('","private":"', endOfBody) &&
    line.startsWith('","salt":"', endOfPrivate) &&
    line.indexOf('"', endOfPrivate + 10) === line.length - 2 &&
    line.endsWith('}');
  return isTail ? `${line.slice(0, body)},"body":"","private":"","salt":""}` : line;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function show(value: unknown): string {
  try {
    return value === undefined ? 'nothing' : shorten(JSON.stringify(value));
  } catch {
    return 'a value too deep to be shown';
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

function isTextOrNull(value: unknown): value is string | null {
  return value === null || typeof value === 'string';
}
