import { setImmediate as settled } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createTurns } from './turns.ts';

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
  const inTurn = createTurns(2, 2);
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
  await settled();
  c!.end();
  d!.end();
  expect(await Promise.all(results.slice(2))).toEqual(['c', 'd']);
  const last = inTurn(e!.work);
  await settled();
  expect(started).toEqual(['a', 'b', 'c', 'd', 'e']);
  e!.end();
  expect(await last).toBe('e');
});
