import { EVENT_INSERT_COLUMNS, TABLES } from '../../infra/clickhouse/names.ts';

/**
 * Events made in SQL, as many as a disk holds: the texts have the shape and size of real ones, and so has the
 * way in which values repeat (few actors do most, sessions are twenty events each). Nothing is chained: hashes
 * are only as long and as random as real ones.
 */
export interface RowPlan {
  rows: number;
  /** In the order of the sort key, so that rows are made in the order they are stored in. */
  workspaces: { id: string; share: number }[];
  /** End of the newest event; they reach back from here. */
  untilMillis: number;
  spanMillis: number;
}

export const SPAN_DAYS = 180;
/** Events of one insert: all workspaces, one stretch of time. */
const CHUNK_ROWS = 250_000;
const EVENTS_A_SESSION = 20;
const SESSIONS_AT_ONCE = 20;
/** No chain stage looks at a partition this high, so a stack may run over these rows. */
const PARTITION = 60_000;

const RESOURCES = [
  'document',
  'user',
  'invoice',
  'project',
  'secret',
  'api_key',
  'role',
  'report',
  'webhook',
  'team',
];
const VERBS = ['viewed', 'updated', 'created', 'deleted'];
const WORDS = (
  'quarterly budget review draft contract customer northern shipment renewal pipeline forecast summary ' +
  'harbour engine window silver garden meadow lantern copper bridge valley winter orchard compass marble ' +
  'velvet canyon feather anchor thunder willow saffron cobalt ember juniper kestrel linen mosaic nectar ' +
  'opal pepper quartz raven sable timber umber violet walnut yarrow zinc almond birch cedar dahlia elm'
).split(' ');
const FIRST_NAMES =
  'Sarah Maria Zoë Liam Noah Aiko Priya Omar Elena Jonas Lucía Mateo Ingrid Wei Fatima'.split(' ');
const LAST_NAMES = 'Chen Keller Ångström Okafor Silva Novak Haddad Larsen Moreau Tanaka Rossi Weber'.split(
  ' ',
);
const COUNTRIES = 'US DE GB FR IN BR JP CA NL ES PL SE AU MX ZA KR IT CH SG NZ'.split(' ');
const CATEGORIES = ['data', 'access', 'admin', 'security'];

/** Values that the rows hold often, seldom and never, for whoever asks for them. */
export const KNOWN = {
  /** `n` from 0: the smaller, the more often; 20,000 of them. */
  actor: (n: number) => `user_${n}`,
  actors: 20_000,
  resourceId: (n: number) => `res_${n}`,
  resourceIds: 200_000,
  target: (n: number) => `fld_${n}`,
  targets: 100_000,
  tenant: (n: number) => `org_${n}`,
  tenants: 400,
  frequentWord: 'quarterly',
  /** In one of 100,000 events. */
  rareWord: 'zephyrine',
  resources: RESOURCES,
  verbs: VERBS,
  countries: COUNTRIES,
} as const;

/** The largest has a fifth of all events; the others get less and less. */
export function shares(count: number): number[] {
  const weights = Array.from({ length: count - 1 }, (_, index) => (index + 1) ** -0.8);
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return [0.2, ...weights.map((weight) => (0.8 * weight) / sum)];
}

/** One INSERT a chunk, oldest first. */
export function* insertStatements(plan: RowPlan): Generator<{ sql: string; rows: number }> {
  const chunkRows = Math.min(CHUNK_ROWS, Math.ceil(plan.rows / 10));
  const chunks = Math.ceil(plan.rows / chunkRows);
  for (let chunk = 0; chunk < chunks; chunk += 1) {
    yield { sql: insertStatement(plan, chunk, chunks, chunkRows), rows: chunkRows };
  }
}

