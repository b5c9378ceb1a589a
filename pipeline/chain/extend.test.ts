import { describe, expect, it } from 'vitest';
import { BEFORE_ALL } from '../../control/position.ts';
import { EMPTY_HEAD, eventHash } from '../../core/chain.ts';
import { formatTimestamp } from '../../core/time.ts';
import { nativeHasher } from '../../infra/hash.ts';
import type { ReadMessage } from './decode.ts';
import { type ExtendInput, extend } from './extend.ts';
import { readSample, SAMPLE_EPOCH, SAMPLE_MICROS, sampleEvent } from './testing/sample.ts';

const A = 'ws_aaaaaaaaaaaaaaaa';
const B = 'ws_bbbbbbbbbbbbbbbb';

function extended(messages: ReadMessage[], given: Partial<ExtendInput> = {}) {
  return extend({
    source: { partition: 0, epoch: SAMPLE_EPOCH },
    after: BEFORE_ALL,
    messages,
    headOf: () => EMPTY_HEAD,
    isKnown: () => false,
    refusals: new Map(),
    ...given,
  });
}

describe('extend', () => {
  it('does not take a workspace whose head was not looked up for one without events', () => {
    expect(() => extended([readSample(1, A, [sampleEvent(A)])], { headOf: () => undefined })).toThrow(
      'not looked up',
    );
  });

  it('counts each workspace by itself and links every event to the one before', () => {
    const { rows } = extended([
      readSample(4, A, [sampleEvent(A), sampleEvent(A)]),
      readSample(6, B, [sampleEvent(B)]),
      readSample(7, A, [sampleEvent(A)]),
    ]);
    expect(rows.map(({ workspaceId, seq }) => [workspaceId, seq])).toEqual([
      [A, 1],
      [A, 2],
      [B, 1],
      [A, 3],
    ]);
    expect(rows.map(({ position }) => [position.sequence, position.index])).toEqual([
      [4, 0],
      [4, 1],
      [6, 0],
      [7, 0],
    ]);
    expect(rows[0]?.previousEventHash).toBe('');
    expect(rows[1]?.previousEventHash).toBe(rows[0]?.eventHash);
    expect(rows[3]?.previousEventHash).toBe(rows[1]?.eventHash);
    for (const row of rows) {
      expect(row.eventHash).toBe(
        eventHash(row.previousEventHash, row.seq, row.createdAt, row.body, nativeHasher),
      );
    }
  });

  it('goes on from the head that is stored', () => {
    const head = { seq: 41, createdAtMicros: SAMPLE_MICROS + 5, eventHash: 'e'.repeat(64) };
    const { rows, heads } = extended([readSample(1, A, [sampleEvent(A)])], { headOf: () => head });
    expect(rows[0]).toMatchObject({
      seq: 42,
      createdAt: formatTimestamp(SAMPLE_MICROS + 6),
      previousEventHash: head.eventHash,
    });
    expect(heads.get(A)).toEqual({
      seq: 42,
      createdAtMicros: SAMPLE_MICROS + 6,
      eventHash: rows[0]?.eventHash,
    });
  });

  it('lets created_at rise strictly, also where a clock went back', () => {
    const { rows } = extended([
      readSample(1, A, [sampleEvent(A), sampleEvent(A)], SAMPLE_MICROS),
      readSample(2, A, [sampleEvent(A)], SAMPLE_MICROS - 60_000_000),
      readSample(3, A, [sampleEvent(A)], SAMPLE_MICROS + 60_000_000),
    ]);
    expect(rows.map((row) => row.createdAtMicros - SAMPLE_MICROS)).toEqual([0, 1, 2, 60_000_000]);
  });

  it('is a pure function of the stream, however it is cut', () => {
    const messages = [
      readSample(1, A, [sampleEvent(A), sampleEvent(A, { key: 'k' })]),
      readSample(2, B, [sampleEvent(B)]),
      readSample(3, A, [sampleEvent(A, { key: 'k' }), sampleEvent(A)]),
    ];
    const whole = extended(messages);
    const first = extended(messages.slice(0, 1));
    const rest = extended(messages.slice(1), {
      headOf: (id) => first.heads.get(id) ?? EMPTY_HEAD,
      isKnown: (id) => first.keyedIds.has(id),
    });
    expect([...first.rows, ...rest.rows]).toEqual(whole.rows);
  });

  it('leaves out what is stored already, in the middle of a message too', () => {
    const messages = [readSample(5, A, [sampleEvent(A), sampleEvent(A), sampleEvent(A)])];
    const { rows } = extended(messages, { after: { sequence: 5, index: 1 } });
    expect(rows.map((row) => row.position)).toEqual([{ sequence: 5, index: 2 }]);
  });

  it('keeps one event of a key: within a message, across messages, and known from before', () => {
    const known = sampleEvent(A, { key: 'old' });
    const { rows, duplicates, keyedIds } = extended(
      [
        readSample(1, A, [sampleEvent(A, { key: 'k' }), sampleEvent(A, { key: 'k' })]),
        readSample(2, A, [sampleEvent(A, { key: 'k' }), known, sampleEvent(A, { key: 'other' })]),
      ],
      { isKnown: (id) => id === known.id },
    );
    expect(rows.map((row) => row.position)).toEqual([
      { sequence: 1, index: 0 },
      { sequence: 2, index: 2 },
    ]);
    expect(rows.map((row) => row.seq)).toEqual([1, 2]);
    expect(duplicates).toBe(3);
    expect(keyedIds.size).toBe(2);
  });

  it('does not compare ids that came from no key', () => {
    const event = sampleEvent(A);
    expect(extended([readSample(1, A, [event, event])], { isKnown: () => true }).rows).toHaveLength(2);
  });

  it('puts an event of its own where ClickHouse refused one, the same at every replay', () => {
    const messages = [readSample(3, A, [sampleEvent(A), sampleEvent(A, { key: 'k' }), sampleEvent(A)])];
    const refusals = new Map([['3.1', 'ClickHouse error 6']]);
    const { rows } = extended(messages, { refusals });
    expect(rows.map((row) => row.seq)).toEqual([1, 2, 3]);
    expect(JSON.parse(rows[1]?.body ?? '')).toMatchObject({
      action: 'immutable.event_refused',
      workspace_id: A,
    });
    expect(JSON.parse(rows[1]?.private ?? '').metadata).toMatchObject({
      event_id: messages[0]?.events[1]?.id,
      reason: 'ClickHouse error 6',
    });
    expect(extended(messages, { refusals }).rows).toEqual(rows);
  });
});
