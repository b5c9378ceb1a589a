import { setImmediate as settled, setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createTurns, type TurnsOptions } from './turns.ts';

const OPTIONS: TurnsOptions = {
  atOnce: 2,
  atOnceEach: 2,
  mostWaitingEach: 2,
  longestWaitMs: 60_000,
  retryAfterSeconds: 10,
};

/** Work that ends when it is told to. */
function held(name: string, log: string[]) {
  let end = (_failure?: Error) => {};
  const work = () => {
    log.push(name);
    return new Promise<string>((resolve, reject) => {
      end = (failure) => (failure === undefined ? resolve(name) : reject(failure));
    });
  };
  return { work, end: (failure?: Error) => end(failure) };
}

test('so many run at a time, the rest wait in order, and what is more is refused', async () => {
  const started: string[] = [];
  const turns = createTurns(OPTIONS);
  const inTurn = (work: () => Promise<string>) => turns('one', work);
  const [a, b, c, d, e] = ['a', 'b', 'c', 'd', 'e'].map((name) => held(name, started));
  const results = [a!, b!, c!, d!].map(({ work }) => inTurn(work));
  await expect(inTurn(e!.work)).rejects.toMatchObject({ code: 'rate_limited', retryAfterSeconds: 10 });
  await settled();
  expect(started).toEqual(['a', 'b']);
  b!.end();
  expect(await results[1]).toBe('b');
  await settled();
  expect(started).toEqual(['a', 'b', 'c']);
  a!.end(new Error('failed'));
  await expect(results[0]).rejects.toThrow('failed');
  await settled();
  expect(started).toEqual(['a', 'b', 'c', 'd']);
  c!.end();
  d!.end();
  expect(await Promise.all(results.slice(2))).toEqual(['c', 'd']);
  const last = inTurn(e!.work);
  await settled();
  expect(started).toEqual(['a', 'b', 'c', 'd', 'e']);
  e!.end();
  expect(await last).toBe('e');
});

test('a caller takes its own share, and others come between its work', async () => {
  const started: string[] = [];
  const turns = createTurns({ ...OPTIONS, atOnce: 3, mostWaitingEach: 4 });
  const greedy = ['g1', 'g2', 'g3', 'g4', 'g5'].map((name) => held(name, started));
  const [h1, h2, i1] = ['h1', 'h2', 'i1'].map((name) => held(name, started));
  const results = greedy.map(({ work }) => turns('greedy', work));
  results.push(turns('h', h1!.work), turns('h', h2!.work), turns('i', i1!.work));
  await settled();
  expect(started).toEqual(['g1', 'g2', 'h1']);
  greedy[0]!.end();
  await settled();
  expect(started.slice(3)).toEqual(['i1']); // The others have one running each.
  greedy[1]!.end();
  await settled();
  expect(started.slice(4)).toEqual(['g3']);
  h1!.end();
  await settled();
  expect(started.slice(5)).toEqual(['h2']);
  h2!.end();
  i1!.end();
  await settled();
  expect(started.slice(6)).toEqual(['g4']); // One place stays free: two are all that one caller gets.
  greedy[2]!.end();
  await settled();
  greedy[3]!.end();
  greedy[4]!.end();
  expect(await Promise.all(results)).toHaveLength(8);
});

test('who waits for too long is told so, and its place is gone', async () => {
  const started: string[] = [];
  const turns = createTurns({ ...OPTIONS, atOnce: 1, longestWaitMs: 20 });
  const [a, b, c] = ['a', 'b', 'c'].map((name) => held(name, started));
  const first = turns('one', a!.work);
  await expect(turns('one', b!.work)).rejects.toMatchObject({ code: 'rate_limited' });
  a!.end();
  await first;
  const last = turns('one', c!.work);
  await sleep(30);
  expect(started).toEqual(['a', 'c']);
  c!.end();
  expect(await last).toBe('c');
});
