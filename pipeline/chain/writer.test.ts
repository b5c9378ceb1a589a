import { describe, expect, it } from 'vitest';
import { BEFORE_ALL } from '../../control/position.ts';
import type { ChainRow, Source } from './row.ts';
import { memoryStore } from './testing/memory-store.ts';
import { chainOf, readSample, SAMPLE_EPOCH, sampleEvent } from './testing/sample.ts';
import { type Batch, BatchRefused, createWriter, lastPosition, type WriterOptions } from './writer.ts';

const A = 'ws_aaaaaaaaaaaaaaaa';
const SOURCE: Source = { partition: 3, epoch: SAMPLE_EPOCH };
const TIMING = {
  droppedTokenMs: 30,
  lookAgainMs: 5,
  lookBeforeInsertMs: 1_000,
  firstRetryMs: 1,
  longestRetryMs: 5,
};

const rows = chainOf(
  SOURCE,
  [1, 2, 3, 4, 5, 6].map((sequence) => readSample(sequence, A, [sampleEvent(A)])),
);

/** Rows by the sequences of their messages, from the first to the last. */
function batchOf(first: number, last: number): Batch {
  const [head, ...tail] = rows.slice(first - 1, last);
  return { after: rows[first - 2]?.position ?? BEFORE_ALL, rows: [head!, ...tail] };
}

function writerOn(store: WriterOptions['store'], given: Partial<WriterOptions> = {}) {
  return createWriter({
    source: SOURCE,
    store,
    signal: new AbortController().signal,
    timing: TIMING,
    ...given,
  });
}

function sequences(stored: readonly ChainRow[]) {
  return stored.map((row) => row.position.sequence);
}

