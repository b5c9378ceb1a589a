import { setTimeout as delay } from 'node:timers/promises';
import type { ClickHouseClient } from '@clickhouse/client';
import { ask } from '../ask.ts';
import { createProver, type InclusionJson, type ShownCheckpoint } from './prover.ts';
import { coveringCheckpoint } from './sql.ts';
import { createTileReader } from './tile-reader.ts';

/** That an event is in the log that was signed: for who has the event, and all before it by the links of the chain. */
export interface Coverage {
  /** C2SP signed-note. */
  checkpoint: string;
  inclusion: InclusionJson;
}

/** Of event `seq`; null where no checkpoint has it after some seconds. */
export type CoverageOf = (workspaceId: string, seq: number, signal: AbortSignal) => Promise<Coverage | null>;

/** Several times as long as it takes until an event is in a checkpoint (pipeline/tree). */
const PATIENCE_MS = 20_000;
const LOOK_AGAIN_MS = 1_000;
const SETTINGS = { max_execution_time: 5 };

/** By the first checkpoint that has the event, so that it is the same whenever it is asked for. */
export function createCoverage(
  clickhouse: ClickHouseClient,
  { witnessedOnly, patienceMs = PATIENCE_MS }: { witnessedOnly: boolean; patienceMs?: number },
): CoverageOf {
  const prover = createProver(clickhouse, createTileReader(clickhouse), { witnessedOnly });
  return async (workspaceId, seq, signal) => {
    const deadline = performance.now() + patienceMs;
    for (;;) {
      const query = coveringCheckpoint(workspaceId, seq, witnessedOnly);
      const [found] = await ask<ShownCheckpoint>(clickhouse, query, SETTINGS);
      if (found !== undefined) {
        return { checkpoint: found.note, inclusion: await prover.inclusion(workspaceId, seq, found.size) };
      }
      if (performance.now() > deadline) return null;
      await delay(LOOK_AGAIN_MS, undefined, { signal });
    }
  };
}
