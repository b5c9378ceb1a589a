import { describe, expect, it } from 'vitest';
import { decodeQueued, queuedMessageFromLines } from '../core/message.ts';
import { crc32, nativeHasher } from '../infra/hash.ts';
import {
  type AcceptedEvent,
  acceptBatch,
  acceptEvent,
  type Circumstances,
  invalidMessage,
} from './accept.ts';

const NOW = Date.parse('2026-03-15T14:32:18.847Z') * 1000;

let made = 0;
const circumstances: Circumstances = {
  workspaceId: 'ws_0123456789abcdef',
  receivedAtMicros: NOW,
  callerAddress: '198.51.100.7',
  newId: () => `0195d3c0-7c2e-7e11-a7b9-${String(++made).padStart(12, '0')}`,
  newSalt: () => 'ab'.repeat(16),
  placeOf: (ip) => (ip.startsWith('81.') ? { country: 'GB', city: 'London' } : {}),
  hasher: nativeHasher,
};

const MINIMAL = { actor_id: 'user_1', action: 'document.viewed' };

function accepted(input: unknown, given: Partial<Circumstances> = {}): AcceptedEvent {
  const verdict = acceptEvent(input, { ...circumstances, ...given });
  if (!verdict.ok) throw new Error(invalidMessage(verdict.violations));
  return verdict.event;
}

/** What the chain will read. */
function texts(event: AcceptedEvent): { body: Record<string, unknown>; private: Record<string, unknown> } {
  const message = decodeQueued(queuedMessageFromLines('w', NOW, [event.line], crc32), crc32);
  const [queued] = message.events;
  return { body: JSON.parse(queued?.body ?? ''), private: JSON.parse(queued?.private ?? '') };
}

describe('an accepted event', () => {
  it('has an id, a time, an address and the digest of its private text', () => {
    const event = accepted(MINIMAL);
    expect(texts(event)).toEqual({
      body: {
        ...MINIMAL,
        id: event.id,
        occurred_at: '2026-03-15T14:32:18.847000Z',
        private: expect.stringMatching(/^[0-9a-f]{64}$/),
        workspace_id: 'ws_0123456789abcdef',
      },
      private: { ip_address: '198.51.100.7' },
    });
    expect(event).toMatchObject({ keyed: false, warnings: [] });
  });

  it("is placed by the address it names, or else by the caller's", () => {
    const named = texts(accepted({ ...MINIMAL, ip_address: '81.2.69.142' }));
    expect(named.body.ip_country).toBe('GB');
    expect(named.private).toEqual({ ip_address: '81.2.69.142', ip_city: 'London' });
    const called = texts(accepted(MINIMAL, { callerAddress: '81.2.69.142' }));
    expect(called).toMatchObject({ body: { ip_country: 'GB' }, private: { ip_city: 'London' } });
    expect(texts(accepted(MINIMAL, { callerAddress: '' })).private).toEqual({});
  });

  it('has the id of its key, and only that', () => {
    const first = accepted({ ...MINIMAL, idempotency_key: 'k' });
    const again = accepted({ ...MINIMAL, action: 'other', idempotency_key: 'k' });
    const elsewhere = accepted({ ...MINIMAL, idempotency_key: 'k' }, { workspaceId: 'ws_ffffffffffffffff' });
    expect(first.keyed).toBe(true);
    expect(again.id).toBe(first.id);
    expect(elsewhere.id).not.toBe(first.id);
    expect(accepted({ ...MINIMAL, idempotency_key: '' }).keyed).toBe(false);
  });

  it('keeps the time the client gave', () => {
    const { body } = texts(accepted({ ...MINIMAL, occurred_at: '2026-03-15T15:00:00+01:00' }));
    expect(body.occurred_at).toBe('2026-03-15T14:00:00.000000Z');
  });

  it('warns of what it leaves out', () => {
    expect(accepted({ ...MINIMAL, colour: 'red' }).warnings).toEqual(["unknown member 'colour' was ignored"]);
  });

  it('fits in one line, whatever it holds', () => {
    const event = accepted({ ...MINIMAL, actor_name: 'a\tb\nc\u2028', metadata: { 'x\ty': '\n\r' } });
    expect(event.line.match(/\n/g)).toEqual(['\n']);
    expect(event.line.split('\t').length).toBe(5);
    expect(texts(event).private).toMatchObject({ actor_name: 'a\tb\nc\u2028', metadata: { 'x\ty': '\n\r' } });
  });

  it('is refused when its texts are too large', () => {
    const targets = Array.from({ length: 50 }, () => ({ type: 't', metadata: { text: 'x'.repeat(8_000) } }));
    expect(acceptEvent({ ...MINIMAL, targets }, circumstances)).toEqual({
      ok: false,
      violations: [{ path: '', message: 'takes more than 262144 bytes as canonical JSON' }],
    });
  });
});

describe('a batch', () => {
  it('is judged element by element', () => {
    const { verdicts, warnings } = acceptBatch(
      { events: [MINIMAL, { action: 'x' }, null, MINIMAL], extra: 1 },
      circumstances,
    );
    expect(verdicts.map(({ ok }) => ok)).toEqual([true, false, false, true]);
    expect(verdicts[1]).toMatchObject({ violations: [{ path: 'events[1].actor_id' }] });
    expect(verdicts[2]).toMatchObject({ violations: [{ path: 'events[2]' }] });
    expect(warnings).toEqual(["unknown member 'extra' was ignored"]);
  });

  it.each([
    ['an array', [MINIMAL], ''],
    ['null', null, ''],
    ['a text', 'events', ''],
    ['no events', {}, 'events'],
    ['events that are no array', { events: { 0: MINIMAL } }, 'events'],
    ['an empty array', { events: [] }, 'events'],
    ['101 events', { events: Array.from({ length: 101 }, () => MINIMAL) }, 'events'],
  ])('is refused as a whole when it is or has %s', (_, input, path) => {
    expect(() => acceptBatch(input, circumstances)).toThrow(
      expect.objectContaining({ code: 'validation_failed', violations: [expect.objectContaining({ path })] }),
    );
  });

  it('may have 100 events', () => {
    const { verdicts } = acceptBatch({ events: Array.from({ length: 100 }, () => MINIMAL) }, circumstances);
    expect(verdicts.every(({ ok }) => ok)).toBe(true);
  });
});
