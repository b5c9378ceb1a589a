import { describe, expect, test } from 'vitest';
import vectors from '../test/vectors/integrity-v1.json' with { type: 'json' };
import { utf8Decode, utf8Encode } from './bytes.ts';
import { ImmutableError } from './errors.ts';
import {
  type ChainedMessage,
  decodeChained,
  decodeQueued,
  encodeChained,
  encodeQueued,
  encodeQueuedLine,
  type QueuedMessage,
  queuedMessageFromLines,
} from './message.ts';

/** CRC-32 (IEEE), bit by bit. */
function crc32(data: Uint8Array): number {
  let crc = ~0;
  for (const byte of data) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc;
}

const QUEUED: QueuedMessage = {
  workspaceId: 'ws_52b5d804c0af9005',
  receivedAtMicros: 1_773_585_138_847_312,
  events: vectors.events.map((event) => ({
    id: event.input.id,
    keyed: event.input.idempotency_key !== undefined,
    salt: event.salt,
    body: event.body,
    private: event.private,
  })),
};

const CHAINED: ChainedMessage = {
  workspaceId: 'ws_52b5d804c0af9005',
  events: vectors.events.map((event) => ({
    id: event.input.id,
    seq: event.seq,
    createdAt: event.created_at,
    eventHash: event.event_hash,
    previousEventHash: event.previous_event_hash ?? '',
    salt: event.salt,
    body: event.body,
    private: event.private,
  })),
};

test('the checksum used here is CRC-32', () => {
  expect(crc32(utf8Encode('123456789')) >>> 0).toBe(0xcbf43926);
});

describe('queued', () => {
  test('goes there and back', () => {
    expect(decodeQueued(encodeQueued(QUEUED, crc32), crc32)).toEqual(QUEUED);
  });

  test('looks as documented', () => {
    const event = { id: 'i', keyed: true, salt: 's', body: '{"é":1}', private: '{}' };
    const data = encodeQueued(
      { workspaceId: 'w', receivedAtMicros: 1, events: [event, { ...event, keyed: false }] },
      crc32,
    );
    const content = 'w\t1970-01-01T00:00:00.000001Z\t2\ni\tk\ts\t{"é":1}\t{}\ni\t-\ts\t{"é":1}\t{}\n';
    const checksum = (crc32(utf8Encode(content)) >>> 0).toString(16).padStart(8, '0');
    expect(utf8Decode(data)).toBe(`imk-queued/1\t${checksum}\t${content}`);
  });

  test('made of lines it is the same', () => {
    const lines = QUEUED.events.map(encodeQueuedLine);
    expect(queuedMessageFromLines(QUEUED.workspaceId, QUEUED.receivedAtMicros, lines, crc32)).toEqual(
      encodeQueued(QUEUED, crc32),
    );
  });

  test('without events it still goes there and back', () => {
    const empty = { ...QUEUED, events: [] };
    expect(decodeQueued(encodeQueued(empty, crc32), crc32)).toEqual(empty);
  });
});

describe('chained', () => {
  test('goes there and back', () => {
    expect(decodeChained(encodeChained(CHAINED, crc32), crc32)).toEqual(CHAINED);
    const later = { ...CHAINED, events: CHAINED.events.slice(7) };
    expect(decodeChained(encodeChained(later, crc32), crc32)).toEqual(later);
  });

  test('without events it cannot be made', () => {
    expect(() => encodeChained({ workspaceId: 'w', events: [] }, crc32)).toThrow(ImmutableError);
  });
});

