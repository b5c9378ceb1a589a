import { type Position, positionText } from '../../control/position.ts';
import { canonicalTexts } from '../../core/canonical.ts';
import { type Hasher, portableHasher } from '../../core/hash.ts';
import type { QueuedEvent } from '../../core/message.ts';
import { formatTimestamp, type Micros } from '../../core/time.ts';
import type { StreamMessage } from '../reader.ts';
import type { ReadMessage } from './decode.ts';
import type { Source } from './row.ts';

/*
 * The events this stage adds to a chain by itself, where something could not enter it as it came.
 * Id and salt are hashes of what the event tells of, so that every replay makes the same bytes; the salt
 * can therefore be guessed, and their private texts hold nothing that is private.
 */

/** Takes the place of a message whose bytes could not be read. They are in the quarantine. */
export function damagedMessageEvent(
  damage: { workspaceId: string; source: Source; message: StreamMessage; reason: string },
  hasher: Hasher = portableHasher,
): QueuedEvent {
  const { source, message } = damage;
  return ownEvent(
    {
      action: 'immutable.message_damaged',
      subject: `${source.epoch}:${message.sequence}`,
      workspaceId: damage.workspaceId,
      occurredAtMicros: message.storedAtMicros,
      resource: 'message',
      facts: {
        reason: damage.reason,
        bytes: message.data.byteLength,
        sha256: hexOf(hasher.bytes(message.data)),
      },
    },
    hasher,
  );
}

/** Takes the place of an event whose row ClickHouse refused. Its texts are in the quarantine. */
export function refusedEvent(
  refusal: { source: Source; position: Position; message: ReadMessage; refused: QueuedEvent; reason: string },
  hasher: Hasher = portableHasher,
): QueuedEvent {
  const { source, position, message, refused } = refusal;
  return ownEvent(
    {
      action: 'immutable.event_refused',
      subject: `${source.epoch}:${positionText(position)}`,
      workspaceId: message.workspaceId,
      occurredAtMicros: message.timeMicros,
      resource: 'event',
      facts: { event_id: refused.id, reason: refusal.reason, body_sha256: hasher.hex(refused.body) },
    },
    hasher,
  );
}

/**
 * For the operator's chain: messages that are gone from EVENTS before they were chained, or that no
 * workspace of their partition can be named for. `keyed`, so that telling it twice makes one record.
 */
export function lostMessagesEvent(
  loss: {
    operatorWorkspaceId: string;
    epoch: string;
    /** First and last sequence of the gap. */
    first: number;
    last: number;
    reason: 'deleted' | 'unreadable' | 'wrong_partition';
    foundAtMicros: Micros;
  },
  hasher: Hasher = portableHasher,
): QueuedEvent {
  const event = ownEvent(
    {
      action: 'immutable.messages_lost',
      subject: `${loss.epoch}:${loss.first}-${loss.last}`,
      workspaceId: loss.operatorWorkspaceId,
      occurredAtMicros: loss.foundAtMicros,
      resource: 'message',
      facts: { reason: loss.reason, first_sequence: loss.first, last_sequence: loss.last },
    },
    hasher,
  );
  return { ...event, keyed: true };
}

/** For the operator's chain: events that were archived and then removed. `keyed`, as a run may be repeated. */
export function retentionEvent(
  removal: {
    operatorWorkspaceId: string;
    workspaceId: string;
    /** First and last event that were removed. */
    first: number;
    last: number;
    /** What the oldest event that was kept must follow. */
    lastHash: string;
    archives: number;
    atMicros: Micros;
  },
  hasher: Hasher = portableHasher,
): QueuedEvent {
  const event = ownEvent(
    {
      action: 'immutable.events_archived',
      subject: `${removal.workspaceId}:${removal.first}-${removal.last}`,
      workspaceId: removal.operatorWorkspaceId,
      occurredAtMicros: removal.atMicros,
      resource: 'workspace',
      facts: {
        workspace_id: removal.workspaceId,
        first_seq: removal.first,
        last_seq: removal.last,
        last_event_hash: removal.lastHash,
        archives: removal.archives,
      },
    },
    hasher,
  );
  return { ...event, keyed: true };
}

interface OwnEvent {
  action: string;
  /** What it tells of, unique among events of this action. */
  subject: string;
  workspaceId: string;
  occurredAtMicros: Micros;
  resource: string;
  facts: Record<string, string | number>;
}

function ownEvent(event: OwnEvent, hasher: Hasher): QueuedEvent {
  const identity = `${event.workspaceId}\n${event.action}\n${event.subject}`;
  const id = uuidV8(hasher.hex(`imk/own-id/v1\n${identity}`));
  const salt = hasher.hex(`imk/own-salt/v1\n${identity}`).slice(0, 32);
  const texts = canonicalTexts(
    {
      id,
      workspace_id: event.workspaceId,
      occurred_at: formatTimestamp(event.occurredAtMicros),
      actor_id: 'immutable',
      actor_type: 'system',
      action: event.action,
      action_category: 'system',
      resource: event.resource,
      resource_id: event.subject,
      metadata: event.facts,
    },
    salt,
    hasher,
  );
  return { id, keyed: false, salt, body: texts.body, private: texts.private };
}

/** RFC 9562 §5.8, from the first 16 bytes of a digest. */
function uuidV8(hex: string): string {
  const variant = ((Number.parseInt(hex.charAt(16), 16) & 0b0011) | 0b1000).toString(16);
  const parts = [hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`, variant + hex.slice(17, 20)];
  return `${parts.join('-')}-${hex.slice(20, 32)}`;
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
