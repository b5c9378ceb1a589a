import type { ArchivedEvent } from '../../core/archive.ts';
import type { Micros } from '../../core/time.ts';

/** Events of one workspace, both ends included. */
export interface SeqRange {
  workspaceId: string;
  first: number;
  last: number;
}

/** Where a workspace's chain begins: what is before it was archived. */
export interface Boundary {
  workspaceId: string;
  oldestKeptSeq: number;
  /** Of the last event before it; hex. */
  previousHash: string;
}

/** The stored events, as the retention sees them. Everything throws when the store cannot answer. */
export interface RetentionStore {
  /** First and last event there is; `undefined` for a workspace without events. */
  span(workspaceId: string): Promise<{ first: number; last: number } | undefined>;
  /** The last event from before a moment; `undefined` when there is none. */
  lastBefore(workspaceId: string, moment: Micros): Promise<number | undefined>;
  /** The newest boundary. */
  boundary(workspaceId: string): Promise<Boundary | undefined>;
  /** Events of a range in their order, beginning with the first after a `created_at`; no more than `most`. */
  events(range: SeqRange, after: Micros | undefined, most: number): AsyncIterable<ArchivedEvent>;
  addBoundaries(boundaries: readonly Boundary[]): Promise<void>;
  /** Resolves once they are gone from the disk. May be repeated. */
  remove(ranges: readonly SeqRange[]): Promise<void>;
  /** Brings archived events back for reading. May be repeated. */
  restore(workspaceId: string, events: readonly ArchivedEvent[]): Promise<void>;
}
