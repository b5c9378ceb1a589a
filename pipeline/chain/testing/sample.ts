import { partitionOf } from '../../../control/partition.ts';
import { BEFORE_ALL } from '../../../control/position.ts';
import { canonicalTexts } from '../../../core/canonical.ts';
import { EMPTY_HEAD, type Head } from '../../../core/chain.ts';
import { keyedEventId } from '../../../core/id.ts';
import { encodeQueued, type QueuedEvent } from '../../../core/message.ts';
import { formatTimestamp, type Micros } from '../../../core/time.ts';
import { crc32, nativeHasher } from '../../../infra/hash.ts';
import { eventsSubject } from '../../../infra/nats/names.ts';
import type { StreamMessage } from '../../reader.ts';
import type { DecodeContext, ReadMessage } from '../decode.ts';
import { extend } from '../extend.ts';
import type { ChainRow, Source } from '../row.ts';

/* Events, messages and rows for tests of the chain stage. */

export const SAMPLE_EPOCH = '0123456789abcdef';
/** 2026-03-15T12:00:00Z */
export const SAMPLE_MICROS: Micros = Date.UTC(2026, 2, 15, 12) * 1000;

let unkeyed = 0;

/** An accepted event; with a key it has the id that every edge would give it. */
export function sampleEvent(
  workspaceId: string,
  {
    key,
    action = 'document.viewed',
    note = 'ordinary',
  }: { key?: string; action?: string; note?: string } = {},
): QueuedEvent {
  unkeyed += 1;
  const id =
    key === undefined
      ? `0195b5a0-0000-7000-8000-${unkeyed.toString(16).padStart(12, '0')}`
      : keyedEventId(workspaceId, key, nativeHasher);
  const salt = nativeHasher.hex(`salt ${unkeyed}`).slice(0, 32);
  const texts = canonicalTexts(
    {
      id,
      workspace_id: workspaceId,
      occurred_at: formatTimestamp(SAMPLE_MICROS),
      action,
      actor_id: 'user_1',
      actor_name: 'Maria "Mia" Keller',
      idempotency_key: key,
      metadata: { note, path: 'C:\\files\\new' },
    },
    salt,
    nativeHasher,
  );
  return { id, keyed: key !== undefined, salt, ...texts };
}

export function samplePayload(workspaceId: string, events: QueuedEvent[], receivedAtMicros = SAMPLE_MICROS) {
  return encodeQueued({ workspaceId, receivedAtMicros, events }, crc32);
}

/** A message of EVENTS as JetStream would deliver it. */
export function sampleMessage(
  sequence: number,
  workspaceId: string,
  events: QueuedEvent[],
  times: { receivedAtMicros?: Micros; storedAtMicros?: Micros } = {},
  partitions = 1,
): StreamMessage {
  const receivedAtMicros = times.receivedAtMicros ?? SAMPLE_MICROS;
  return {
    sequence,
    subject: eventsSubject(partitionOf(workspaceId, partitions), workspaceId),
    storedAtMicros: times.storedAtMicros ?? receivedAtMicros + 500,
    data: samplePayload(workspaceId, events, receivedAtMicros),
  };
}

export function sampleDecode(partitions = 1): Omit<DecodeContext, 'source'> {
  return { partitionOf: (id) => partitionOf(id, partitions), crc32, hasher: nativeHasher };
}

export function readSample(
  sequence: number,
  workspaceId: string,
  events: QueuedEvent[],
  timeMicros: Micros = SAMPLE_MICROS,
): ReadMessage {
  return { sequence, workspaceId, timeMicros, events };
}

/** Messages chained from the very beginning, as rows. */
export function chainOf(
  source: Source,
  messages: ReadMessage[],
  heads = new Map<string, Head>(),
): ChainRow[] {
  return extend(
    {
      source,
      after: BEFORE_ALL,
      messages,
      headOf: (id) => heads.get(id) ?? EMPTY_HEAD,
      isKnown: () => false,
      refusals: new Map(),
    },
    nativeHasher,
  ).rows;
}
