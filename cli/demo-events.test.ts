import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { parseEvent } from '../core/event.ts';
import { demoEvents, demoTemplates } from './demo-events.ts';

const templates = demoTemplates.parse(
  JSON.parse(readFileSync(new URL('../examples/demo-events.json', import.meta.url), 'utf8')),
);
const NOW_MS = Date.UTC(2026, 2, 15);

/** The same numbers every time. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32;
    return state / 2 ** 32;
  };
}

function make(count: number, seed = 1) {
  return [
    ...demoEvents({ templates, count, random: seeded(seed), startMs: NOW_MS - 1_000_000, endMs: NOW_MS }),
  ];
}

it('makes exactly as many events as asked for, each one that the edge accepts without a warning', () => {
  const events = make(2_000);
  expect(events).toHaveLength(2_000);
  for (const event of events) {
    const parsed = parseEvent(event, NOW_MS * 1_000);
    expect(parsed.ok ? parsed.warnings : parsed.violations).toEqual([]);
    expect(JSON.stringify(event)).not.toMatch(/[{][a-z]+[.:}]/);
  }
});

it('tells stories: deployments, configuration changes, secret rotations, incidents', () => {
  const actions = new Set(make(2_000).map((event) => Reflect.get(event, 'action')));
  for (const action of [
    'deployment.started',
    'deployment.completed',
    'deployment.rollback',
    'config.changed',
    'secret.rotated',
    'incident.created',
    'incident.resolved',
  ]) {
    expect(actions).toContain(action);
  }
});

it('keeps what the events of a story share, and lets time pass', () => {
  const events = make(500).map((event) => ({ ...event }) as Record<string, string>);
  const created = events.findIndex(({ action }) => action === 'incident.created');
  expect(events[created + 1]).toMatchObject({
    action: 'incident.acknowledged',
    resource_id: events[created]?.resource_id,
  });
  const times = events.map(({ occurred_at }) => occurred_at ?? '');
  expect([...times].sort()).toEqual(times);
  expect(new Set(times).size).toBe(500);
});

it('is the same for the same random numbers', () => {
  expect(make(50, 7)).toEqual(make(50, 7));
  expect(make(50, 7)).not.toEqual(make(50, 8));
});
