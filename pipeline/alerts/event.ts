import type { AlertEvent } from '../../core/alerts/rule.ts';
import { ImmutableError } from '../../core/errors.ts';
import { isJsonObject } from '../../core/json.ts';
import type { ChainedEvent } from '../../core/message.ts';
import { parseTimestamp } from '../../core/time.ts';

/**
 * What the rules look at in an event, as CHAINED carries it. Nothing of it is in the private text. Throws
 * `damaged_message` for what no chain of ours holds.
 */
export function alertEventOf({ id, seq, createdAt, body }: ChainedEvent): AlertEvent {
  const members = parse(body);
  const createdAtMicros = parseTimestamp(createdAt);
  if (isJsonObject(members) && createdAtMicros !== null) {
    const { action, actor_id: actorId, ip_country: ipCountry } = members;
    const isLocated = typeof ipCountry === 'string';
    if (typeof action === 'string' && typeof actorId === 'string' && (isLocated || ipCountry === undefined)) {
      return { id, seq, createdAtMicros, action, actorId, ipCountry };
    }
  }
  throw new ImmutableError('damaged_message', `Event ${seq} (${id}) cannot be read.`);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
