import type { AlertRuleDirectory, AlertRuleRecord } from '../../../control/alert-rules.ts';
import {
  type AlertRuleContext,
  createAlertRule,
  ruleOf,
  watchAlertRules,
} from '../../../control/alert-rules.ts';
import { partitionOf } from '../../../control/partition.ts';
import { type AlertEvent, alertId } from '../../../core/alerts/rule.ts';
import { canonicalTexts } from '../../../core/canonical.ts';
import type { Head } from '../../../core/chain.ts';
import { formatTimestamp, type Micros } from '../../../core/time.ts';
import { type ClickHouseClient, connectClickHouse } from '../../../infra/clickhouse/client.ts';
import { TABLES } from '../../../infra/clickhouse/names.ts';
import { crc32, nativeHasher } from '../../../infra/hash.ts';
import { createLogger } from '../../../infra/log.ts';
import { createMetrics } from '../../../infra/metrics.ts';
import { openBucket } from '../../../infra/nats/kv.ts';
import { BUCKETS, chainedSubject } from '../../../infra/nats/names.ts';
import { streamEpoch } from '../../../infra/nats/streams.ts';
import { outboundPolicy } from '../../../infra/outbound/policy.ts';
import { createSealer } from '../../../infra/seal.ts';
import { alertModel } from '../../../test/support/alert-model.ts';
import { startTestClickHouse, type TestClickHouse } from '../../../test/support/clickhouse.ts';
import { chainedPayload } from '../../chain/chained.ts';
import { clickHouseStore } from '../../chain/clickhouse-store.ts';
import type { ChainRow } from '../../chain/row.ts';
import { chainOf, readSample } from '../../chain/testing/sample.ts';
import { eventually, openTestStage, type TestStage, workspacesOf } from '../../chain/testing/stage.ts';
import { clickHouseAlertStore } from '../clickhouse-store.ts';
import { alertEventOf } from '../event.ts';
import { type AlertStage, type AlertStageOptions, startAlerts } from '../start.ts';
import type { AlertRow } from '../store.ts';

/* The stage of alerts on a real NATS server and a real ClickHouse, for tests. */

export const TEST_TIMING: AlertStageOptions['timing'] = {
  leaseTtlMs: 2_000,
  steppedDownMs: 20,
  stoppedMs: 200,
  firstRetryMs: 20,
  longestRetryMs: 200,
  positionIntervalMs: 10,
  tickMs: 10,
  retryBehindMs: 50,
};

/** 2026-03-02, a Monday. */
export const MONDAY: Micros = Date.UTC(2026, 2, 2) * 1000;
export const MINUTE = 60_000_000;

export interface Act {
  at: Micros;
  actor?: string;
  action?: string;
  country?: string;
}

export interface AlertWorld {
  stage: TestStage;
  store: ReturnType<typeof clickHouseAlertStore>;
  rules: AlertRuleDirectory;
  ruleContext: AlertRuleContext;
  buckets: AlertStageOptions['buckets'];
  delivered: AlertRow[];
  /** Workspaces that no test has used, of one partition. */
  workspaces(count: number, partition?: number): string[];
  /** A rule that looks at all events; resolves once the stage knows of it. */
  rule(workspaceId: string, body: object, effectiveMicros?: Micros): Promise<AlertRuleRecord>;
  /** Resolves once every process knows what the bucket holds. */
  known(isSo: () => boolean): Promise<void>;
  /** Stores events as the chain stage would, one message of EVENTS. */
  chain(workspaceId: string, acts: readonly Act[]): Promise<ChainRow[]>;
  publish(rows: readonly ChainRow[]): Promise<void>;
  /** `chain` and `publish`. */
  add(workspaceId: string, acts: readonly Act[]): Promise<ChainRow[]>;
  start(options?: Partial<AlertStageOptions>): AlertStage;
  /** A process, until all that is stored of the partition was looked at. */
  runOnce(options?: Partial<AlertStageOptions>): Promise<void>;
  /** Everything that was chained is behind the position. */
  untilLooked(partition?: number): Promise<void>;
  /** Ids, in their order; with repeated rows as they are. */
  alerts(workspaceId: string, final?: 'FINAL' | ''): Promise<string[]>;
  /** What the model raises for everything that was chained of a workspace. */
  expected(workspaceId: string, rules: readonly AlertRuleRecord[]): string[];
  close(): Promise<void>;
}

