import type { ClickHouseClient } from '@clickhouse/client';
import { archiveLine } from '../../core/archive.ts';
import type { Micros } from '../../core/time.ts';
import { ask } from '../ask.ts';
import type { ProvenRow } from './prover.ts';
import { eventsBySeq } from './sql.ts';

/** Read at a time; a client that reads slowly holds this much here, and nothing in ClickHouse. */
const PAGE_EVENTS = 5_000;
const PAGE_BYTES = 8 * 1024 * 1024;
const SETTINGS = { max_execution_time: 30 };

export interface LogRange {
  first: number;
  last: number;
  /** What is older is past its retention. */
  shownFrom: Micros;
}

/** Events of a workspace, in the order of its chain, each a line with what it was hashed from. */
export async function* logEvents(
  clickhouse: ClickHouseClient,
  workspaceId: string,
  { first, last, shownFrom }: LogRange,
): AsyncGenerator<Uint8Array> {
  for (let next = first; next <= last; ) {
    const range = { first: next, last, limit: PAGE_EVENTS, bytes: PAGE_BYTES, shownFrom };
    const rows = await ask<ProvenRow>(clickhouse, eventsBySeq(workspaceId, range), SETTINGS);
    const newest = rows.at(-1);
    if (newest === undefined) return;
    yield Buffer.from(rows.map((row) => `${archiveLine(asArchived(row))}\n`).join(''));
    next = newest.seq + 1;
  }
}

function asArchived(row: ProvenRow) {
  return {
    seq: row.seq,
    created_at: row.created_at_text,
    body: row.body,
    private: row.private,
    salt: row.salt,
    event_hash: row.hash,
    previous_event_hash: row.previous_hash,
  };
}
