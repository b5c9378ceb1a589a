import { setTimeout as delay } from 'node:timers/promises';
import type { ClickHouseClient } from '@clickhouse/client';
import { retentionOf } from '../../control/retention.ts';
import { readWorkspace } from '../../control/workspaces.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import type { Logger } from '../../infra/log.ts';
import type { Bucket, Entry, Stop } from '../../infra/nats/kv.ts';

/** For how long a workspace keeps its events, in days, or 0 for ever; the highest revision counts. */
interface Window {
  days: number;
  revision: number;
}

export interface WindowRecorderOptions {
  workspaces: Bucket;
  /** With the rights of `writer`. */
  clickhouse: ClickHouseClient;
  log: Logger;
  retryMs?: number;
}

const RETRY_MS = 1_000;

/**
 * Repeats in ClickHouse how long each workspace keeps its events, from now until stopped: what analysts read is
 * cut off by it. Any number of processes may do so, since they write the same rows. What was missed while none
 * ran, or ClickHouse was away, is made up for: every value is compared with what is recorded.
 */
export async function recordWindows(options: WindowRecorderOptions): Promise<Stop> {
  const { workspaces, clickhouse, log, retryMs = RETRY_MS } = options;
  const stopping = new AbortController();
  const wanted = new Map<string, Window>();
  let recorded: Map<string, Window> | undefined;
  let behind = false;
  let active = false;
  let recording = Promise.resolve();

  function want(entry: Entry): void {
    const window = windowOf(entry, log);
    if (window !== undefined) wanted.set(entry.key, window);
  }

  async function recordOnce(): Promise<void> {
    recorded ??= await recordedWindows(clickhouse);
    // What was told may be behind what another process has recorded since; what the bucket says now is not.
    for (const [workspaceId] of dueWindows(wanted, recorded)) {
      const entry = await workspaces.get(workspaceId);
      if (entry !== undefined) want(entry);
    }
    const due = dueWindows(wanted, recorded);
    await insertWindows(clickhouse, due);
    for (const [workspaceId, window] of due) recorded.set(workspaceId, window);
  }

  async function recordWhileBehind(): Promise<void> {
    while (behind && !stopping.signal.aborted) {
      behind = false;
      try {
        await recordOnce();
      } catch (error) {
        behind = true;
        recorded = undefined; // Perhaps it was written and the answer lost.
        log.warn({ err: error }, 'the retention of workspaces is not recorded for analysts; trying again');
        await delay(retryMs, undefined, { signal: stopping.signal }).catch(() => {});
      }
    }
    active = false;
  }

  const stopWatching = await workspaces.watch((_workspaceId, entry) => {
    if (entry === undefined) return; // Of a workspace that is gone, nobody reads.
    want(entry);
    behind = true;
    if (active || stopping.signal.aborted) return;
    active = true;
    recording = recordWhileBehind();
  });
  return async () => {
    stopping.abort();
    await stopWatching();
    await recording;
  };
}

/** An unreadable record must not stop the chain stage, in whose process this runs. */
function windowOf({ key, value, revision }: Entry, log: Logger): Window | undefined {
  try {
    return { days: retentionOf(readWorkspace(value)).days ?? 0, revision };
  } catch (error) {
    log.error({ err: error, workspace: key }, 'the retention of a workspace cannot be read');
    return undefined;
  }
}

/**
 * What is to be written. The bucket is ahead of what was recorded of it, unless it was made anew or restored and
 * counts from further below: then a window goes above what is recorded.
 */
export function dueWindows(
  wanted: ReadonlyMap<string, Window>,
  recorded: ReadonlyMap<string, Window>,
): [string, Window][] {
  return [...wanted].flatMap(([workspaceId, { days, revision }]) => {
    const known = recorded.get(workspaceId) ?? { days: 0, revision: 0 };
    if (known.days === days) return [];
    return [[workspaceId, { days, revision: Math.max(revision, known.revision + 1) }]];
  });
}

async function recordedWindows(clickhouse: ClickHouseClient): Promise<Map<string, Window>> {
  const result = await clickhouse.query({
    query: `SELECT workspace_id, argMax(days, revision), max(revision)
      FROM ${TABLES.retentionWindows} GROUP BY workspace_id`,
    format: 'JSONCompactEachRow',
  });
  const rows = await result.json<[string, number, number]>();
  return new Map(rows.map(([workspaceId, days, revision]) => [workspaceId, { days, revision }]));
}

async function insertWindows(clickhouse: ClickHouseClient, windows: [string, Window][]): Promise<void> {
  if (windows.length === 0) return;
  await clickhouse.insert({
    table: TABLES.retentionWindows,
    columns: ['workspace_id', 'days', 'revision'],
    values: windows.map(([workspaceId, { days, revision }]) => [workspaceId, days, revision]),
    format: 'JSONCompactEachRow',
  });
}
