import { ClickHouseError } from '@clickhouse/client';
import type { AlertRuleDirectory } from '../../control/alert-rules.ts';
import type { Position } from '../../control/position.ts';
import type { AlertEvent } from '../../core/alerts/rule.ts';
import { ImmutableError } from '../../core/errors.ts';
import type { Hasher } from '../../core/hash.ts';
import type { ChainedEvent } from '../../core/message.ts';
import type { Logger } from '../../infra/log.ts';
import type { ChainStore } from '../chain/store.ts';
import { alertEventOf } from './event.ts';
import type { AlertMetrics } from './metrics.ts';
import type { AlertRow, AlertStore } from './store.ts';
import { createWatchedWorkspace, type WatchedWorkspace } from './watched-workspace.ts';

/** Hands alerts on to those who are to be told. They may come again: by their `id` they are known. */
export type Deliver = (alerts: readonly AlertRow[]) => Promise<void>;

export interface WatcherContext {
  partition: number;
  store: AlertStore;
  events: Pick<ChainStore, 'heads'>;
  rules: Pick<AlertRuleDirectory, 'rulesOf'>;
  deliver: Deliver;
  hasher: Hasher;
  log: Logger;
  metrics: AlertMetrics;
  /** Before a workspace that failed is tried again. */
  timing: { retryBehindMs: number };
  /** All events up to there were looked at when the watching began, but for those of workspaces that are named to it. */
  from: Position | undefined;
}

/** The workspaces of one partition that have rules, and the alerts that are not stored yet. */
export interface Watcher {
  has(workspaceId: string): boolean;
  /** Events of a workspace as CHAINED brings them: some again, or with a hole before them. */
  take(workspaceId: string, events: readonly ChainedEvent[]): Promise<void>;
  /** Looks at what is stored of a workspace behind `afterSeq`, or what it has seen, up to `throughSeq`, or its end. */
  catchUp(workspaceId: string, range: { afterSeq?: number; throughSeq?: number }): Promise<void>;
  /** Tries those again that failed. */
  retryBehind(nowMs: number): Promise<void>;
  /** Workspaces that failed, and up to which `seq` they were looked at. */
  behind(): Record<string, number>;
  /** Resolves once every alert so far is stored, and delivered; to how many that were. */
  settle(): Promise<number>;
  /** Frees what was not needed for long, or is too much. */
  tidy(nowMs: number): void;
}

const PAGE_EVENTS = 10_000;
/** What a workspace without events for so long remembers is read again when there is one. */
const IDLE_MS = 15 * 60_000;
/** Of all workspaces of a partition together; a single one may have 100,000. */
const MOST_ACTORS = 500_000;
const MOST_REMEMBERED = 5_000;
/** Between two looks at what may be freed. */
const TIDY_MS = 5_000;
/** More than these are no fault of theirs. */
const MOST_BEHIND = 1_000;
const THE_END: Position = { sequence: Number.MAX_SAFE_INTEGER, index: 2 ** 32 - 1 };

