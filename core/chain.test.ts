import { expect, test } from 'vitest';
import vectors from '../test/vectors/integrity-v1.json' with { type: 'json' };
import { EMPTY_HEAD, eventHash, nextCreatedAt } from './chain.ts';

test.each(vectors.events)(
  'event_hash of vector $seq',
  ({ seq, created_at, body, previous_event_hash, event_hash }) => {
    expect(eventHash(previous_event_hash ?? '', seq, created_at, body)).toBe(event_hash);
  },
);

test('each vector follows the one before', () => {
  const hashes = vectors.events.map((event) => event.event_hash);
  expect(vectors.events.map((event) => event.previous_event_hash)).toEqual([null, ...hashes.slice(0, -1)]);
});

test('created_at of the first event is its time of receipt', () => {
  expect(nextCreatedAt(EMPTY_HEAD, 5)).toBe(5);
  expect(nextCreatedAt(EMPTY_HEAD, 0)).toBe(0);
});

test('created_at rises strictly whatever the clock does', () => {
  const head = { seq: 1, createdAtMicros: 1000, eventHash: 'a'.repeat(64) };
  expect(nextCreatedAt(head, 2000)).toBe(2000);
  expect(nextCreatedAt(head, 1001)).toBe(1001);
  expect(nextCreatedAt(head, 1000)).toBe(1001);
  expect(nextCreatedAt(head, 1)).toBe(1001);
});
