import { type Hasher, portableHasher } from './hash.ts';
import type { Micros } from './time.ts';

/** The newest event of a workspace's chain. */
export interface Head {
  /** 1, 2, 3, …; 0 while the chain is empty. */
  seq: number;
  createdAtMicros: Micros;
  /** 64 lower-case hex characters; empty while the chain is. */
  eventHash: string;
}

export const EMPTY_HEAD: Readonly<Head> = Object.freeze({ seq: 0, createdAtMicros: 0, eventHash: '' });

/**
 * `event_hash` of format v1.
 * @param previous the event hash before this one; empty for the first event
 * @param createdAt RFC 3339 UTC with six fraction digits
 * @param body the canonical body text
 */
export function eventHash(
  previous: string,
  seq: number,
  createdAt: string,
  body: string,
  hasher: Hasher = portableHasher,
): string {
  return hasher.hex(`imk/v1\n${previous}\n${seq}\n${createdAt}\n${body}`);
}

/** `created_at` rises strictly: the time of receipt, or a microsecond after the head where a clock went back. */
export function nextCreatedAt(head: Readonly<Head>, receivedAtMicros: Micros): Micros {
  return head.seq === 0 ? receivedAtMicros : Math.max(receivedAtMicros, head.createdAtMicros + 1);
}