export async function openAlertWorld(partitions: number): Promise<AlertWorld> {
  const [stage, server] = await Promise.all([openTestStage(partitions), startTestClickHouse()]);
  const clickhouse = connectClickHouse(server.writerUrl);
  const chains = clickHouseStore(clickhouse);
  const bucket = await openBucket(stage.nc, BUCKETS.alertRules);
  const rules = await watchAlertRules(bucket, () => {});
  const alertPositions = await openBucket(stage.nc, BUCKETS.alertPositions);
  const epoch = await streamEpoch(stage.nc);
  const heads = new Map<string, Head>();
  const history = new Map<string, AlertEvent[]>();
  const last = new Map<number, number>();
  const running: AlertStage[] = [];
  const used = new Map<number, number>();
  let nowMicros = MONDAY - MINUTE;
  let sequence = 0;
  let eventNumber = 0;

  function queued(workspaceId: string, { at, actor = 'a', action = 'doc.read', country }: Act) {
    eventNumber += 1;
    const id = `0195b5a0-0000-7000-8000-${eventNumber.toString(16).padStart(12, '0')}`;
    const salt = nativeHasher.hex(`salt ${eventNumber}`).slice(0, 32);
    const event = {
      id,
      workspace_id: workspaceId,
      occurred_at: formatTimestamp(at),
      action,
      actor_id: actor,
      ...(country === undefined ? {} : { ip_country: country }),
    };
    return { id, keyed: false, salt, ...canonicalTexts(event, salt, nativeHasher) };
  }

  const world: AlertWorld = {
    stage,
    store: clickHouseAlertStore(clickhouse),
    rules,
    ruleContext: {
      bucket,
      sealer: createSealer('11'.repeat(32), 'test'),
      limits: { outbound: outboundPolicy([]), hasDefaultWebhook: false },
      now: () => nowMicros / 1000,
    },
    buckets: { ...stage.buckets, alertPositions },
    delivered: [],
    workspaces: (count, partition = 0) => {
      const before = used.get(partition) ?? 0;
      used.set(partition, before + count);
      return workspacesOf(partition, partitions, before + count).slice(before);
    },
    rule: async (workspaceId, body, effectiveMicros = MONDAY - MINUTE) => {
      nowMicros = effectiveMicros;
      const { rule } = await createAlertRule(
        world.ruleContext,
        { id: workspaceId, plan: 'enterprise' },
        { name: 'A rule', cooldown_minutes: 0, ...body },
      );
      await world.known(() => rules.rulesOf(workspaceId).some(({ id }) => id === rule.id));
      return rule;
    },
    known: async (isSo) => {
      await eventually(isSo, (so) => so);
    },
    chain: async (workspaceId, acts) => {
      const rows: ChainRow[] = [];
      const partition = partitionOf(workspaceId, partitions);
      // Each by itself in time, all in the same run of the stream.
      for (const act of acts) {
        sequence += 1;
        const message = readSample(sequence, workspaceId, [queued(workspaceId, act)], act.at);
        const made = chainOf({ partition, epoch }, [message], heads);
        for (const row of made) {
          heads.set(workspaceId, row);
          history.set(workspaceId, [...(history.get(workspaceId) ?? []), alertEventOf(row)]);
        }
        rows.push(...made);
      }
      const outcome = await chains.insert({ partition, epoch }, rows, `test:${sequence}`, Date.now() * 1000);
      if (outcome.kind !== 'answered') throw new Error(JSON.stringify(outcome));
      last.set(partition, sequence);
      return rows;
    },
    publish: async ([first, ...rest]) => {
      if (first === undefined) return;
      const group = { workspaceId: first.workspaceId, rows: [first, ...rest] as [ChainRow, ...ChainRow[]] };
      const subject = chainedSubject(partitionOf(first.workspaceId, partitions), first.workspaceId);
      await stage.publishRaw(subject, chainedPayload(group, crc32));
    },
    add: async (workspaceId, acts) => {
      const rows = await world.chain(workspaceId, acts);
      await world.publish(rows);
      return rows;
    },
    start: (options = {}) => {
      const alerts = startAlerts({
        nc: stage.nc,
        store: world.store,
        events: chains,
        rules,
        buckets: world.buckets,
        deliver: async (rows) => {
          world.delivered.push(...rows);
        },
        partitions,
        log: createLogger('test', process.env.TEST_LOG ?? 'silent'),
        metrics: createMetrics('alerts'),
        instance: 'the supervised process',
        ...options,
        timing: { ...TEST_TIMING, ...options.timing },
      });
      running.push(alerts);
      return alerts;
    },
    runOnce: async (options) => {
      const alerts = world.start(options);
      await untilWorking(alerts, partitions);
      await world.untilLooked();
      await alerts.stop();
    },
    untilLooked: async (partition = 0) => {
      await eventually(
        async () => (await alertPositions.get(String(partition)))?.value as { sequence?: number } | undefined,
        (position) => (position?.sequence ?? 0) >= (last.get(partition) ?? 0),
      );
    },
    alerts: (workspaceId, final = 'FINAL') => alertIds(clickhouse, workspaceId, final),
    expected: (workspaceId, records) => {
      const events = history.get(workspaceId) ?? [];
      const model = alertModel(records.map(ruleOf), events[0]?.createdAtMicros ?? 0);
      return events.flatMap((event) =>
        model
          .evaluate(event)
          .map((ruleId) => alertId(ruleId, event.id, nativeHasher))
          .sort(),
      );
    },
    close: async () => {
      await Promise.race([
        Promise.all(running.map((alerts) => alerts.stop())),
        new Promise((resolve) => setTimeout(resolve, 500)),
      ]);
      await rules.stop();
      await closeAll(stage, clickhouse, server);
    },
  };
  return world;
}

export async function untilWorking(alerts: AlertStage, partitions: number): Promise<void> {
  await eventually(
    () => [...alerts.states().values()],
    (states) => states.length === partitions && states.every((state) => state === 'working'),
  );
}

async function alertIds(clickhouse: ClickHouseClient, workspaceId: string, final: string): Promise<string[]> {
  const answer = await clickhouse.query({
    query: `SELECT id FROM ${TABLES.alerts} ${final} WHERE workspace_id = {workspaceId:String} ORDER BY triggered_at, id`,
    query_params: { workspaceId },
    format: 'JSONEachRow',
  });
  return (await answer.json<{ id: string }>()).map(({ id }) => id);
}

async function closeAll(
  stage: TestStage,
  clickhouse: ClickHouseClient,
  server: TestClickHouse,
): Promise<void> {
  await clickhouse.close();
  await stage.close();
  await server.stop();
}
