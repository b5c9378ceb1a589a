import { jetstreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { STREAM_EVENTS } from './names.ts';

/**
 * How far JetStream's clock is ahead of this process's (negative: behind), in milliseconds; exact to
 * half a round trip. JetStream's is that of the server which stamps the messages of EVENTS.
 */
export async function jetStreamClockSkewMs(nc: NatsConnection): Promise<number> {
  const manager = await jetstreamManager(nc, { checkAPI: false });
  const askedAt = Date.now();
  const { ts } = await manager.streams.info(STREAM_EVENTS);
  const answeredAt = Date.now();
  if (ts === undefined) throw new Error('the NATS server does not say what time it is');
  return Date.parse(ts) - (askedAt + answeredAt) / 2;
}
