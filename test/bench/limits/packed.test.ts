import { expect, test } from 'vitest';
import { decodeQueued } from '../../../core/message.ts';
import { crc32 } from '../../../infra/hash.ts';
import { packedMessage } from './packed.ts';

test('the packed message is one the chain stage could read, and nearly full', () => {
  const { payload, events } = packedMessage();
  expect(decodeQueued(payload, crc32).events).toHaveLength(events);
  expect(payload.length).toBeLessThanOrEqual(513 * 1024);
  expect(payload.length).toBeGreaterThan(510 * 1024);
});
