import type { ClickHouseClient } from '@clickhouse/client';
import { privateDigest } from '../../core/canonical.ts';
import { eventHash } from '../../core/chain.ts';
import { keyedEventId } from '../../core/id.ts';
import { canonicalJson, isJsonObject, type JsonObject } from '../../core/json.ts';
import { formatTimestamp } from '../../core/time.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import { nativeHasher } from '../../infra/hash.ts';
import type { Finding } from './findings.ts';

/** A row of `events`, of what the pipeline wrote and not of what ClickHouse derived, but for the id. */
export interface StoredRow {
  id: string;
  seq: number;
  created_at_micros: number;
  body: string;
  private: string;
  salt: string;
  event_hash_hex: string;
  previous_event_hash_hex: string;
  stream_epoch: string;
  stream_seq: number;
  stream_index: number;
}

/** A workspace's rows by time, a few thousand in memory at once. */
export async function* readRows(
  clickhouse: ClickHouseClient,
  workspaceId: string,
): AsyncGenerator<StoredRow> {
  const result = await clickhouse.query({
    query: `SELECT id, seq, toUnixTimestamp64Micro(created_at) AS created_at_micros, body, private, salt,
        lower(hex(event_hash)) AS event_hash_hex, lower(hex(previous_event_hash)) AS previous_event_hash_hex,
        stream_epoch, stream_seq, stream_index
      FROM ${TABLES.events}
      WHERE workspace_id = {workspace_id:String}
      ORDER BY workspace_id, created_at`,
    query_params: { workspace_id: workspaceId },
    format: 'JSONEachRow',
  });
  for await (const rows of result.stream<StoredRow>()) {
    for (const row of rows) yield row.json();
  }
}

export async function readErasures(clickhouse: ClickHouseClient, workspaceId: string): Promise<Set<number>> {
  const result = await clickhouse.query({
    query: `SELECT seq FROM ${TABLES.erasures} WHERE workspace_id = {workspace_id:String}`,
    query_params: { workspace_id: workspaceId },
    format: 'JSONEachRow',
  });
  return new Set((await result.json<{ seq: number }>()).map(({ seq }) => seq));
}

export interface ChainFindings {
  order: Finding;
  hashes: Finding;
  texts: Finding;
  keys: Finding;
  positions: Finding;
}

/**
 * Recomputes one workspace's chain with core/, which shares nothing with the SQL of `/verify`. Call it with
 * every row in turn.
 */
export function createChainCheck(
  workspaceId: string,
  erased: ReadonlySet<number>,
  { order, hashes, texts, keys, positions }: ChainFindings,
): (row: StoredRow) => void {
  let before: StoredRow | undefined;

  function checkOrder(row: StoredRow): void {
    order.look();
    const expected = (before?.seq ?? 0) + 1;
    if (row.seq !== expected) order.wrong(`${workspaceId}: seq ${row.seq} stands where ${expected} should`);
    if (before !== undefined && row.created_at_micros <= before.created_at_micros) {
      order.wrong(`${workspaceId}: created_at does not rise at seq ${row.seq}`);
    }
  }

  function checkHash(row: StoredRow): void {
    hashes.look();
    const previous = before?.event_hash_hex ?? '';
    const createdAt = formatTimestamp(row.created_at_micros);
    if (row.previous_event_hash_hex !== previous) {
      hashes.wrong(`${workspaceId}: seq ${row.seq} does not link to the event before it`);
    }
    if (
      eventHash(row.previous_event_hash_hex, row.seq, createdAt, row.body, nativeHasher) !==
      row.event_hash_hex
    ) {
      hashes.wrong(`${workspaceId}: seq ${row.seq} has another hash than its body`);
    }
  }

  function checkTexts(row: StoredRow, body: JsonObject): void {
    texts.look();
    const wrong = (what: string) => texts.wrong(`${workspaceId}: seq ${row.seq}: ${what}`);
    if (canonicalJson(body) !== row.body) wrong('its body is not canonical');
    if (body.id !== row.id) wrong('its id is not the one in its body');
    if (body.workspace_id !== workspaceId) wrong('its body belongs to another workspace');
    if (row.private === '' && erased.has(row.seq)) return;
    if (privateDigest(row.private, row.salt, nativeHasher) !== body.private)
      wrong('its personal data does not fit');
    if (canonicalJson(JSON.parse(row.private)) !== row.private) wrong('its private text is not canonical');
  }

  function checkKey(row: StoredRow, key: unknown): void {
    if (typeof key !== 'string') return;
    keys.look();
    if (keyedEventId(workspaceId, key, nativeHasher) !== row.id) {
      keys.wrong(`${workspaceId}: seq ${row.seq} has another id than its key ${key} makes`);
    }
  }

  function checkPosition(row: StoredRow): void {
    positions.look();
    if (before === undefined || row.stream_epoch !== before.stream_epoch) return;
    const rises =
      row.stream_seq > before.stream_seq ||
      (row.stream_seq === before.stream_seq && row.stream_index > before.stream_index);
    if (!rises)
      positions.wrong(
        `${workspaceId}: the place of seq ${row.seq} in the stream is before that of ${before.seq}`,
      );
  }

  return (row) => {
    const body: unknown = JSON.parse(row.body);
    checkOrder(row);
    checkHash(row);
    if (isJsonObject(body)) {
      checkTexts(row, body);
      checkKey(row, body.idempotency_key);
    } else {
      texts.wrong(`${workspaceId}: the body of seq ${row.seq} is no JSON object`);
    }
    checkPosition(row);
    before = row;
  };
}
