import { setTimeout as sleep } from 'node:timers/promises';
import type { ClickHouseClient } from '@clickhouse/client';
import { TABLES } from '../../infra/clickhouse/names.ts';
import type { Finding } from './findings.ts';

/** What a client was promised by a 202. */
export interface Acknowledged {
  workspaceId: string;
  /** Names the request that carried it, where its order within that matters. */
  request?: string | undefined;
  /** Its place in the request; a duplicate has none, for it stands where it stood before. */
  place?: number | undefined;
}

export type AcknowledgedById = ReadonlyMap<string, Acknowledged>;

const POLL_MS = 250;
const IDS_A_QUERY = 1_000;

/**
 * Waits until every acknowledged event is stored, for as long as any progress was made within `settleMs`:
 * the pipeline may be behind, or on its way back from what a fault test did to it.
 */
export async function untilStored(
  clickhouse: ClickHouseClient,
  acknowledged: AcknowledgedById,
  settleMs: number,
): Promise<void> {
  let missing = [...acknowledged.keys()];
  let deadline = performance.now() + settleMs;
  for (;;) {
    const left = await stillMissing(clickhouse, missing);
    if (left.length < missing.length) deadline = performance.now() + settleMs;
    missing = left;
    if (missing.length === 0 || performance.now() > deadline) return;
    await sleep(POLL_MS);
  }
}

async function stillMissing(clickhouse: ClickHouseClient, ids: string[]): Promise<string[]> {
  const found = new Set<string>();
  for (let from = 0; from < ids.length; from += IDS_A_QUERY) {
    const result = await clickhouse.query({
      query: `SELECT id FROM ${TABLES.events} WHERE id IN {ids:Array(String)}`,
      query_params: { ids: ids.slice(from, from + IDS_A_QUERY) },
      format: 'JSONEachRow',
    });
    for (const { id } of await result.json<{ id: string }>()) found.add(id);
  }
  return ids.filter((id) => !found.has(id));
}

/** Holds the promises against the rows: call `saw` with every row, then `end`. */
export function createPromiseCheck(acknowledged: AcknowledgedById, kept: Finding, order: Finding) {
  const seqs = new Map<string, number>();

  function checkKept(): void {
    for (const [id, { workspaceId }] of acknowledged) {
      kept.look();
      if (!seqs.has(id)) kept.wrong(`${id} of ${workspaceId} was acknowledged and is not stored`);
    }
  }

  function checkOrder(): void {
    for (const [request, ids] of requestsOf(acknowledged)) {
      order.look();
      const stored = ids.map((id) => seqs.get(id)).filter((seq) => seq !== undefined);
      const rises = stored.every((seq, index) => index === 0 || seq > (stored[index - 1] ?? 0));
      if (!rises) order.wrong(`request ${request} has its events at seq ${stored.join(', ')}`);
    }
  }

  return {
    saw(workspaceId: string, { id, seq }: { id: string; seq: number }): void {
      const promise = acknowledged.get(id);
      if (promise === undefined) return;
      if (promise.workspaceId !== workspaceId)
        kept.wrong(`${id} is stored in ${workspaceId}, which did not send it`);
      if (seqs.has(id)) kept.wrong(`${id} is stored more than once`);
      seqs.set(id, seq);
    },
    end(): void {
      checkKept();
      checkOrder();
    },
  };
}

/** The ids of each request, in its order. */
function requestsOf(acknowledged: AcknowledgedById): Map<string, string[]> {
  const places = new Map<string, { id: string; place: number }[]>();
  for (const [id, { workspaceId, request, place }] of acknowledged) {
    if (request === undefined || place === undefined) continue;
    const name = `${request} of ${workspaceId}`;
    const held = places.get(name) ?? [];
    held.push({ id, place });
    places.set(name, held);
  }
  return new Map(
    [...places].map(([name, held]) => [name, held.sort((a, b) => a.place - b.place).map(({ id }) => id)]),
  );
}
