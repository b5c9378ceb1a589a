import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ImmutableError } from '../core/errors.ts';
import type { AcceptedEvent } from './accept.ts';
import { createIdempotencyMemory } from './idempotency.ts';
import { createRecorder } from './recorder.ts';

const keyed = (id: string): AcceptedEvent => ({ id, keyed: true, line: `${id}\n`, warnings: [] });
const unkeyed = (id: string): AcceptedEvent => ({ ...keyed(id), keyed: false });

function setUp({ known = [] as string[], fails = (_: number): boolean => false, findMs = 0 } = {}) {
  const committed: string[][] = [];
  const asked: string[][] = [];
  let commits = 0;
  const record = createRecorder({
    committer: {
      commit: async (_, lines) => {
        commits += 1;
        const failing = fails(commits);
        await delay(5);
        if (failing) throw new ImmutableError('unavailable', 'not stored');
        committed.push([...lines].map((line) => line.trim()));
      },
    },
    memory: createIdempotencyMemory(100),
    findDuplicates: async (_, ids) => {
      asked.push([...ids]);
      await delay(findMs);
      return new Set(known.filter((id) => ids.includes(id)));
    },
  });
  const statuses = async (...events: AcceptedEvent[]) =>
    (await record('w', events)).map(({ status }) => status);
  return { record, statuses, committed, asked };
}

describe('recording', () => {
  it('commits events without keys in order, asking nobody', async () => {
    const { statuses, committed, asked } = setUp();
    expect(await statuses(unkeyed('a'), unkeyed('b'))).toEqual(['queued', 'queued']);
    expect(committed).toEqual([['a', 'b']]);
    expect(asked).toEqual([]);
  });

  it('commits a key once, and calls what comes again a duplicate', async () => {
    const { statuses, committed, asked } = setUp();
    expect(await statuses(keyed('k'))).toEqual(['queued']);
    expect(await statuses(keyed('k'), unkeyed('a'), keyed('l'))).toEqual(['duplicate', 'queued', 'queued']);
    expect(committed).toEqual([['k'], ['a', 'l']]);
    expect(asked).toEqual([['k'], ['l']]);
  });

  it('commits a key once within one request', async () => {
    const { statuses, committed } = setUp();
    expect(await statuses(keyed('k'), unkeyed('a'), keyed('k'))).toEqual(['queued', 'queued', 'duplicate']);
    expect(committed).toEqual([['k', 'a']]);
  });

  it('lets a repetition wait for the first one, from the moment that arrived', async () => {
    const { statuses, committed } = setUp({ findMs: 10 });
    const first = statuses(keyed('k'));
    const second = statuses(keyed('k'));
    await delay(12);
    const third = statuses(keyed('k'));
    expect(await Promise.all([first, second, third])).toEqual([['queued'], ['duplicate'], ['duplicate']]);
    expect(committed).toEqual([['k']]);
  });

  it('does not commit what ClickHouse has', async () => {
    const { statuses, committed } = setUp({ known: ['old'] });
    expect(await statuses(keyed('old'))).toEqual(['duplicate']);
    expect(committed).toEqual([]);
    expect(await statuses(keyed('old'), keyed('new'))).toEqual(['duplicate', 'queued']);
    expect(committed).toEqual([['new']]);
  });

  it('remembers nothing of a commit that failed', async () => {
    const { statuses, committed } = setUp({ fails: (commit) => commit === 1 });
    const first = statuses(keyed('k'));
    const second = statuses(keyed('k'));
    await expect(first).rejects.toMatchObject({ code: 'unavailable' });
    await expect(second).rejects.toMatchObject({ code: 'unavailable' });
    expect(await statuses(keyed('k'))).toEqual(['queued']);
    expect(committed).toEqual([['k']]);
  });

  it('rejects when nothing of a request is stored, although it only waited', async () => {
    const { record } = setUp({ fails: () => true });
    const failing = record('w', [keyed('k'), keyed('l')]).catch(() => 'failed');
    const waiting = record('w', [keyed('l'), keyed('k')]);
    await expect(waiting).rejects.toMatchObject({ code: 'unavailable' });
    expect(await failing).toBe('failed');
  });

  it('tells the fate of what was its own apart from what it only waited for', async () => {
    const { record, committed } = setUp({ fails: (commit) => commit === 1 });
    const failing = record('w', [keyed('k')]).catch(() => 'failed');
    const recorded = await record('w', [unkeyed('a'), keyed('k')]);
    expect(await failing).toBe('failed');
    expect(recorded).toMatchObject([
      { status: 'queued' },
      { status: 'failed', error: { code: 'unavailable' } },
    ]);
    expect(committed).toEqual([['a']]);
  });
});
