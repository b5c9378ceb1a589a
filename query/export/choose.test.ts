import { expect, test } from 'vitest';
import { chooseJob, type Worker } from './choose.ts';
import type { Summary } from './jobs.ts';

const NOW = { nowMs: 100_000, silentMs: 12_000 };
const NOBODY: Worker = { working: new Set(), instance: 'here', tokens: new Set() };

let made = 0;
function job(given: Partial<Summary> = {}): Summary {
  made += 1;
  return {
    id: `exp_${String(made).padStart(16, '0')}`,
    workspaceId: 'ws_a',
    status: 'pending',
    createdAt: `2026-03-15T12:00:00.${String(made).padStart(6, '0')}Z`,
    expiresAt: '2026-03-22T12:00:00.000000Z',
    removed: false,
    runner: null,
    revision: made,
    seenAtMs: NOW.nowMs,
    ...given,
  };
}

function held(seenAtMs: number, runner = { token: 'theirs', instance: 'there' as string | null }) {
  return { status: 'processing' as const, runner, seenAtMs };
}

test('the oldest comes first', () => {
  const [old, young] = [job(), job()];
  expect(chooseJob([young, old], NOBODY, NOW)).toBe(old);
  expect(chooseJob([], NOBODY, NOW)).toBeUndefined();
});

test('a workspace with nothing under way comes before one that has, however long the other waits', () => {
  const running = job({ workspaceId: 'ws_busy', ...held(NOW.nowMs) });
  const waiting = [job({ workspaceId: 'ws_busy' }), job({ workspaceId: 'ws_busy' })];
  const small = job({ workspaceId: 'ws_small' });
  expect(chooseJob([running, ...waiting, small], NOBODY, NOW)).toBe(small);
  expect(chooseJob([running, ...waiting], NOBODY, NOW)).toBe(waiting[0]);
});

test('what somebody works on is left to them as long as they show signs of life', () => {
  expect(chooseJob([job(held(NOW.nowMs - 11_999))], NOBODY, NOW)).toBeUndefined();
  const silent = job(held(NOW.nowMs - 12_000));
  expect(chooseJob([silent], NOBODY, NOW)).toBe(silent);
});

test('what a former life of this process had is taken at once, what this one has never', () => {
  const former = job(held(NOW.nowMs, { token: 'before', instance: 'here' }));
  expect(chooseJob([former], NOBODY, NOW)).toBe(former);
  expect(chooseJob([former], { ...NOBODY, tokens: new Set(['before']) }, NOW)).toBeUndefined();
  expect(chooseJob([former], { ...NOBODY, working: new Set([former.id]) }, NOW)).toBeUndefined();
  const nameless = job(held(NOW.nowMs, { token: 'x', instance: null }));
  expect(chooseJob([nameless], { ...NOBODY, instance: null }, NOW)).toBeUndefined();
});

test('what was given back is free', () => {
  const given = job({ status: 'processing' });
  expect(chooseJob([given], NOBODY, NOW)).toBe(given);
});
