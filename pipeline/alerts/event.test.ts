import { describe, expect, it } from 'vitest';
import { canonicalTexts } from '../../core/canonical.ts';
import { ImmutableError } from '../../core/errors.ts';
import { completeEvent } from '../../core/event.ts';
import { alertEventOf } from './event.ts';

const SALT = '00'.repeat(16);
const AT = '2026-03-15T14:32:18.847312Z';

function chained(texts: { body: string; private: string }, createdAt = AT) {
  return { ...texts, id: 'evt_1', seq: 7, createdAt, salt: SALT, eventHash: '', previousEventHash: '' };
}

function textsOf(ipCountry: string | undefined) {
  const facts = { id: 'evt_1', workspaceId: 'ws_1', receivedAt: AT, callerAddress: '192.0.2.1', ipCountry };
  return canonicalTexts(completeEvent({ action: 'doc.deleted', actor_id: 'user_42' }, facts), SALT);
}

describe('alertEventOf', () => {
  it.each(['DE', undefined])('reads what the edge has written (%s)', (ipCountry) => {
    expect(alertEventOf(chained(textsOf(ipCountry)))).toEqual({
      id: 'evt_1',
      seq: 7,
      createdAtMicros: Date.UTC(2026, 2, 15, 14, 32, 18, 847) * 1000 + 312,
      action: 'doc.deleted',
      actorId: 'user_42',
      ipCountry,
    });
  });

  it.each([
    '',
    '{',
    '[]',
    'null',
    '{"action":"a"}',
    '{"actor_id":"a"}',
    '{"action":1,"actor_id":"a"}',
    '{"action":"a","actor_id":"a","ip_country":1}',
  ])('refuses the body %j', (body) => {
    expect(() => alertEventOf(chained({ body, private: '' }))).toThrow(ImmutableError);
  });

  it('refuses a time that is none', () => {
    expect(() => alertEventOf(chained(textsOf('DE'), 'yesterday'))).toThrow(
      'Event 7 (evt_1) cannot be read.',
    );
  });
});
