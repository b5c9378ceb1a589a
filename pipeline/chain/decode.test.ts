import { describe, expect, it } from 'vitest';
import { partitionOf } from '../../control/partition.ts';
import { decodeMessage } from './decode.ts';
import { SAMPLE_EPOCH, SAMPLE_MICROS, sampleDecode, sampleEvent, sampleMessage } from './testing/sample.ts';

const A = 'ws_aaaaaaaaaaaaaaaa';
const B = 'ws_bbbbbbbbbbbbbbbb';
const context = { source: { partition: 0, epoch: SAMPLE_EPOCH }, ...sampleDecode() };

describe('decodeMessage', () => {
  it('reads the events of an intact message', () => {
    const events = [sampleEvent(A), sampleEvent(A, { key: 'k' })];
    const message = decodeMessage(sampleMessage(9, A, events), context);
    expect(message).toEqual({ sequence: 9, workspaceId: A, timeMicros: SAMPLE_MICROS, events });
  });

  it('takes the time of receipt, but never a later one than when JetStream stored the message', () => {
    const times = { receivedAtMicros: SAMPLE_MICROS + 3_600_000_000, storedAtMicros: SAMPLE_MICROS };
    expect(decodeMessage(sampleMessage(1, A, [sampleEvent(A)], times), context).timeMicros).toBe(
      SAMPLE_MICROS,
    );
  });

  it.each([
    ['a flipped bit', (data: Uint8Array) => data.with(data.length - 20, data[data.length - 20]! ^ 1)],
    ['a missing end', (data: Uint8Array) => data.subarray(0, data.length - 1)],
    ['nothing at all', () => new Uint8Array()],
    ['something else', () => Buffer.from('hello')],
  ])('sets aside a message with %s, and says so in the chain of its subject', (_, damage) => {
    const intact = sampleMessage(9, A, [sampleEvent(A), sampleEvent(A)]);
    const message = { ...intact, data: damage(intact.data) };
    const read = decodeMessage(message, context);
    expect(read.damage).toMatchObject({
      position: { sequence: 9, index: 0 },
      workspaceId: A,
      bytes: message.data,
    });
    expect(read.events).toHaveLength(1);
    expect(JSON.parse(read.events[0]!.body)).toMatchObject({
      workspace_id: A,
      action: 'immutable.message_damaged',
      resource_id: `${SAMPLE_EPOCH}:9`,
    });
    expect(read.timeMicros).toBe(message.storedAtMicros);
    expect(decodeMessage(message, context)).toEqual(read);
  });

  it('gives damaged messages ids of their own, by epoch and sequence', () => {
    const damaged = (sequence: number, epoch: string) =>
      decodeMessage(
        { ...sampleMessage(sequence, A, []), data: new Uint8Array() },
        {
          ...context,
          source: { partition: 0, epoch },
        },
      ).events[0];
    const [one, next, elsewhere] = [
      damaged(1, SAMPLE_EPOCH),
      damaged(2, SAMPLE_EPOCH),
      damaged(1, 'f'.repeat(16)),
    ];
    expect(new Set([one?.id, next?.id, elsewhere?.id]).size).toBe(3);
    expect(new Set([one?.salt, next?.salt, elsewhere?.salt]).size).toBe(3);
    expect(one?.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });

  it('counts a message with the events of another workspace as damaged', () => {
    const message = { ...sampleMessage(9, B, [sampleEvent(B)]), subject: `events.0.${A}` };
    const read = decodeMessage(message, context);
    expect(read).toMatchObject({ workspaceId: A, damage: { workspaceId: A } });
    expect(JSON.parse(read.events[0]!.body)).toMatchObject({ action: 'immutable.message_damaged' });
  });

  it('puts nothing into the chain of a workspace of another partition', () => {
    const partitions = 4;
    const partition = (partitionOf(A, partitions) + 1) % partitions;
    const message = { ...sampleMessage(9, A, [sampleEvent(A)]), subject: `events.${partition}.${A}` };
    const read = decodeMessage(message, {
      source: { partition, epoch: SAMPLE_EPOCH },
      ...sampleDecode(partitions),
    });
    expect(read.events).toEqual([]);
    expect(read.damage).toMatchObject({ position: { sequence: 9, index: 0 }, bytes: message.data });
  });
});
