import { comparePositions, type Position, positionText } from '../../control/position.ts';
import { eventHash, type Head, nextCreatedAt } from '../../core/chain.ts';
import { type Hasher, portableHasher } from '../../core/hash.ts';
import type { QueuedEvent } from '../../core/message.ts';
import { formatTimestamp } from '../../core/time.ts';
import type { ReadMessage } from './decode.ts';
import { refusedEvent } from './own-events.ts';
import { type ChainRow, rowBytes, type Source } from './row.ts';

export interface ExtendInput {
  source: Source;
  /** Events at or before this position are in the chain already. */
  after: Readonly<Position>;
  /** One contiguous run of the partition, in order. */
  messages: readonly ReadMessage[];
  /** The newest event of a workspace at or before `after`, `EMPTY_HEAD` while it has none; `undefined` if that was never asked. */
  headOf(workspaceId: string): Readonly<Head> | undefined;
  /** Whether an event with this keyed id is in the chain, at or before `after`. */
  isKnown(keyedId: string): boolean;
  /** Why ClickHouse refused the events at these positions (written as in `positionText`). */
  refusals: ReadonlyMap<string, string>;
}

export interface Extension {
  rows: ChainRow[];
  /** The new heads of the workspaces that grew. */
  heads: Map<string, Head>;
  /** Keyed ids that are in the chain now. */
  keyedIds: Set<string>;
  /** Events left out because their keyed id was known. */
  duplicates: number;
}

/**
 * The chain as a function of the stream: the same messages after the same heads give the same rows, in
 * whichever process and however often. So a crash anywhere repeats work and never changes it.
 */
export function extend(input: ExtendInput, hasher: Hasher = portableHasher): Extension {
  const result: Extension = { rows: [], heads: new Map(), keyedIds: new Set(), duplicates: 0 };
  for (const message of input.messages) {
    for (let index = 0; index < message.events.length; index++) {
      const position = { sequence: message.sequence, index };
      const queued = message.events[index];
      if (queued === undefined || comparePositions(position, input.after) <= 0) continue;
      const event = accepted(input, message, position, queued, hasher);
      if (isDuplicate(input, result, event)) result.duplicates += 1;
      else append(input, result, message, position, event, hasher);
    }
  }
  return result;
}

/** The event itself, or the one that tells of it when ClickHouse refused its row. */
function accepted(
  input: ExtendInput,
  message: ReadMessage,
  position: Position,
  queued: QueuedEvent,
  hasher: Hasher,
): QueuedEvent {
  if (input.refusals.size === 0) return queued;
  const reason = input.refusals.get(positionText(position));
  if (reason === undefined) return queued;
  return refusedEvent({ source: input.source, position, message, refused: queued, reason }, hasher);
}

function isDuplicate(input: ExtendInput, result: Extension, event: QueuedEvent): boolean {
  return event.keyed && (result.keyedIds.has(event.id) || input.isKnown(event.id));
}

function append(
  input: ExtendInput,
  result: Extension,
  message: ReadMessage,
  position: Position,
  event: QueuedEvent,
  hasher: Hasher,
): void {
  const { workspaceId } = message;
  const head = result.heads.get(workspaceId) ?? input.headOf(workspaceId);
  // Taking the unknown for the beginning would fork the chain.
  if (head === undefined) throw new Error(`the head of ${workspaceId} was not looked up`);
  const seq = head.seq + 1;
  const createdAtMicros = nextCreatedAt(head, message.timeMicros);
  const createdAt = formatTimestamp(createdAtMicros);
  const hash = eventHash(head.eventHash, seq, createdAt, event.body, hasher);
  result.rows.push({
    position,
    workspaceId,
    seq,
    createdAtMicros,
    createdAt,
    id: event.id,
    salt: event.salt,
    body: event.body,
    private: event.private,
    eventHash: hash,
    previousEventHash: head.eventHash,
    bytes: rowBytes(event.body, event.private),
  });
  result.heads.set(workspaceId, { seq, createdAtMicros, eventHash: hash });
  if (event.keyed) result.keyedIds.add(event.id);
}
