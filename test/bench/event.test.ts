import { expect, test } from 'vitest';
import { documentEvent, EVENT_BYTES } from './event.ts';

test('every variant of the event has the size that the figures state', () => {
  for (let variant = 0; variant < 20_000; variant += 1) {
    expect(Buffer.byteLength(documentEvent(variant))).toBe(EVENT_BYTES);
  }
});
