import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ImmutableError } from '../../core/errors.ts';
import { canonicalJson } from '../../core/json.ts';
import { decodeChained, decodeQueued, encodeChained, encodeQueued } from '../../core/message.ts';
import { crc32 } from '../../infra/hash.ts';
import { propertyRuns } from '../support/property-runs.ts';
import { keepableObject } from './arbitraries.ts';

const hex = (length: number) =>
  fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: length, maxLength: length });
const canonical = keepableObject.map(canonicalJson);
const receivedAtMicros = fc.integer({ min: 0, max: 8_993_721_599_999_999 });

const queued = fc.record({
  workspaceId: hex(16).map((id) => `ws_${id}`),
  receivedAtMicros,
  events: fc.array(
    fc.record({ id: fc.uuid(), keyed: fc.boolean(), salt: hex(32), body: canonical, private: canonical }),
    { maxLength: 8 },
  ),
});

const chained = fc
  .record({
    workspaceId: hex(16).map((id) => `ws_${id}`),
    firstSeq: fc.integer({ min: 1, max: 2 ** 50 }),
    events: fc.array(
      fc.record({
        id: fc.uuid(),
        createdAt: fc.constant('2026-03-15T14:32:18.847312Z'),
        eventHash: hex(64),
        previousEventHash: fc.oneof(hex(64), fc.constant('')),
        salt: hex(32),
        body: canonical,
        private: canonical,
      }),
      { minLength: 1, maxLength: 8 },
    ),
  })
  .map(({ workspaceId, firstSeq, events }) => ({
    workspaceId,
    events: events.map((event, index) => ({ ...event, seq: firstSeq + index })),
  }));

test('messages go there and back', () => {
  fc.assert(
    fc.property(queued, (message) => {
      expect(decodeQueued(encodeQueued(message, crc32), crc32)).toEqual(message);
    }),
  );
  fc.assert(
    fc.property(chained, (message) => {
      expect(decodeChained(encodeChained(message, crc32), crc32)).toEqual(message);
    }),
  );
});

test('any change of a byte, and any cut, is found', () => {
  fc.assert(
    fc.property(queued, fc.nat(), fc.integer({ min: 1, max: 255 }), (message, where, change) => {
      const data = encodeQueued(message, crc32);
      const at = where % data.length;
      expect(isDamaged(data.with(at, (data[at] ?? 0) ^ change))).toBe(true);
      expect(isDamaged(data.subarray(0, at))).toBe(true);
    }),
    propertyRuns(300),
  );
});

test('bytes at random are damaged messages, nothing worse', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (data) => {
      expect(isDamaged(data)).toBe(true);
    }),
  );
});

function isDamaged(data: Uint8Array): boolean {
  try {
    decodeQueued(data, crc32);
    return false;
  } catch (error) {
    return error instanceof ImmutableError && error.code === 'damaged_message';
  }
}
