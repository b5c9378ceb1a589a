import { Readable } from 'node:stream';
import type { ClickHouseClient } from '@clickhouse/client';
import { partitionOf } from '../../control/partition.ts';
import { canonicalTexts } from '../../core/canonical.ts';
import { EMPTY_HEAD, eventHash, type Head, nextCreatedAt } from '../../core/chain.ts';
import type { CompleteEvent, EventInput, Target } from '../../core/event.ts';
import { keyedEventId } from '../../core/id.ts';
import { formatTimestamp, type Micros } from '../../core/time.ts';
import { EVENT_INSERT_COLUMNS, TABLES } from '../../infra/clickhouse/names.ts';
import { nativeHasher } from '../../infra/hash.ts';

/** Valid chains straight into ClickHouse, with no edge and no stream: for tests of what reads, and for benches. */

export const SEED_PARTITIONS = 4;
export const SEED_EPOCH = '5eed5eed5eed5eed';

/** A stored event, with what it was made of. */
export interface SeededEvent {
  event: CompleteEvent;
  seq: number;
  createdAtMicros: Micros;
  createdAt: string;
  eventHash: string;
  previousEventHash: string;
  salt: string;
  body: string;
  private: string;
  streamSeq: number;
  streamIndex: number;
}

export interface SeedOptions {
  /** Continues a chain. */
  head?: Head;
  startMicros?: Micros;
  /** Between two events. */
  stepMicros?: number;
  random?: Random;
}

const START_MICROS = Date.UTC(2026, 2, 15, 12) * 1000;
const EVENTS_A_MESSAGE = 10;

/** Chains `inputs` as the pipeline would. Equal arguments make equal bytes. */
export function chainEvents(
  workspaceId: string,
  inputs: Iterable<EventInput>,
  options: SeedOptions = {},
): SeededEvent[] {
  return [...chained(workspaceId, inputs, options)];
}

/** As `chainEvents`, one at a time. */
export function* chained(
  workspaceId: string,
  inputs: Iterable<EventInput>,
  {
    head = EMPTY_HEAD,
    startMicros = START_MICROS,
    stepMicros = 250_000,
    random = randomFrom(1),
  }: SeedOptions = {},
): Generator<SeededEvent> {
  let last = head;
  let received = Math.max(startMicros, last.createdAtMicros + stepMicros);
  for (const input of inputs) {
    const createdAtMicros = nextCreatedAt(last, received);
    const createdAt = formatTimestamp(createdAtMicros);
    const event: CompleteEvent = {
      ...input,
      id: eventId(workspaceId, input.idempotency_key, createdAtMicros, random),
      workspace_id: workspaceId,
      occurred_at: input.occurred_at ?? createdAt,
    };
    const salt = hexDigits(random, 32);
    const texts = canonicalTexts(event, salt, nativeHasher);
    const seq = last.seq + 1;
    const hash = eventHash(last.eventHash, seq, createdAt, texts.body, nativeHasher);
    yield {
      event,
      seq,
      createdAtMicros,
      createdAt,
      eventHash: hash,
      previousEventHash: last.eventHash,
      salt,
      ...texts,
      streamSeq: 1 + Math.floor((seq - 1) / EVENTS_A_MESSAGE),
      streamIndex: (seq - 1) % EVENTS_A_MESSAGE,
    };
    last = { seq, createdAtMicros, eventHash: hash };
    received += stepMicros;
  }
}

export function headOf(events: readonly SeededEvent[]): Head {
  const last = events.at(-1);
  return last === undefined ? EMPTY_HEAD : last;
}

/** Where seeded rows say that they came from. */
export interface SeedSource {
  epoch: string;
  partition: number;
}

/**
 * Stores events by the thirteen columns that the pipeline inserts. Beside a chain stage that runs, the source
 * must have its stream's epoch and a partition that it does not work on, or it would stop at its next start.
 */
export async function insertSeeded(
  clickhouse: ClickHouseClient,
  events: Iterable<SeededEvent>,
  source?: SeedSource,
): Promise<void> {
  const chainedAt = clickHouseTime(Date.now() * 1000);
  let lines = '';
  let held = 0;
  for (const event of events) {
    lines += insertLine(event, chainedAt, source);
    held += 1;
    if (held === ROWS_AN_INSERT) {
      await insertLines(clickhouse, lines);
      lines = '';
      held = 0;
    }
  }
  if (held > 0) await insertLines(clickhouse, lines);
}

const ROWS_AN_INSERT = 50_000;

async function insertLines(clickhouse: ClickHouseClient, lines: string): Promise<void> {
  await clickhouse.insert({
    table: TABLES.events,
    columns: [...EVENT_INSERT_COLUMNS],
    format: 'TabSeparated',
    values: Readable.from([lines], { objectMode: false }),
  });
}

