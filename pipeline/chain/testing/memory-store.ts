import { comparePositions, type Position, positionText } from '../../../control/position.ts';
import type { Head } from '../../../core/chain.ts';
import type { Micros } from '../../../core/time.ts';
import { INSERT_LIMITS } from '../plan.ts';
import type { ChainRow, QuarantineEntry, Source } from '../row.ts';
import type { ChainStore, InsertOutcome } from '../store.ts';

const FIVE_MINUTES_MICROS = 5 * 60 * 1_000_000;

export type Operation = keyof ChainStore;

export interface StoredMemoryRow extends ChainRow {
  partition: number;
  epoch: string;
  chainedAtMicros: Micros;
}

/**
 * The tables in memory, for tests that need a store to fail at a given moment. As strict as the real one:
 * the contract suite runs on both.
 */
export interface MemoryStore extends ChainStore {
  readonly rows: readonly StoredMemoryRow[];
  readonly quarantined: readonly (QuarantineEntry & Source)[];
  /** Tokens in the order in which rows came with them, dropped ones included. */
  readonly tokens: readonly string[];
  /**
   * Called before and after the effect of every operation. What it throws is what the caller sees: a
   * failure `after` is one whose effect is there although nobody was told.
   */
  fault: (operation: Operation, moment: 'before' | 'after') => void | Promise<void>;
  /** The next insert writes down its token and loses its rows, as ClickHouse does when killed in between. */
  dropNextInsert(): void;
  /** What the table's constraints say of a row; a text is the reason for which it is refused. */
  constraint: (row: ChainRow) => string | undefined;
  clockMicros: () => Micros;
  /** Stores rows as they are, without any check. */
  put(source: Source, rows: readonly ChainRow[]): void;
}

export function memoryStore(): MemoryStore {
  const rows: StoredMemoryRow[] = [];
  const quarantined: (QuarantineEntry & Source)[] = [];
  const tokens: string[] = [];
  let dropping = false;

  function ofPartition(partition: number): StoredMemoryRow[] {
    return rows
      .filter((row) => row.partition === partition)
      .sort((a, b) => comparePositions(a.position, b.position));
  }

  function upTo(partition: number, atOrBefore: Position): StoredMemoryRow[] {
    return ofPartition(partition).filter((row) => comparePositions(row.position, atOrBefore) <= 0);
  }

  function insert(
    source: Source,
    wanted: readonly ChainRow[],
    token: string,
    chainedAtMicros: Micros,
  ): InsertOutcome {
    refuseMisuse(wanted);
    if (chainedAtMicros <= store.clockMicros() - FIVE_MINUTES_MICROS) {
      return { kind: 'refused', reason: 'chained_recently' };
    }
    for (const row of wanted) {
      const reason = store.constraint(row);
      if (reason !== undefined) return { kind: 'refused', reason };
    }
    const isNew = !tokens.includes(token);
    tokens.push(token);
    if (isNew && !dropping)
      store.put(
        source,
        wanted.map((row) => ({ ...row, chainedAtMicros })),
      );
    dropping = false;
    return { kind: 'answered' };
  }

  async function performed<T>(operation: Operation, effect: () => T): Promise<T> {
    await store.fault(operation, 'before');
    const result = effect();
    await store.fault(operation, 'after');
    return result;
  }

  const store: MemoryStore = {
    rows,
    quarantined,
    tokens,
    fault: () => {},
    constraint: () => undefined,
    clockMicros: () => Date.now() * 1000,
    dropNextInsert: () => {
      dropping = true;
    },
    put: (source, wanted) => {
      for (const row of wanted) {
        const chainedAtMicros = 'chainedAtMicros' in row ? Number(row.chainedAtMicros) : store.clockMicros();
        rows.push({ ...row, ...source, chainedAtMicros });
      }
    },

    highestPosition: (partition) =>
      performed('highestPosition', () => {
        const last = ofPartition(partition).at(-1);
        return {
          highest:
            last === undefined
              ? undefined
              : { ...last.position, epoch: last.epoch, eventHash: last.eventHash },
          clockMicros: store.clockMicros(),
        };
      }),
    epochs: () => performed('epochs', () => [...new Set(store.rows.map((row) => row.epoch))]),
    rowAt: (partition, position) =>
      performed('rowAt', () =>
        ofPartition(partition).find((row) => comparePositions(row.position, position) === 0),
      ),
    heads: (partition, workspaceIds, atOrBefore) =>
      performed('heads', () => {
        const found = new Map<string, Head>();
        for (const row of upTo(partition, atOrBefore)) {
          const { seq, createdAtMicros, eventHash } = row;
          const isWanted = workspaceIds.includes(row.workspaceId);
          if (isWanted && createdAtMicros > (found.get(row.workspaceId)?.createdAtMicros ?? 0)) {
            found.set(row.workspaceId, { seq, createdAtMicros, eventHash });
          }
        }
        return found;
      }),
    knownIds: (partition, idsByWorkspace, atOrBefore) =>
      performed('knownIds', () => {
        const ofWorkspace = (row: ChainRow) => idsByWorkspace.get(row.workspaceId) ?? [];
        const known = upTo(partition, atOrBefore).filter((row) => ofWorkspace(row).includes(row.id));
        return new Set(known.map((row) => row.id));
      }),
    insert: async (source, wanted, token, chainedAtMicros) => {
      try {
        return await performed('insert', () => insert(source, wanted, token, chainedAtMicros));
      } catch (error) {
        return { kind: 'unknown', reason: String(error) };
      }
    },
    quarantine: (source, entry) =>
      performed('quarantine', () => {
        const isSame = (known: QuarantineEntry & Source) =>
          known.partition === source.partition &&
          known.epoch === source.epoch &&
          positionText(known.position) === positionText(entry.position);
        if (!quarantined.some(isSame)) quarantined.push({ ...entry, ...source });
      }),
    positionOf: (partition, workspaceId, seq) =>
      performed(
        'positionOf',
        () =>
          ofPartition(partition).find((row) => row.workspaceId === workspaceId && row.seq === seq)?.position,
      ),
    firstPositionSince: (partition, chainedAtMicros) =>
      performed(
        'firstPositionSince',
        () => ofPartition(partition).find((row) => row.chainedAtMicros >= chainedAtMicros)?.position,
      ),
    rowsAfter: (partition, after, messages) =>
      performed('rowsAfter', () => {
        const later = ofPartition(partition).filter((row) => comparePositions(row.position, after) > 0);
        const sequences = [...new Set(later.map((row) => row.position.sequence))].slice(0, messages);
        return later.filter((row) => sequences.includes(row.position.sequence));
      }),
  };
  return store;
}

function refuseMisuse(rows: readonly ChainRow[]): void {
  const months = new Set(rows.map((row) => row.createdAt.slice(0, 7)));
  if (months.size !== 1) throw new RangeError('an insert is of one month');
  if (rows.length > INSERT_LIMITS.rows) throw new RangeError('an insert has too many rows');
}