export function createWatcher(context: WatcherContext): Watcher {
  const { partition, store, events: chains, rules, deliver, hasher, log, metrics, from } = context;
  /** The one that was used last stands last. */
  const watched = new Map<string, { workspace: WatchedWorkspace; usedAtMs: number }>();
  const late = new Map<string, { seq: number; retryAtMs: number }>();
  let raised: AlertRow[] = [];
  let tidiedAtMs = 0;

  async function settle(): Promise<number> {
    if (raised.length === 0) return 0;
    const rows = raised;
    await store.writeAlerts(rows);
    const told = rows.filter(({ isMuted }) => !isMuted);
    if (told.length > 0) await deliver(told);
    raised = raised.slice(rows.length);
    for (const { ruleType } of rows) metrics.alert(ruleType);
    return rows.length;
  }

  async function headOf(workspaceId: string, atOrBefore: Position): Promise<number> {
    return (await chains.heads(partition, [workspaceId], atOrBefore)).get(workspaceId)?.seq ?? 0;
  }

  async function workspaceOf(workspaceId: string, afterSeq?: number): Promise<WatchedWorkspace> {
    const known = watched.get(workspaceId)?.workspace;
    const workspace =
      known ??
      createWatchedWorkspace({
        workspaceId,
        seq: afterSeq ?? (from === undefined ? 0 : await headOf(workspaceId, from)),
        store,
        hasher,
        raise: (row) => raised.push(row),
        settle: async () => {
          await settle();
        },
      });
    watched.delete(workspaceId);
    watched.set(workspaceId, { workspace, usedAtMs: Date.now() });
    return workspace;
  }

  async function readOn(workspaceId: string, workspace: WatchedWorkspace, throughSeq: number): Promise<void> {
    while (workspace.seq < throughSeq) {
      const records = rules.rulesOf(workspaceId);
      const afterMicros = workspace.wantedAfter(records);
      const range = { afterSeq: workspace.seq, throughSeq };
      const page =
        afterMicros === undefined
          ? []
          : await store.eventsAfter(workspaceId, { ...range, afterMicros }, PAGE_EVENTS);
      await workspace.look(page, records);
      metrics.evaluated(page.length);
      if (page.length < PAGE_EVENTS) workspace.pass(throughSeq);
      await settle();
    }
  }

  /** What goes wrong with one workspace alone holds up no other: it is tried again, from where it was. */
  async function apart(
    workspaceId: string,
    afterSeq: number | undefined,
    work: () => Promise<void>,
  ): Promise<void> {
    try {
      await work();
      late.delete(workspaceId);
    } catch (error) {
      const seq = watched.get(workspaceId)?.workspace.seq ?? afterSeq;
      if (seq === undefined || !isOfOneWorkspace(error)) throw error;
      log.error({ err: error, partition, workspaceId, seq }, 'the alert rules of a workspace cannot look on');
      late.set(workspaceId, { seq, retryAtMs: Date.now() + context.timing.retryBehindMs });
      if (late.size > MOST_BEHIND) {
        throw new ImmutableError('unavailable', `the alert rules of ${late.size} workspaces cannot look on`);
      }
    }
  }

  async function catchUp(
    workspaceId: string,
    { afterSeq, throughSeq }: { afterSeq?: number; throughSeq?: number },
  ): Promise<void> {
    await apart(workspaceId, afterSeq, async () => {
      const workspace = await workspaceOf(workspaceId, afterSeq);
      await readOn(workspaceId, workspace, throughSeq ?? (await headOf(workspaceId, THE_END)));
    });
  }

  /** One that no chain of ours holds is left out: it is the chain's own alarm. */
  function readable(workspaceId: string, chained: readonly ChainedEvent[]): AlertEvent[] {
    return chained.flatMap((event) => {
      try {
        return [alertEventOf(event)];
      } catch (error) {
        log.error(
          { alarm: true, err: error, partition, workspaceId, seq: event.seq },
          'an event is left out',
        );
        return [];
      }
    });
  }

  return {
    has: (workspaceId) => rules.rulesOf(workspaceId).length > 0,
    catchUp,
    settle,
    async take(workspaceId, chained) {
      const [first] = chained;
      const last = chained.at(-1);
      if (first === undefined || last === undefined || late.has(workspaceId)) return;
      await apart(workspaceId, undefined, async () => {
        const workspace = await workspaceOf(workspaceId);
        if (first.seq > workspace.seq + 1) await readOn(workspaceId, workspace, first.seq - 1);
        await workspace.look(readable(workspaceId, chained), rules.rulesOf(workspaceId));
        workspace.pass(last.seq);
        metrics.evaluated(chained.length);
      });
    },
    async retryBehind(nowMs) {
      for (const [workspaceId, { seq, retryAtMs }] of [...late]) {
        if (rules.rulesOf(workspaceId).length === 0) late.delete(workspaceId);
        else if (retryAtMs <= nowMs) await catchUp(workspaceId, { afterSeq: seq });
      }
    },
    behind: () => Object.fromEntries([...late].map(([workspaceId, { seq }]) => [workspaceId, seq])),
    tidy(nowMs) {
      if (nowMs - tidiedAtMs < TIDY_MS) return;
      tidiedAtMs = nowMs;
      let actors = 0;
      let remembered = 0;
      for (const [workspaceId, { workspace, usedAtMs }] of [...watched].reverse()) {
        if (rules.rulesOf(workspaceId).length === 0) {
          watched.delete(workspaceId);
          continue;
        }
        actors += workspace.actorCount;
        remembered += 1;
        const isTooMuch = remembered > 1 && (actors > MOST_ACTORS || remembered > MOST_REMEMBERED);
        if (isTooMuch || usedAtMs + IDLE_MS < nowMs) {
          workspace.forget();
          remembered -= 1;
        }
      }
      metrics.workspaces(remembered, late.size);
    },
  };
}

/** ClickHouse has answered, or what was read makes no sense; whoever is not there at all is there for none. */
function isOfOneWorkspace(error: unknown): boolean {
  if (error instanceof ImmutableError) return error.code !== 'fenced' && error.code !== 'unavailable';
  return error instanceof ClickHouseError || error instanceof RangeError || error instanceof TypeError;
}
