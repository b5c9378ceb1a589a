import { describe, expect, it, test } from 'vitest';
import { PLAN_NAMES, PLANS } from './plans.ts';
import { retainedFrom, retentionOf } from './retention.ts';
import { readWorkspace, type Workspace } from './workspaces.ts';

const HELD = { reason: 'case 7', since: '2026-06-30T00:00:00.000000Z' };
const DAY_MS = 24 * 3600 * 1000;
const NOW_MS = Date.UTC(2026, 5, 30);

function workspace(members: Partial<Workspace>): Workspace {
  return { id: 'ws_0000000000000001', name: 'Test', plan: 'enterprise', created_at: '', ...members };
}

test('every plan has a name, and every name a plan', () => {
  expect(Object.keys(PLANS)).toEqual(PLAN_NAMES);
});

describe('the retention in force', () => {
  it.each([
    [{ plan: 'free' }, 30, 'plan'],
    [{ plan: 'starter' }, 90, 'plan'],
    [{ plan: 'pro' }, 365, 'plan'],
    [{ plan: 'enterprise' }, null, 'plan'],
    [{ plan: 'free', retention_days: 7 }, 7, 'workspace'],
    [{ plan: 'free', retention_days: 400 }, 400, 'workspace'],
    [{ plan: 'free', retention_days: null }, null, 'workspace'],
    [{ plan: 'enterprise', retention_days: 7 }, 7, 'workspace'],
    [{ plan: 'free', legal_hold: HELD }, null, 'legal_hold'],
    [{ plan: 'free', retention_days: 7, legal_hold: HELD }, null, 'legal_hold'],
    [{ plan: 'free', retention_days: 7, legal_hold: null }, 7, 'workspace'],
  ] as const)('%j', (members, days, because) => {
    expect(retentionOf(workspace(members))).toEqual({ days, because });
    const from = days === null ? undefined : (NOW_MS - days * DAY_MS) * 1000;
    expect(retainedFrom(workspace(members), NOW_MS)).toBe(from);
  });

  it('never begins before there was time', () => {
    expect(retainedFrom(workspace({ retention_days: 36_500 }), NOW_MS)).toBe(0);
  });
});

test('a stored record with a plan that does not exist is refused', () => {
  expect(readWorkspace(workspace({ plan: 'starter' })).plan).toBe('starter');
  expect(() => readWorkspace({ ...workspace({}), plan: 'gold' })).toThrow('cannot be read');
});