function insertStatement(plan: RowPlan, chunk: number, chunks: number, chunkRows: number): string {
  const ends = endsOf(plan.workspaces, chunkRows);
  const sizes = ends.map((end, index) => end - (ends[index - 1] ?? 0));
  const spanMicros = Math.floor((plan.spanMillis * 1000) / chunks);
  const startMicros = (plan.untilMillis - plan.spanMillis) * 1000 + chunk * spanMicros;
  return `INSERT INTO ${TABLES.events} (${EVENT_INSERT_COLUMNS.join(', ')})
WITH
  ${array(plan.workspaces.map(({ id }) => id))} AS workspaces,
  [${ends.join(', ')}] AS ends,
  [${sizes.join(', ')}] AS sizes
SELECT ${PARTITION}, 'benchbenchbenchb', ${chunk} * ${chunkRows} + number, 0, now64(6, 'UTC'), workspace, seq, created_at,
  body, private, lower(hex(MD5(private))), lower(hex(SHA256(body))), lower(hex(SHA256(id)))
FROM (
  SELECT *,
    concat('{"action":"', action, '","action_category":"', ${pick(CATEGORIES, 'category')}, '","actor_id":"', actor_id,
      '","actor_type":"', if(${uniform('type')} < 0.9, 'user', 'service'), '","id":"', id, '","ip_country":"', ${pick(COUNTRIES, 'country', 2)},
      '","occurred_at":"', occurred_at, '","private":"', lower(hex(SHA256(private))), '","resource":"', resource, '","resource_id":"', resource_id,
      '","session_id":"sess_', lower(hex(session_seed)), '","tenant_id":"', tenant_id, '","workspace_id":"', workspace, '"}') AS body
  FROM (
    SELECT *,
      ${pick(RESOURCES, 'resource', 1.5)} AS resource,
      concat(resource, '.', ${pick(VERBS, 'verb', 2)}) AS action,
      concat('user_', toString(${zipf(KNOWN.actors, 'session_seed', 'actor', 3)})) AS actor_id,
      concat('org_', toString(${zipf(KNOWN.tenants, 'session_seed', 'tenant', 2)})) AS tenant_id,
      concat('res_', toString(${zipf(KNOWN.resourceIds, 'seed', 'resource_id', 2)})) AS resource_id,
      concat(replaceOne(formatDateTime(created_at, '%F %T.%f'), ' ', 'T'), 'Z') AS occurred_at,
      leftPad(lower(hex(toUInt64(toUnixTimestamp64Milli(created_at)))), 12, '0') AS time_hex,
      leftPad(lower(hex(seed)), 16, '0') AS seed_hex,
      concat(substring(time_hex, 1, 8), '-', substring(time_hex, 9, 4), '-7', substring(seed_hex, 1, 3), '-a', substring(seed_hex, 4, 3), '-', substring(seed_hex, 5, 12)) AS id,
      concat('{"actor_name":"', ${pick(FIRST_NAMES, 'first', 1, 'session_seed')}, ' ', ${pick(LAST_NAMES, 'last', 1, 'session_seed')},
        '","ip_address":"203.0.113.', toString(session_seed % 250), '","metadata":{"department":"', ${pick(WORDS, 'department', 3)},
        '","note":"', ${[1, 2, 3, 4].map((n) => `${pick(WORDS, `word${n}`, 2)}, ' '`).join(', ')}, if(cityHash64(seed, 'rare') % 100000 = 0, '${KNOWN.rareWord}', 'done'),
        '","page_count":', toString(seed % 90), ',"reference":"', substring(seed_hex, 1, 10), '"},"resource_name":"', ${pick(WORDS, 'name', 1)}, ' ', toString(seed % 1000),
        '.pdf","targets":[{"id":"fld_', toString(${zipf(KNOWN.targets, 'seed', 'target', 2)}), '","type":"', ${pick(['folder', 'team', 'project'], 'target_type', 2)},
        '"}],"user_agent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"}') AS private
    FROM (
      SELECT number,
        arrayFirstIndex(end -> end > number, ends) AS workspace_index,
        workspaces[workspace_index] AS workspace,
        number - ends[workspace_index] + sizes[workspace_index] AS place,
        ${chunk} * sizes[workspace_index] + place + 1 AS seq,
        fromUnixTimestamp64Micro(toInt64(${startMicros} + intDiv(place * ${spanMicros}, sizes[workspace_index])), 'UTC') AS created_at,
        cityHash64(workspace_index, seq) AS seed,
        cityHash64(workspace_index, ${chunk}, intDiv(place, ${EVENTS_A_SESSION * SESSIONS_AT_ONCE}), place % ${SESSIONS_AT_ONCE}) AS session_seed
      FROM numbers(${chunkRows})
    )
  )
)`;
}

/** Where each workspace's rows end within a chunk. */
function endsOf(workspaces: RowPlan['workspaces'], chunkRows: number): number[] {
  let end = 0;
  const ends = workspaces.map(({ share }) => {
    end += share;
    return Math.round(end * chunkRows);
  });
  return [...ends.slice(0, -1), chunkRows];
}

/** From 0 to 1, another for each name. */
function uniform(name: string, seed = 'seed'): string {
  return `(bitAnd(cityHash64(${seed}, '${name}'), 16777215) / 16777216)`;
}

/** One of the list; with a higher power the first ones come more often. */
function pick(list: readonly string[], name: string, power = 1, seed = 'seed'): string {
  return `${array(list)}[1 + ${zipf(list.length, seed, name, power)}]`;
}

function zipf(count: number, seed: string, name: string, power: number): string {
  return `toUInt32(${count} * pow(${uniform(name, seed)}, ${power}))`;
}

function array(values: readonly string[]): string {
  return `[${values.map((value) => `'${value}'`).join(', ')}]`;
}
