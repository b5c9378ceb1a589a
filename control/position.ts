/**
 * Where an event stands in EVENTS: the sequence of its message, and its index within that message.
 * Positions are the pipeline's only book-keeping; each stored row carries its own.
 */
export interface Position {
  sequence: number;
  index: number;
}

/** Before every event: JetStream counts from 1. */
export const BEFORE_ALL: Readonly<Position> = Object.freeze({ sequence: 0, index: 0 });

/** Negative when `a` comes first. */
export function comparePositions(a: Readonly<Position>, b: Readonly<Position>): number {
  return a.sequence - b.sequence || a.index - b.index;
}

export function samePosition(a: Readonly<Position>, b: Readonly<Position>): boolean {
  return a.sequence === b.sequence && a.index === b.index;
}

/** `<sequence>.<index>`, as in deduplication tokens and logs. */
export function positionText(position: Readonly<Position>): string {
  return `${position.sequence}.${position.index}`;
}