function insertLine(stored: SeededEvent, chainedAt: string, source: SeedSource | undefined): string {
  const workspaceId = stored.event.workspace_id;
  return `${[
    source?.partition ?? partitionOf(workspaceId, SEED_PARTITIONS),
    source?.epoch ?? SEED_EPOCH,
    stored.streamSeq,
    stored.streamIndex,
    chainedAt,
    workspaceId,
    stored.seq,
    clickHouseTime(stored.createdAtMicros),
    escaped(stored.body),
    escaped(stored.private),
    stored.salt,
    stored.eventHash,
    stored.previousEventHash,
  ].join('\t')}\n`;
}

/** Canonical texts hold no raw tab or newline, so the backslash is all that TSV would read otherwise. */
function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\');
}

function clickHouseTime(micros: Micros): string {
  return formatTimestamp(micros).replace('T', ' ').slice(0, -1);
}

// --- Events to seed with ---------------------------------------------------------------------------

/** A number from 0 to 1, the same series for the same seed. */
export type Random = () => number;

/** mulberry32. */
export function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const ACTIONS = [
  'document.created',
  'document.deleted',
  'user.deleted',
  'user.login',
  'secret_key.rotated',
  '100%.done',
];
const NAMES = [
  'Maria Keller',
  'Zoë "Z" Ångström',
  'back\\slash',
  'ÉCOLE normale',
  '李 小龙',
  'under_score%',
  '',
];
const KINDS = ['document', 'user', 'secret'];

/** Events out of small pools, so that every filter and every pair of filters matches some and not others. */
export function* variedEvents(count: number, random: Random): Generator<EventInput> {
  for (let index = 0; index < count; index += 1) yield variedEvent(index, random);
}

function variedEvent(index: number, random: Random): EventInput {
  const pick = <Item>(items: readonly Item[]) => items[Math.floor(random() * items.length)]!;
  const maybe = <Value>(value: Value) => (random() < 0.7 ? value : undefined);
  const from = (prefix: string, count: number) => `${prefix}_${Math.floor(random() * count)}`;
  return {
    action: pick(ACTIONS),
    actor_id: from('user', 6),
    action_category: maybe(pick(['data', 'access'])),
    actor_name: maybe(pick(NAMES)) || undefined,
    actor_type: maybe(pick(['user', 'service'])),
    idempotency_key: random() < 0.2 ? `key-${index}` : undefined,
    ip_address: maybe(pick(['203.0.113.7', '2001:db8::1'])),
    ...geo(maybe(pick(['DE', 'US']))),
    metadata: maybe(variedMetadata(index, pick)),
    resource: maybe(pick(KINDS)),
    resource_id: maybe(from('doc', 5)),
    resource_name: maybe(pick(['Q3 report/final', 'plans', 'naïve café'])),
    session_id: maybe(from('sess', 4)),
    targets: maybe(variedTargets(pick, from)),
    tenant_id: maybe(from('tenant', 3)),
    user_agent: maybe('Mozilla/5.0 (X11; Linux x86_64)'),
    version: maybe(Math.floor(random() * 2 ** 31)),
  };
}

/** What the edge finds out about an address. */
function geo(country: string | undefined): Pick<CompleteEvent, 'ip_country' | 'ip_city'> {
  return country === undefined
    ? {}
    : { ip_country: country, ip_city: country === 'DE' ? 'Berlin' : 'São Paulo' };
}

type Pick1 = <Item>(items: readonly Item[]) => Item;

function variedMetadata(index: number, pick: Pick1): NonNullable<EventInput['metadata']> {
  return pick([
    {},
    { environment: pick(['production', 'Staging']), build: index % 7 },
    { 'a.b': 1, a: { b: 2 }, ratio: 1.5, big: 1e21, list: [1, null, true, 'x'] },
    { note: 'tab\t newline\n quote" back\\slash / \u0001 \u2028 𝒳', '10': 'ten', '9': 'nine' },
  ]);
}

function variedTargets(pick: Pick1, from: (prefix: string, count: number) => string): Target[] {
  const target = (): Target => ({
    type: pick(KINDS),
    id: pick([from('t', 4), undefined]),
    name: pick(['Target', undefined]),
    metadata: pick([{ depth: 1 }, undefined]),
  });
  return pick([[target()], [target(), target()], [target(), target(), target()]]);
}

function eventId(workspaceId: string, key: string | undefined, micros: Micros, random: Random): string {
  if (key !== undefined) return keyedEventId(workspaceId, key, nativeHasher);
  const time = Math.floor(micros / 1000)
    .toString(16)
    .padStart(12, '0');
  const rest = hexDigits(random, 18);
  return `${time.slice(0, 8)}-${time.slice(8)}-7${rest.slice(0, 3)}-8${rest.slice(3, 6)}-${rest.slice(6)}`;
}

function hexDigits(random: Random, count: number): string {
  let digits = '';
  while (digits.length < count)
    digits += Math.floor(random() * 2 ** 32)
      .toString(16)
      .padStart(8, '0');
  return digits.slice(0, count);
}
