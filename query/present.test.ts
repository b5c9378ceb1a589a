import { describe, expect, test } from 'vitest';
import { type EventRow, presentEvent } from './present.ts';

const HASH = 'ab'.repeat(32);

function row(
  body: object | string,
  personal: object | string = '{}',
  rest: Partial<EventRow> = {},
): EventRow {
  const textOf = (value: object | string) => (typeof value === 'string' ? value : JSON.stringify(value));
  return {
    id: '2460e8ae-307a-4669-99e4-1d7cb83d7e03',
    seq: 2,
    created_at_micros: Date.UTC(2026, 2, 15, 14, 32, 18) * 1000 + 847_312,
    body: textOf(body),
    private: textOf(personal),
    hash_hex: HASH,
    previous_hash_hex: HASH,
    ...rest,
  };
}

const LEAST = {
  action: 'user.login',
  actor_id: 'user_1',
  id: '2460e8ae-307a-4669-99e4-1d7cb83d7e03',
  occurred_at: '2026-03-15T14:32:17.000000Z',
  private: HASH,
  workspace_id: 'ws_0000000000000001',
};

const ALL_BODY = {
  ...LEAST,
  action_category: 'access',
  actor_type: 'user',
  idempotency_key: 'k',
  ip_country: 'DE',
  resource: 'door',
  resource_id: 'd1',
  session_id: 's1',
  tenant_id: 't1',
  version: 0,
};

const ALL_PRIVATE = {
  actor_name: 'Zoë',
  ip_address: '203.0.113.7',
  ip_city: 'Berlin',
  metadata: { a: { b: [1, null] } },
  resource_name: 'Front door',
  targets: [{ id: 'x', metadata: { m: 1 }, name: 'X', type: 'room' }, { type: 'house' }],
  user_agent: 'curl/8',
};

describe('presentEvent', () => {
  test('an event with everything', () => {
    expect(presentEvent(row(ALL_BODY, ALL_PRIVATE))).toEqual({
      id: LEAST.id,
      actor: { id: 'user_1', name: 'Zoë', type: 'user' },
      action: 'user.login',
      action_category: 'access',
      resource: { type: 'door', id: 'd1', name: 'Front door' },
      targets: [
        { type: 'room', id: 'x', name: 'X', metadata: { m: 1 } },
        { type: 'house', id: null, name: null, metadata: null },
      ],
      metadata: { a: { b: [1, null] } },
      tenant_id: 't1',
      session_id: 's1',
      ip_address: '203.0.113.7',
      ip_country: 'DE',
      ip_city: 'Berlin',
      user_agent: 'curl/8',
      idempotency_key: 'k',
      version: 0,
      integrity: { seq: 2, event_hash: HASH, previous_event_hash: HASH },
      occurred_at: '2026-03-15T14:32:17.000000Z',
      created_at: '2026-03-15T14:32:18.847312Z',
      actor_id: 'user_1',
      actor_name: 'Zoë',
      actor_type: 'user',
      resource_id: 'd1',
      resource_name: 'Front door',
    });
  });

  test('what is absent is null, targets are empty, and the first event has no previous hash', () => {
    const event = presentEvent(row(LEAST, '{}', { seq: 1, previous_hash_hex: '' }));
    const { targets, integrity, actor, resource, ...members } = event;
    expect(targets).toEqual([]);
    expect(integrity).toEqual({ seq: 1, event_hash: HASH, previous_event_hash: null });
    expect(actor).toEqual({ id: 'user_1', name: null, type: null });
    expect(resource).toEqual({ type: null, id: null, name: null });
    const present = Object.keys(members).filter((name) => members[name as keyof typeof members] !== null);
    expect(present.sort()).toEqual(['action', 'actor_id', 'created_at', 'id', 'occurred_at']);
  });

  test('an event whose personal data was erased keeps the rest', () => {
    const event = presentEvent(row(ALL_BODY, ''));
    expect(event).toMatchObject({
      actor_name: null,
      metadata: null,
      targets: [],
      ip_address: null,
      version: 0,
    });
    expect(event.integrity).not.toHaveProperty('damaged');
  });

  test('metadata keeps its numbers, its characters and its odd names', () => {
    const metadata =
      '{"":1e+21,"__proto__":{"x":1},"big":9007199254740991,"e":5e-324,"s":"\\u0001\\\\ \u2028 𝒳","z":0.1}';
    const shown = presentEvent(row(LEAST, `{"metadata":${metadata}}`)).metadata;
    expect(JSON.stringify(shown)).toBe(metadata);
  });

  test.each(['', 'no json', '[]', '7', '{"action":'])('a body damaged to %j still shows the rest', (body) => {
    const event = presentEvent(row(body, ALL_PRIVATE));
    expect(event).toMatchObject({ id: LEAST.id, action: '', actor_name: 'Zoë' });
    expect(event.integrity.damaged).toBe(true);
  });
});
