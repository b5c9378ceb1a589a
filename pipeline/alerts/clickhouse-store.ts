import type { Position } from '../../control/position.ts';
import type { AlertEvent } from '../../core/alerts/rule.ts';
import { MOST_ACTORS } from '../../core/alerts/workspace-alerts.ts';
import type { Micros } from '../../core/time.ts';
import type { ClickHouseClient } from '../../infra/clickhouse/client.ts';
import { TABLES } from '../../infra/clickhouse/names.ts';
import { timeValue } from '../../infra/clickhouse/values.ts';
import type { AlertRow, AlertStore, History } from './store.ts';

/** Alerts in the table `alerts`, beside the events they are of. */
export function clickHouseAlertStore(client: ClickHouseClient): AlertStore {
  return {
    grownWorkspaces: (partition, after, through) => grownWorkspaces(client, partition, after, through),
    eventsAfter: (workspaceId, range, limit) => eventsAfter(client, workspaceId, range, limit),
    oldestEventAt: (workspaceId, throughSeq) => oldestEventAt(client, workspaceId, throughSeq),
    newestEvents: (history, range) => newestEvents(client, history, range),
    countriesOfActors: (history, mostActors) => countriesOfActors(client, history, mostActors),
    countsBySpan: (history, range) => countsBySpan(client, history, range),
    alertsOf: (rule, range) => alertsOf(client, rule, range),
    writeAlerts: (rows) => writeAlerts(client, rows),
  };
}

async function grownWorkspaces(
  client: ClickHouseClient,
  partition: number,
  after: Position,
  through: Position,
) {
  const rows = await select<{ workspace: string; first: number; last: number }>(
    client,
    `SELECT toString(workspace_id) AS workspace, min(seq) AS first, max(seq) AS last FROM ${TABLES.events}
     WHERE partition = {partition:UInt16}
       AND stream_seq >= {afterSequence:UInt64} AND stream_seq <= {throughSequence:UInt64}
       AND (stream_seq, stream_index) > ({afterSequence:UInt64}, {afterIndex:UInt32})
       AND (stream_seq, stream_index) <= ({throughSequence:UInt64}, {throughIndex:UInt32})
     GROUP BY workspace_id`,
    {
      partition,
      afterSequence: after.sequence,
      afterIndex: after.index,
      throughSequence: through.sequence,
      throughIndex: through.index,
    },
  );
  return new Map(rows.map(({ workspace, first, last }) => [workspace, { firstSeq: first, lastSeq: last }]));
}

interface EventRow {
  event_id: string;
  seq: number;
  created: Micros;
  action: string;
  actor_id: string;
  ip_country: string;
}

const EVENT =
  'id AS event_id, seq, toUnixTimestamp64Micro(created_at) AS created, action, actor_id, ip_country';

function readEvent({ event_id, seq, created, action, actor_id, ip_country }: EventRow): AlertEvent {
  return {
    id: event_id,
    seq,
    createdAtMicros: created,
    action,
    actorId: actor_id,
    ipCountry: ip_country === '' ? undefined : ip_country,
  };
}

async function eventsAfter(
  client: ClickHouseClient,
  workspaceId: string,
  range: { afterSeq: number; throughSeq: number; afterMicros: Micros },
  limit: number,
): Promise<AlertEvent[]> {
  const rows = await select<EventRow>(
    client,
    `SELECT ${EVENT} FROM ${TABLES.events}
     WHERE workspace_id = {workspaceId:String} AND ${receivedAfter('created_at')}
       AND seq > {afterSeq:UInt64} AND seq <= {throughSeq:UInt64}
     ORDER BY created_at, seq LIMIT {limit:UInt32}`,
    { workspaceId, ...range, afterMicros: atLeastZero(range.afterMicros), limit },
  );
  return rows.map(readEvent);
}

async function oldestEventAt(
  client: ClickHouseClient,
  workspaceId: string,
  throughSeq: number,
): Promise<Micros | undefined> {
  const [row] = await select<{ created: Micros }>(
    client,
    `SELECT toUnixTimestamp64Micro(created_at) AS created FROM ${TABLES.events}
     WHERE workspace_id = {workspaceId:String} AND seq <= {throughSeq:UInt64} ORDER BY created_at LIMIT 1`,
    { workspaceId, throughSeq },
  );
  return row?.created;
}

/** Of a rule's events that are read to remember them again; older ones are forgotten beyond that, in a burst without equal. */
const MOST_EVENTS = 1_000_000;

async function newestEvents(
  client: ClickHouseClient,
  history: History,
  { afterMicros, limit, perActor }: { afterMicros: Micros; limit: number; perActor: boolean },
): Promise<AlertEvent[]> {
  const { where, parameters } = ofHistory(history);
  const ofEach = perActor ? 'LIMIT {limit:UInt32} BY actor_id LIMIT {most:UInt32}' : 'LIMIT {limit:UInt32}';
  const rows = await select<EventRow>(
    client,
    `SELECT * FROM (
       SELECT ${EVENT} FROM ${TABLES.events} WHERE ${where} AND ${receivedAfter('created_at')}
       ORDER BY created_at DESC, seq DESC ${ofEach})
     ORDER BY seq`,
    {
      ...parameters,
      afterMicros: atLeastZero(afterMicros),
      limit,
      ...(perActor ? { most: MOST_EVENTS } : {}),
    },
  );
  return rows.map(readEvent);
}

