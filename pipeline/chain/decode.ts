import { ImmutableError } from '../../core/errors.ts';
import { type Hasher, portableHasher } from '../../core/hash.ts';
import { type Crc32, decodeQueued, type QueuedEvent, type QueuedMessage } from '../../core/message.ts';
import type { Micros } from '../../core/time.ts';
import type { StreamMessage } from '../reader.ts';
import { damagedMessageEvent } from './own-events.ts';
import type { QuarantineEntry, Source } from './row.ts';

/** A message whose events can be chained. */
export interface ReadMessage {
  sequence: number;
  /** Whose chain the events extend. */
  workspaceId: string;
  /** The time of receipt that the message carries, but never later than when JetStream stored it. */
  timeMicros: Micros;
  events: readonly QueuedEvent[];
  /** Set when the bytes could not be read; `events` then has the one event that says so. */
  damage?: QuarantineEntry;
}

export interface DecodeContext {
  source: Source;
  /** The partition a workspace belongs to. */
  partitionOf(workspaceId: string): number;
  crc32: Crc32;
  hasher?: Hasher;
}

/**
 * Never throws for the bytes: a message that is damaged, unreadable or not of the workspace its subject
 * names is kept as it is for the quarantine, and an event of its own takes its place in the chain of the
 * workspace that the subject names. A subject whose workspace belongs to another partition has no chain
 * here: such a message has no events, only its damage.
 */
export function decodeMessage(message: StreamMessage, context: DecodeContext): ReadMessage {
  const workspaceId = workspaceOfSubject(message.subject);
  if (context.partitionOf(workspaceId) !== context.source.partition) {
    return strayMessage(message, workspaceId);
  }
  try {
    const queued = decodeQueued(message.data, context.crc32);
    if (queued.workspaceId !== workspaceId) {
      return damagedMessage(message, workspaceId, 'it carries the id of another workspace', context);
    }
    return intactMessage(message, workspaceId, queued);
  } catch (error) {
    if (!(error instanceof ImmutableError) || error.code !== 'damaged_message') throw error;
    return damagedMessage(message, workspaceId, error.message, context);
  }
}

function intactMessage(message: StreamMessage, workspaceId: string, queued: QueuedMessage): ReadMessage {
  return {
    sequence: message.sequence,
    // Not the equal text in the message: it is remembered for long, and would keep the whole message in memory.
    workspaceId,
    timeMicros: Math.min(queued.receivedAtMicros, message.storedAtMicros),
    events: queued.events,
  };
}

function damagedMessage(
  message: StreamMessage,
  workspaceId: string,
  reason: string,
  context: DecodeContext,
): ReadMessage {
  return {
    sequence: message.sequence,
    workspaceId,
    timeMicros: message.storedAtMicros,
    events: [
      damagedMessageEvent(
        { workspaceId, source: context.source, message, reason },
        context.hasher ?? portableHasher,
      ),
    ],
    damage: quarantined(message, workspaceId, reason),
  };
}

function strayMessage(message: StreamMessage, workspaceId: string): ReadMessage {
  return {
    sequence: message.sequence,
    workspaceId,
    timeMicros: message.storedAtMicros,
    events: [],
    damage: quarantined(message, workspaceId, 'its subject names a workspace of another partition'),
  };
}

function quarantined(message: StreamMessage, workspaceId: string, reason: string): QuarantineEntry {
  return {
    position: { sequence: message.sequence, index: 0 },
    subject: message.subject,
    workspaceId,
    reason,
    bytes: message.data,
  };
}

/** `events.<partition>.<workspace_id>` */
function workspaceOfSubject(subject: string): string {
  return subject.slice(subject.lastIndexOf('.') + 1);
}
