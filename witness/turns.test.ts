import { expect, it } from 'vitest';
import { createTurns } from './turns.ts';

/** Work that a test ends. */
function held() {
  let end = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  return { end: () => end(), ended };
}

it('begins work for a name when all before it has ended, also badly', async () => {
  const turns = createTurns();
  const seen: string[] = [];
  const first = held();
  const one = turns.take('a', async () => {
    seen.push('first begins');
    await first.ended;
    seen.push('first ends');
    throw new Error('first failed');
  });
  const two = turns.take('a', async () => {
    seen.push('second');
    return 2;
  });
  const other = turns.take('b', async () => {
    seen.push('other');
  });
  await other;
  first.end();
  await expect(one).rejects.toThrow('first failed');
  expect(await two).toBe(2);
  expect(await turns.take('a', async () => 3)).toBe(3);
  expect(seen).toEqual(['first begins', 'other', 'first ends', 'second']);
});
