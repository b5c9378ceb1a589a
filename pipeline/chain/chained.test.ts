import { describe, expect, it } from 'vitest';
import { decodeChained } from '../../core/message.ts';
import { crc32 } from '../../infra/hash.ts';
import { chainedMessageId, chainedPayload, planChained } from './chained.ts';
import { chainOf, readSample, SAMPLE_EPOCH, sampleEvent } from './testing/sample.ts';

const SOURCE = { partition: 0, epoch: SAMPLE_EPOCH };
const [A, B, C] = ['ws_aaaaaaaaaaaaaaaa', 'ws_bbbbbbbbbbbbbbbb', 'ws_cccccccccccccccc'];
const LIMITS = { messageBytes: 1e9, batchBytes: 1e9, batchMessages: 1000 };

function rowsOf(...workspaces: string[]) {
  return chainOf(
    SOURCE,
    workspaces.map((id, index) => readSample(index + 1, id, [sampleEvent(id)])),
  );
}

function ids(batches: ReturnType<typeof planChained>) {
  return batches.map((batch) => batch.groups.map(chainedMessageId));
}

describe('planChained', () => {
  it('packs the rows of each workspace into one message, the one with the newest row last', () => {
    const batches = planChained(rowsOf(A, B, A, C, B, A));
    expect(ids(batches)).toEqual([[`${C}:1-1`, `${B}:1-2`, `${A}:1-3`]]);
    expect(batches[0]?.through).toEqual({ sequence: 6, index: 0 });
  });

  it('begins another message of a workspace when one is full, in order', () => {
    const rows = rowsOf(A, A, B, A);
    const batches = planChained(rows, { ...LIMITS, messageBytes: 1 });
    expect(ids(batches)).toEqual([[`${A}:1-1`, `${A}:2-2`, `${B}:1-1`, `${A}:3-3`]]);
  });

  it.each([
    ['messages', { ...LIMITS, batchMessages: 2 }],
    ['bytes', { ...LIMITS, batchBytes: 1 }],
  ])(
    'begins another batch where one is full of %s, every row before it being in the one before',
    (_, limits) => {
      const rows = rowsOf(A, B, C, A, B);
      const batches = planChained(rows, limits);
      expect(batches.length).toBeGreaterThan(1);
      let next = 0;
      for (const batch of batches) {
        const end = rows.findIndex((row) => row.position.sequence === batch.through.sequence) + 1;
        const seen = batch.groups
          .flatMap((group) => group.rows)
          .sort((a, b) => a.position.sequence - b.position.sequence);
        expect(seen).toEqual(rows.slice(next, end));
        expect(batch.groups.at(-1)?.rows.at(-1)?.position).toEqual(batch.through);
        next = end;
      }
      expect(next).toBe(rows.length);
    },
  );

  it('makes payloads that read back as the rows', () => {
    const rows = rowsOf(A, A);
    const [batch] = planChained(rows);
    const message = decodeChained(chainedPayload(batch!.groups[0]!, crc32), crc32);
    expect(message.workspaceId).toBe(A);
    expect(rows).toMatchObject(message.events);
  });
});
