import { expect, test } from 'vitest';
import { createSlots } from './slots.ts';

const STAYS = new AbortController().signal;

test('runs as many as there are places, the next in order, refuses beyond', async () => {
  const slots = createSlots({ running: 1, waiting: 2 });
  const visits = [slots.enter(), slots.enter(), slots.enter()];
  expect(() => slots.enter()).toThrow('Too many simultaneous queries');
  const order: number[] = [];
  const turns = visits.map(async (visit, index) => {
    await visit.turn(STAYS);
    order.push(index);
  });
  await turns[0];
  expect(order).toEqual([0]);
  visits[0]?.leave();
  visits[0]?.leave();
  await turns[1];
  visits[1]?.leave();
  await turns[2];
  expect(order).toEqual([0, 1, 2]);
  visits[2]?.leave();
  expect(slots.present).toBe(0);
});

test('one that goes away while it waits gives up its place in line', async () => {
  const slots = createSlots({ running: 1, waiting: 2 });
  const [running, leaving, next] = [slots.enter(), slots.enter(), slots.enter()];
  await running.turn(STAYS);
  const gone = new AbortController();
  const left = leaving.turn(gone.signal);
  const nextTurn = next.turn(STAYS);
  gone.abort();
  await expect(left).rejects.toThrow('went away');
  leaving.leave();
  running.leave();
  await nextTurn;
  next.leave();
  expect(slots.present).toBe(0);
});
