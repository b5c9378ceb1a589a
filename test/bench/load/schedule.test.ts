import { expect, test } from 'vitest';
import { createSchedule } from './schedule.ts';

test('without a rate a request is due at once, from start to stop', () => {
  const schedule = createSchedule({ batchSize: 0 }, () => 100);
  expect(schedule.takeDue(100)).toBeUndefined();
  schedule.start();
  expect(schedule.takeDue(101)).toBe(101);
  schedule.stop();
  expect(schedule.takeDue(102)).toBeUndefined();
});

test('with a rate, requests that a stall delayed count from when they were due', () => {
  const schedule = createSchedule({ batchSize: 100, eventsPerSecond: 10_000 }, () => 1000);
  schedule.start();
  const afterAStall = Array.from({ length: 5 }, () => schedule.takeDue(1035));
  expect(afterAStall).toEqual([1000, 1010, 1020, 1030, undefined]);
});

test('no more is sent than the bound allows beyond what is stored', () => {
  const schedule = createSchedule({ batchSize: 100, maxBacklog: 200 }, () => 0);
  schedule.start();
  expect([schedule.takeDue(1), schedule.takeDue(1), schedule.takeDue(1)]).toEqual([1, 1, undefined]);
  schedule.stored(150);
  expect([schedule.takeDue(2), schedule.takeDue(2), schedule.takeDue(2)]).toEqual([2, 2, undefined]);
});
