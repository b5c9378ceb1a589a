import { expect, test } from 'vitest';
import vectors from '../test/vectors/integrity-v1.json' with { type: 'json' };
import { keyedEventId } from './id.ts';

test.each(vectors.keyed_ids)('$id', ({ workspace_id, idempotency_key, id }) => {
  expect(keyedEventId(workspace_id, idempotency_key)).toBe(id);
});

test('every id is a UUIDv8 of the RFC variant', () => {
  for (let key = 0; key < 200; key += 1) {
    expect(keyedEventId('ws_0', `${key}`)).toMatch(
      /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    );
  }
});

test('another workspace or another key is another id', () => {
  expect(keyedEventId('ws_0', 'k')).not.toBe(keyedEventId('ws_1', 'k'));
  expect(keyedEventId('ws_0', 'k')).not.toBe(keyedEventId('ws_0', 'l'));
});