describe('damage is found', () => {
  const queued = encodeQueued({ ...QUEUED, events: QUEUED.events.slice(0, 3) }, crc32);
  const chained = encodeChained({ ...CHAINED, events: CHAINED.events.slice(0, 3) }, crc32);

  test('in every byte', () => {
    for (let index = 0; index < queued.length; index += 1) {
      const damaged = queued.slice();
      damaged[index]! ^= 1 << (index % 8);
      expect(codeOf(() => decodeQueued(damaged, crc32))).toBe('damaged_message');
    }
  });

  test('at every cut', () => {
    for (let length = 0; length < chained.length; length += 1) {
      expect(codeOf(() => decodeChained(chained.subarray(0, length), crc32))).toBe('damaged_message');
    }
  });

  test('where one kind of message stands for the other', () => {
    expect(codeOf(() => decodeChained(queued, crc32))).toBe('damaged_message');
    expect(codeOf(() => decodeQueued(chained, crc32))).toBe('damaged_message');
  });

  const line = 'i\tk\ts\t{}\t{}\n';
  test.each([
    ['no count', 'w\t1970-01-01T00:00:00.000001Z\n'],
    ['a count too high', `w\t1970-01-01T00:00:00.000001Z\t2\n${line}`],
    ['a count too low', `w\t1970-01-01T00:00:00.000001Z\t1\n${line}${line}`],
    ['a count of no number', `w\t1970-01-01T00:00:00.000001Z\t01\n${line}`],
    ['no workspace', `\t1970-01-01T00:00:00.000001Z\t1\n${line}`],
    ['a header field too many', `w\t1970-01-01T00:00:00.000001Z\t1\t\n${line}`],
    ['no time', `w\tnow\t1\n${line}`],
    ['a missing last newline', `w\t1970-01-01T00:00:00.000001Z\t1\n${line.trimEnd()}`],
    ['a field too few', 'w\t1970-01-01T00:00:00.000001Z\t1\ni\tk\ts\t{}\n'],
    ['a field too many', 'w\t1970-01-01T00:00:00.000001Z\t1\ni\tk\ts\t{}\t{}\t{}\n'],
    ['an empty field', 'w\t1970-01-01T00:00:00.000001Z\t1\ni\tk\t\t{}\t{}\n'],
    ['another mark', 'w\t1970-01-01T00:00:00.000001Z\t1\ni\tx\ts\t{}\t{}\n'],
    ['nothing', ''],
  ])('in the form, although the checksum holds: %s', (_, content) => {
    expect(codeOf(() => decodeQueued(sealed('imk-queued/1', utf8Encode(content)), crc32))).toBe(
      'damaged_message',
    );
  });

  test('in the encoding, although the checksum holds', () => {
    const content = Uint8Array.of(...utf8Encode('w\t1970-01-01T00:00:00.000001Z\t1\ni\tk\ts\t"'), 0xff, 10);
    expect(codeOf(() => decodeQueued(sealed('imk-queued/1', content), crc32))).toBe('damaged_message');
  });

  test.each([
    ['no event', 'w\t1\t0\n'],
    ['a gap in seq', 'w\t1\t2\ni\t1\tt\th\t\ts\t{}\t{}\ni\t3\tt\th\th\ts\t{}\t{}\n'],
    ['a first seq that differs', 'w\t2\t1\ni\t1\tt\th\t\ts\t{}\t{}\n'],
    ['a first seq of no number', 'w\tx\t1\ni\tx\tt\th\t\ts\t{}\t{}\n'],
    ['a field too few', 'w\t1\t1\ni\t1\tt\th\t\ts\t{}\n'],
  ])('in the form of a chained message: %s', (_, content) => {
    expect(codeOf(() => decodeChained(sealed('imk-chained/1', utf8Encode(content)), crc32))).toBe(
      'damaged_message',
    );
  });

  function sealed(format: string, content: Uint8Array): Uint8Array {
    const checksum = (crc32(content) >>> 0).toString(16).padStart(8, '0');
    return Uint8Array.of(...utf8Encode(`${format}\t${checksum}\t`), ...content);
  }
});

function codeOf(action: () => unknown): string {
  try {
    action();
    return 'no error';
  } catch (error) {
    return error instanceof ImmutableError ? error.code : String(error);
  }
}
