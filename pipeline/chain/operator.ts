import { type Crc32, encodeQueued, type QueuedEvent } from '../../core/message.ts';
import type { Micros } from '../../core/time.ts';
import { publishBatch } from '../../infra/nats/batch.ts';
import type { NatsConnection } from '../../infra/nats/connect.ts';
import { eventsSubject } from '../../infra/nats/names.ts';

export interface Operator {
  /** Whose chain keeps what concerns no other workspace. */
  workspaceId: string;
  /** The partition of that workspace. */
  partition: number;
}

const PUBLISH_TIMEOUT_MS = 10_000;

/**
 * Sends an event of the pipeline's own into EVENTS, where it is chained like any other. The event must be
 * `keyed`, so that telling again after a lost answer makes one record. Throws when it was not taken.
 */
export async function tellOperator(
  nc: NatsConnection,
  operator: Operator,
  event: QueuedEvent,
  nowMicros: Micros,
  crc32: Crc32,
): Promise<void> {
  const { workspaceId, partition } = operator;
  const payload = encodeQueued({ workspaceId, receivedAtMicros: nowMicros, events: [event] }, crc32);
  const message = { subject: eventsSubject(partition, workspaceId), payload, messageId: event.id };
  const outcome = await publishBatch(nc, [message], PUBLISH_TIMEOUT_MS);
  if (outcome.kind !== 'stored' && outcome.kind !== 'already_stored') {
    throw new Error(`EVENTS did not take an event for the operator: ${outcome.reason}`);
  }
}
