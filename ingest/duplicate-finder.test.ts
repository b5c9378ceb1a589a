import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { createDuplicateFinder } from './duplicate-finder.ts';

const log = pino({ level: 'silent' });

describe('the finder of duplicates', () => {
  it('asks for the ids of several requests together, one question of a workspace at a time', async () => {
    const questions: string[][] = [];
    const find = createDuplicateFinder(async (workspaceId, ids) => {
      questions.push([workspaceId, ...ids]);
      await delay(10);
      return new Set(ids.filter((id) => id.startsWith('old')));
    }, log);
    const first = find('w1', ['old1']);
    const other = find('w2', ['new1']);
    await delay(2);
    const second = find('w1', ['new2']);
    const third = find('w1', ['old3', 'new3']);
    expect([...(await first)]).toEqual(['old1']);
    expect([...(await other)]).toEqual([]);
    expect((await second).has('new2')).toBe(false);
    expect((await third).has('old3')).toBe(true);
    expect(questions).toEqual([
      ['w1', 'old1'],
      ['w2', 'new1'],
      ['w1', 'new2', 'old3', 'new3'],
    ]);
  });

  it('waits no longer than 50 ms, and does not ask again for a while', async () => {
    let questions = 0;
    const find = createDuplicateFinder(async () => {
      questions += 1;
      await delay(300);
      return new Set(['a']);
    }, log);
    const startedAt = performance.now();
    expect((await find('w', ['a'])).size).toBe(0);
    expect((await find('w', ['a'])).size).toBe(0);
    expect(performance.now() - startedAt).toBeLessThan(200);
    expect(questions).toBe(1);
  });

  it('takes an error for "not known"', async () => {
    const find = createDuplicateFinder(() => Promise.reject(new Error('away')), log);
    expect((await find('w', ['a'])).size).toBe(0);
  });
});
