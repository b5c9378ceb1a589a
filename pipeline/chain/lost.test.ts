import { describe, expect, it } from 'vitest';
import { lostRanges } from './lost.ts';

describe('lostRanges', () => {
  it('is empty for a stream without gaps', () => {
    expect(lostRanges({ firstSequence: 5, deletedSequences: [], lostSequences: [] })).toEqual([]);
  });

  it('joins neighbours and names what the server could not read', () => {
    expect(
      lostRanges({ firstSequence: 1, deletedSequences: [4, 5, 9, 12], lostSequences: [12, 13] }),
    ).toEqual([
      { first: 4, last: 5, reason: 'deleted' },
      { first: 9, last: 9, reason: 'deleted' },
      { first: 12, last: 13, reason: 'unreadable' },
    ]);
  });

  it('leaves out what was purged', () => {
    expect(lostRanges({ firstSequence: 10, deletedSequences: [3], lostSequences: [9] })).toEqual([]);
  });
});
