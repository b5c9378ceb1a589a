import type { ArchivedEvent } from '../../core/archive.ts';
import { hexDecode, hexEncode } from '../../core/bytes.ts';
import { canonicalTexts } from '../../core/canonical.ts';
import { eventHash } from '../../core/chain.ts';
import { checkpointText, type SigningKey, signNote, verifierKeyOf } from '../../core/checkpoint.ts';
import type { EventInput } from '../../core/event.ts';
import { EXPORT_MANIFEST_VERSION } from '../../core/export.ts';
import { type Hasher, portableHasher } from '../../core/hash.ts';
import { isJsonObject, type JsonObject } from '../../core/json.ts';
import { type TileName, tileKey, tilesOfLeaves } from '../../core/tile.ts';
import { formatTimestamp } from '../../core/time.ts';
import { inclusionPath, leafHash, treeRoot } from '../../core/tree.ts';

/** Small logs made with nothing but core/, for verifiers to be tried on. Runs in a browser too. */

export const WORKSPACE = 'ws_00000000000000aa';
export const LOG_ORIGIN = 'log.example.test';
export const SIGNER: SigningKey = {
  name: `${LOG_ORIGIN}/${WORKSPACE}`,
  seed: new Uint8Array(32).fill(7),
};
export const TRUST = { verifierKeys: [verifierKeyOf(SIGNER)] };
export const SALT = '0123456789abcdef0123456789abcdef';
const START_MICROS = Date.UTC(2026, 0, 1) * 1000;

/** With every kind of member somewhere. */
export function sampleInput(seq: number): EventInput {
  return {
    actor_id: `user_${seq % 7}`,
    actor_name: seq % 3 === 0 ? undefined : `Zoë "${seq}"`,
    action: 'document.created',
    resource: 'document',
    resource_id: `doc_${seq}`,
    ip_address: '203.0.113.7',
    metadata:
      seq % 4 === 0 ? undefined : { title: 'Q4\nreport', pages: seq, ratio: 0.1, deep: { a: [1, null] } },
    targets: seq % 5 === 0 ? [{ type: 'team', id: `team_${seq}` }] : undefined,
    tenant_id: 'acme',
    ...(seq % 2 === 0 ? { version: seq } : {}),
  };
}

/** A chain as it is archived, from event `first` on. */
export function sampleChain(
  count: number,
  {
    first = 1,
    previous = '',
    input = sampleInput,
    hasher = portableHasher,
  }: { first?: number; previous?: string; input?: (seq: number) => EventInput; hasher?: Hasher } = {},
): ArchivedEvent[] {
  const events: ArchivedEvent[] = [];
  let before = previous;
  for (let seq = first; seq < first + count; seq += 1) {
    const created_at = formatTimestamp(START_MICROS + seq * 1000);
    const texts = canonicalTexts(
      {
        ...input(seq),
        id: `018f0000-0000-7000-8000-${String(seq).padStart(12, '0')}`,
        workspace_id: WORKSPACE,
        occurred_at: created_at,
      },
      SALT,
      hasher,
    );
    const event_hash = eventHash(before, seq, created_at, texts.body, hasher);
    events.push({ seq, created_at, ...texts, salt: SALT, event_hash, previous_event_hash: before });
    before = event_hash;
  }
  return events;
}

export function leavesOf(events: readonly ArchivedEvent[], hasher: Hasher = portableHasher): Uint8Array[] {
  return events.map(({ event_hash }) => leafHash(hexDecode(event_hash) ?? new Uint8Array(), hasher));
}

/** The signed note of a log that holds exactly these. */
export function noteOf(
  leaves: readonly Uint8Array[],
  signer = SIGNER,
  hasher: Hasher = portableHasher,
): string {
  return signNote(checkpointText(signer.name, leaves.length, treeRoot(leaves, hasher)), signer, hasher);
}

/** What an honest log serves for these leaves. */
export function tileSource(leaves: readonly Uint8Array[], hasher: Hasher = portableHasher) {
  const tiles = tilesOfLeaves(leaves, hasher);
  return async ({ level, index, width }: TileName) =>
    tiles.get(tileKey({ level, index }))?.slice(0, width * 32);
}

/** As `GET /events/{id}/proof` answers. */
export function evidenceOf(events: readonly ArchivedEvent[], seq: number): JsonObject {
  const event = events[seq - 1];
  if (event === undefined) throw new Error(`there is no event ${seq}`);
  const leaves = leavesOf(events);
  return {
    format: 'imk-evidence/v1',
    event: { ...event, previous_event_hash: event.previous_event_hash || null },
    inclusion: inclusionOf(leaves, seq - 1),
    checkpoint: noteOf(leaves),
    anchor: null,
  };
}

export function inclusionOf(leaves: readonly Uint8Array[], leafIndex: number) {
  return {
    leaf_index: leafIndex,
    tree_size: leaves.length,
    path: inclusionPath(leaves, leafIndex).map(hexEncode),
  };
}

/** A row as a line of an NDJSON export holds it. */
export function exportRow(event: ArchivedEvent): JsonObject {
  const body = parseObject(event.body);
  const personal = event.private === '' ? {} : parseObject(event.private);
  const row: JsonObject = {};
  for (const name of CELLS) row[name] = body[name] ?? personal[name] ?? null;
  return {
    ...row,
    targets: personal.targets ?? [],
    created_at: event.created_at,
    seq: event.seq,
    event_hash: event.event_hash,
    previous_event_hash: event.previous_event_hash || null,
    body: event.body,
    private: event.private,
    salt: event.salt,
  };
}

const CELLS = [
  ...['id', 'created_at', 'occurred_at', 'actor_id', 'actor_name', 'actor_type', 'action', 'action_category'],
  ...['resource', 'resource_id', 'resource_name', 'tenant_id', 'session_id', 'ip_address', 'ip_country'],
  ...['ip_city', 'user_agent', 'version', 'idempotency_key', 'targets', 'metadata'],
];

function parseObject(text: string): JsonObject {
  const value: unknown = JSON.parse(text);
  if (!isJsonObject(value)) throw new Error('not an object');
  return value;
}

/** Of an export without filters that ends where the log does; `file` is what was found of the file. */
export function exportManifest(
  events: readonly ArchivedEvent[],
  file: { bytes: number; sha256: string },
  { log = events, ...members }: { log?: readonly ArchivedEvent[] } & JsonObject = {},
): JsonObject {
  const ends = (event: ArchivedEvent | undefined) =>
    event === undefined
      ? null
      : {
          seq: event.seq,
          event_hash: event.event_hash,
          previous_event_hash: event.previous_event_hash || null,
        };
  const leaves = leavesOf(log);
  const last = events.at(-1);
  return {
    version: EXPORT_MANIFEST_VERSION,
    export_id: 'exp_0000000000000001',
    workspace_id: WORKSPACE,
    created_at: '2026-01-02T00:00:00.000000Z',
    file_name: 'immutable-exp_0000000000000001.ndjson',
    format: 'ndjson',
    columns: [],
    filters: {},
    complete: true,
    rows: events.length,
    file_size: file.bytes,
    sha256: file.sha256,
    first: ends(events[0]),
    last: ends(last),
    checkpoint: noteOf(leaves),
    inclusion: last === undefined ? null : inclusionOf(leaves, last.seq - 1),
    ...members,
  };
}
