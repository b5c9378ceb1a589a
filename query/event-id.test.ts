import { describe, expect, test } from 'vitest';
import { mayBeUnderWay, readEventId } from './event-id.ts';

const NOW_MS = Date.UTC(2026, 2, 15);

function madeAt(ms: number): string {
  const time = ms.toString(16).padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7abc-8def-0123456789ab`;
}

describe('readEventId', () => {
  test('takes a UUID in either case', () => {
    expect(readEventId('2460E8AE-307A-4669-99E4-1D7CB83D7E03')).toBe('2460e8ae-307a-4669-99e4-1d7cb83d7e03');
  });

  test.each([undefined, '', 'abc', '2460e8ae307a466999e41d7cb83d7e03', "' OR 1=1 --", `${madeAt(1)}\n`])(
    'refuses %j',
    (text) => expect(readEventId(text)).toBeNull(),
  );
});

describe('mayBeUnderWay', () => {
  test('by the time in a UUIDv7', () => {
    expect(mayBeUnderWay(madeAt(NOW_MS - 1_000), NOW_MS)).toBe(true);
    expect(mayBeUnderWay(madeAt(NOW_MS + 1_000), NOW_MS)).toBe(true);
    expect(mayBeUnderWay(madeAt(NOW_MS - 61_000), NOW_MS)).toBe(false);
    expect(mayBeUnderWay(madeAt(NOW_MS + 61_000), NOW_MS)).toBe(false);
  });

  test('always for the id of a keyed event, never for a version that is not ours', () => {
    expect(mayBeUnderWay('2460e8ae-307a-8669-99e4-1d7cb83d7e03', NOW_MS)).toBe(true);
    expect(mayBeUnderWay('2460e8ae-307a-4669-99e4-1d7cb83d7e03', NOW_MS)).toBe(false);
  });
});
