import { expect, test } from 'vitest';
import { createPlaces } from './places.ts';
import type { Visit } from './slots.ts';
import { ANALYST, ONE_WORKSPACE, type User, WORKSPACE_ANALYSTS } from './users.ts';

const never = new AbortController().signal;
const analystOf = (workspace: string): User => ({ ...ANALYST, name: `analyst_${workspace}`, workspace });

/** Whether it may run without another leaving. */
async function runs(visit: Visit): Promise<boolean> {
  const later = new Promise<boolean>((resolve) => setTimeout(resolve, 5, false));
  return await Promise.race([visit.turn(never).then(() => true), later]);
}

test('one workspace takes one place, and leaves the next to another', async () => {
  const places = createPlaces();
  const first = places.enter(analystOf('ws_a'));
  expect(await runs(first)).toBe(true);
  const second = places.enter(analystOf('ws_a'));
  const secondRuns = second.turn(never);
  expect(await runs(places.enter(analystOf('ws_b')))).toBe(true);
  first.leave();
  await secondRuns;
});

test('a workspace that sends too many is refused, and no other', async () => {
  const places = createPlaces();
  const { running, waiting } = ONE_WORKSPACE;
  for (let i = 0; i < running + waiting; i++)
    places
      .enter(analystOf('ws_a'))
      .turn(never)
      .catch(() => {});
  expect(() => places.enter(analystOf('ws_a'))).toThrow('Too many simultaneous queries');
  expect(await runs(places.enter(analystOf('ws_b')))).toBe(true);
  expect(await runs(places.enter(ANALYST))).toBe(true);
});

test('of many workspaces as many run as there are places for all', async () => {
  const places = createPlaces();
  const visits = Array.from({ length: 5 }, (_, index) => places.enter(analystOf(`ws_${index}`)));
  const states = await Promise.all(visits.map(runs));
  expect(states.filter((running) => running).length).toBe(WORKSPACE_ANALYSTS.running);
});

test('who leaves while waiting gives its place back', async () => {
  const places = createPlaces();
  const gone = new AbortController();
  const first = places.enter(analystOf('ws_a'));
  await first.turn(never);
  const second = places.enter(analystOf('ws_a'));
  const turn = second.turn(gone.signal);
  gone.abort();
  await expect(turn).rejects.toThrow('went away');
  second.leave();
  first.leave();
  expect(await runs(places.enter(analystOf('ws_a')))).toBe(true);
});