async function countriesOfActors(client: ClickHouseClient, history: History, mostActors: number) {
  const { where, parameters } = ofHistory(history);
  const rows = await select<{ actor_id: string; one_action: string; countries: [string, number][] }>(
    client,
    `SELECT actor_id, any(action_here) AS one_action, groupArray((country, events_here)) AS countries FROM (
       SELECT actor_id, toString(ip_country) AS country, any(toString(action)) AS action_here,
         count() AS events_here, max(seq) AS last_here
       FROM ${TABLES.events} WHERE ${where} AND ip_country != '' GROUP BY actor_id, ip_country)
     GROUP BY actor_id ORDER BY max(last_here) DESC LIMIT {mostActors:UInt32}`,
    { ...parameters, mostActors },
  );
  return rows
    .map(({ actor_id, one_action, countries }) => ({ actorId: actor_id, action: one_action, countries }))
    .reverse();
}

async function countsBySpan(
  client: ClickHouseClient,
  history: History,
  { spanMicros, sinceMicros }: { spanMicros: Micros; sinceMicros: Micros },
) {
  const { where, parameters } = ofHistory(history);
  const rows = await select<{ span: number; events: number }>(
    client,
    `SELECT intDiv(toUnixTimestamp64Micro(created_at), {spanMicros:Int64}) AS span, count() AS events
     FROM ${TABLES.events} WHERE ${where} AND created_at >= fromUnixTimestamp64Micro({sinceMicros:Int64}, 'UTC')
     GROUP BY span ORDER BY span`,
    { ...parameters, spanMicros, sinceMicros: atLeastZero(sinceMicros) },
  );
  return rows.map(({ span, events }) => [span, events] as const);
}

async function alertsOf(
  client: ClickHouseClient,
  rule: { workspaceId: string; ruleId: string },
  range: { throughSeq: number; afterMicros: Micros },
) {
  const rows = await select<{ actor_id: string; newest: Micros }>(
    client,
    `SELECT actor_id, toUnixTimestamp64Micro(max(triggered_at)) AS newest FROM ${TABLES.alerts}
     WHERE workspace_id = {workspaceId:String} AND rule_id = {ruleId:String}
       AND event_seq <= {throughSeq:UInt64} AND ${receivedAfter('triggered_at')}
     GROUP BY actor_id ORDER BY newest DESC LIMIT {mostActors:UInt32}`,
    { ...rule, ...range, afterMicros: atLeastZero(range.afterMicros), mostActors: MOST_ACTORS },
  );
  return rows.map(({ actor_id, newest }) => ({ actorId: actor_id, triggeredAtMicros: newest })).reverse();
}

/** Columns of `alerts`, and what a row has for each. */
const COLUMNS: [string, (row: AlertRow) => unknown][] = [
  ['workspace_id', ({ workspaceId }) => workspaceId],
  ['id', ({ id }) => id],
  ['rule_id', ({ ruleId }) => ruleId],
  ['rule_name', ({ ruleName }) => ruleName],
  ['rule_type', ({ ruleType }) => ruleType],
  ['severity', ({ severity }) => severity],
  ['reason', ({ reason }) => reason],
  ['event_id', ({ eventId }) => eventId],
  ['event_seq', ({ eventSeq }) => eventSeq],
  ['action', ({ action }) => action],
  ['actor_id', ({ actorId }) => actorId],
  ['ip_country', ({ ipCountry }) => ipCountry ?? ''],
  ['is_muted', ({ isMuted }) => isMuted],
  ['triggered_at', ({ triggeredAtMicros }) => timeValue(triggeredAtMicros)],
];

async function writeAlerts(client: ClickHouseClient, rows: readonly AlertRow[]): Promise<void> {
  if (rows.length === 0) return;
  await client.insert({
    table: TABLES.alerts,
    columns: COLUMNS.map(([name]) => name) as [string, ...string[]],
    format: 'JSONCompactEachRow',
    values: rows.map((row) => COLUMNS.map(([, value]) => value(row))),
    // One part: all of it is stored or none.
    clickhouse_settings: {
      async_insert: 0,
      input_format_parallel_parsing: 0,
      max_insert_block_size: '1000000',
    },
  });
}

/** Before 1970 there are no events, and no times either. */
function atLeastZero(micros: Micros): Micros {
  return Math.max(0, micros);
}

function receivedAfter(column: string): string {
  return `${column} > fromUnixTimestamp64Micro({afterMicros:Int64}, 'UTC')`;
}

function ofHistory({ workspaceId, patterns, throughSeq }: History) {
  const fitting = patterns.map((_, index) => `action LIKE {pattern${index}:String}`).join(' OR ');
  return {
    where: `workspace_id = {workspaceId:String} AND seq <= {throughSeq:UInt64} AND (${fitting})`,
    parameters: {
      workspaceId,
      throughSeq,
      ...Object.fromEntries(patterns.map((pattern, index) => [`pattern${index}`, likePattern(pattern)])),
    },
  };
}

/** The same pattern as LIKE spells it. */
function likePattern(pattern: string): string {
  return pattern.replace(/[\\%_]/g, '\\$&').replace(/\*+/g, '%');
}

async function select<T>(
  client: ClickHouseClient,
  query: string,
  parameters: Record<string, unknown>,
): Promise<T[]> {
  const answer = await client.query({ query, query_params: parameters, format: 'JSONEachRow' });
  return await answer.json<T>();
}
