import type { Position } from '../../control/position.ts';
import type { Head } from '../../core/chain.ts';
import type { Micros } from '../../core/time.ts';
import type { ChainRow, QuarantineEntry, Source } from './row.ts';

/** The end of what is stored of one partition. */
export interface StoredEnd {
  /** Position, epoch and hash (hex) of the row with the highest position; `undefined` while there is no row. */
  highest: (Position & { epoch: string; eventHash: string }) | undefined;
  /** The store's own clock when it answered. */
  clockMicros: Micros;
}

export type InsertOutcome =
  /** The store has answered: the rows are stored, or an earlier insert had the same token. */
  | { kind: 'answered' }
  /** Stored or not: no answer, or one that says nothing about these rows. To be repeated with the same token. */
  | { kind: 'unknown'; reason: string }
  /** Nothing is stored, and as far as the store can tell that is due to what is in the rows. */
  | { kind: 'refused'; reason: string };

/** A row as the chain stage compares it with the stream. */
export interface StoredRow {
  workspaceId: string;
  seq: number;
  body: string;
}

/**
 * Where chains are kept. Everything but `insert` throws when the store cannot answer, and may be asked
 * again. `test/contract/chain-store.test.ts` is what every implementation must do.
 */
export interface ChainStore {
  highestPosition(partition: number): Promise<StoredEnd>;
  /** Of the streams that rows came from, of any partition. */
  epochs(): Promise<string[]>;
  rowAt(partition: number, position: Position): Promise<StoredRow | undefined>;
  /** The newest row of each workspace among those of the partition at or before a position. */
  heads(partition: number, workspaceIds: readonly string[], atOrBefore: Position): Promise<Map<string, Head>>;
  /** Which of these ids, given per workspace, a row of the partition at or before a position has. */
  knownIds(
    partition: number,
    idsByWorkspace: ReadonlyMap<string, readonly string[]>,
    atOrBefore: Position,
  ): Promise<Set<string>>;
  /**
   * Stores all rows or none; they are of one month and within `INSERT_LIMITS`. A second insert with the
   * same token is answered and stores nothing. Rows whose `chainedAtMicros` lies more than five minutes
   * back by the store's clock are refused.
   */
  insert(
    source: Source,
    rows: readonly ChainRow[],
    token: string,
    chainedAtMicros: Micros,
  ): Promise<InsertOutcome>;
  /** Keeps the bytes of what could not enter the chain; the same entry twice is kept once or twice. */
  quarantine(source: Source, entry: QuarantineEntry): Promise<void>;

  /** Where the event `seq` of a workspace stands. */
  positionOf(partition: number, workspaceId: string, seq: number): Promise<Position | undefined>;
  /** The first position that was stored at or after a time; `undefined` when none was. */
  firstPositionSince(partition: number, chainedAtMicros: Micros): Promise<Position | undefined>;
  /** Rows after a position in the order of the stream: all those of the next `messages` messages. */
  rowsAfter(partition: number, after: Position, messages: number): Promise<ChainRow[]>;
}