describe('a writer', () => {
  it('stores batch after batch, under the position of their first event', async () => {
    const store = memoryStore();
    const writer = writerOn(store);
    await writer.store(batchOf(1, 2));
    await writer.store(batchOf(3, 5));
    expect(sequences(store.rows)).toEqual([1, 2, 3, 4, 5]);
    expect(store.tokens).toEqual(['3:1.0', '3:3.0']);
  });

  it('stamps rows with the store’s clock at the moment of its last look, not with its own', async () => {
    const store = memoryStore();
    store.clockMicros = () => 1_000_000;
    await writerOn(store).store(batchOf(1, 1));
    expect(store.rows[0]?.chainedAtMicros).toBe(1_000_000);
  });

  it('looks again before an insert when its last look is long ago', async () => {
    const store = memoryStore();
    let now = 0;
    let looks = 0;
    store.fault = (operation, moment) => {
      if (operation === 'highestPosition' && moment === 'before') looks += 1;
    };
    const writer = writerOn(store, { nowMs: () => now });
    await writer.store(batchOf(1, 1));
    const before = looks;
    await writer.store(batchOf(2, 2));
    expect(looks - before).toBe(1);
    now += 60_000;
    await writer.store(batchOf(3, 3));
    expect(looks - before).toBe(3);
  });

  describe('with a lost answer', () => {
    it.each(['before', 'after'] as const)(
      'goes on as the store tells, when it was lost %s the effect',
      async (when) => {
        const store = memoryStore();
        let failures = 3;
        store.fault = (operation, moment) => {
          if (operation === 'insert' && moment === when && failures-- > 0)
            throw new Error('connection reset');
        };
        const writer = writerOn(store);
        await writer.store(batchOf(1, 3));
        await writer.store(batchOf(4, 4));
        expect(sequences(store.rows)).toEqual([1, 2, 3, 4]);
      },
    );

    it('repeats under the same token, so that an insert still under way cannot land twice', async () => {
      const store = memoryStore();
      let late: (() => Promise<unknown>) | undefined;
      const slow = {
        ...store,
        insert: async (...given: Parameters<typeof store.insert>) => {
          if (late !== undefined) return await store.insert(...given);
          late = () => store.insert(...given);
          return { kind: 'unknown', reason: 'timeout' } as const;
        },
      };
      await writerOn(slow).store(batchOf(1, 2));
      await late?.();
      expect(sequences(store.rows)).toEqual([1, 2]);
    });

    it('asks for as long as the store is away', async () => {
      const store = memoryStore();
      let failures = 20;
      store.fault = () => {
        if (failures-- > 0) throw new Error('connection refused');
      };
      await writerOn(store).store(batchOf(1, 1));
      expect(sequences(store.rows)).toEqual([1]);
    });
  });

  describe('with another process on the same partition', () => {
    it('steps down when its insert was dropped for a shorter one of the other', async () => {
      const store = memoryStore();
      await writerOn(store).store(batchOf(1, 2));
      await expect(writerOn(store).store(batchOf(1, 4))).rejects.toMatchObject({ code: 'fenced' });
      expect(sequences(store.rows)).toEqual([1, 2]);
    });

    it('steps down when the other stored more', async () => {
      const store = memoryStore();
      await writerOn(store).store(batchOf(1, 4));
      await expect(writerOn(store).store(batchOf(1, 2))).rejects.toMatchObject({ code: 'fenced' });
    });

    it('steps down when the other went on in between', async () => {
      const store = memoryStore();
      const one = writerOn(store);
      await one.store(batchOf(1, 1));
      const other = writerOn(store);
      await other.store(batchOf(2, 3));
      await expect(one.store(batchOf(2, 5))).rejects.toMatchObject({ code: 'fenced' });
      await other.store(batchOf(4, 5));
      expect(sequences(store.rows)).toEqual([1, 2, 3, 4, 5]);
    });

    it('goes on when the other stored exactly the same', async () => {
      const store = memoryStore();
      const [one, other] = [writerOn(store), writerOn(store)];
      await Promise.all([one.store(batchOf(1, 2)), other.store(batchOf(1, 2))]);
      await one.store(batchOf(3, 4));
      await expect(other.store(batchOf(3, 5))).rejects.toMatchObject({ code: 'fenced' });
      expect(sequences(store.rows)).toEqual([1, 2, 3, 4]);
    });

    it('steps down when the other stored something else at the same positions', async () => {
      const store = memoryStore();
      const others = chainOf(
        SOURCE,
        [1, 2].map((sequence) => readSample(sequence, A, [sampleEvent(A)])),
      );
      store.put(SOURCE, others);
      await expect(writerOn(store).store(batchOf(1, 2))).rejects.toMatchObject({ code: 'fenced' });
    });

    it('steps down when rows it has stored are gone', async () => {
      const store = memoryStore();
      await expect(writerOn(store).store(batchOf(3, 4))).rejects.toMatchObject({ code: 'fenced' });
      expect(store.rows).toEqual([]);
    });

    it('steps down when the rows are of another life of the stream', async () => {
      const store = memoryStore();
      store.put({ ...SOURCE, epoch: 'f'.repeat(16) }, rows.slice(0, 2));
      await expect(writerOn(store).store(batchOf(3, 4))).rejects.toMatchObject({ code: 'fenced' });
    });

    it('cannot land what it sends after a long pause', async () => {
      const store = memoryStore();
      let clock = 1_000_000_000_000;
      store.clockMicros = () => clock;
      const paused = writerOn({
        ...store,
        insert: async (...given: Parameters<typeof store.insert>) => {
          clock += 3_600_000_000;
          await writerOn(store).store(batchOf(1, 1));
          // The deduplication window has long forgotten the token by now.
          return await store.insert(given[0], given[1], 'a token nobody remembers', given[3]);
        },
      });
      await expect(paused.store(batchOf(1, 3))).rejects.toMatchObject({ code: 'fenced' });
      expect(sequences(store.rows)).toEqual([1]);
    });
  });

  it('stamps anew and repeats when it was merely too slow', async () => {
    const store = memoryStore();
    let clock = 1_000_000_000_000;
    let delays = 1;
    store.clockMicros = () => clock;
    store.fault = (operation, moment) => {
      if (operation === 'insert' && moment === 'before' && delays-- > 0) clock += 3_600_000_000;
    };
    await writerOn(store).store(batchOf(1, 2));
    expect(sequences(store.rows)).toEqual([1, 2]);
  });

  it('repeats a dropped insert under further tokens', async () => {
    const store = memoryStore();
    store.dropNextInsert();
    const dropped: string[] = [];
    const writer = writerOn(store, { onDroppedToken: (token) => dropped.push(token) });
    await writer.store(batchOf(1, 2));
    await writer.store(batchOf(3, 3));
    expect(sequences(store.rows)).toEqual([1, 2, 3]);
    expect(dropped).toEqual(['3:1.0']);
    expect(store.tokens).toEqual(['3:1.0', '3:1.0:1', '3:3.0']);
  });

  it('goes through all tokens that were lost that way, also after a restart', async () => {
    const store = memoryStore();
    for (const token of ['3:1.0', '3:1.0:1']) {
      store.dropNextInsert();
      await store.insert(SOURCE, rows.slice(0, 1), token, store.clockMicros());
    }
    await writerOn(store).store(batchOf(1, 2));
    expect(store.tokens.at(-1)).toBe('3:1.0:2');
    expect(sequences(store.rows)).toEqual([1, 2]);
  });

  it('does not repeat an insert that becomes visible late', async () => {
    const store = memoryStore();
    let blindLooks = 3;
    const writer = writerOn({
      ...store,
      highestPosition: async (partition) => {
        const end = await store.highestPosition(partition);
        return store.rows.length > 0 && blindLooks-- > 0 ? { ...end, highest: undefined } : end;
      },
    });
    await writer.store(batchOf(1, 2));
    expect(store.tokens).toEqual(['3:1.0']);
  });

  it('says when the store refuses what is in a batch', async () => {
    const store = memoryStore();
    store.constraint = (row) => (row.position.sequence === 2 ? 'poison' : undefined);
    const refused = writerOn(store).store(batchOf(1, 3));
    await expect(refused).rejects.toBeInstanceOf(BatchRefused);
    await expect(refused).rejects.toMatchObject({ message: 'poison' });
    expect(store.rows).toEqual([]);
  });

  it('ends when it is told to', async () => {
    const store = memoryStore();
    store.fault = () => {
      throw new Error('connection refused');
    };
    const stopping = new AbortController();
    const storing = writerOn(store, { signal: stopping.signal }).store(batchOf(1, 1));
    stopping.abort(new Error('stop'));
    await expect(storing).rejects.toThrow();
  });

  it('knows the end of its batch', () => {
    expect(lastPosition(batchOf(2, 4))).toEqual({ sequence: 4, index: 0 });
  });
});
