import { describe, expect, it } from 'vitest';
import { purgeBelowSequence } from './purge.ts';

const state = { firstSequence: 1, lastSequence: 100, bytes: 10, maxBytes: 1_000 };
const full = { ...state, bytes: 500 };
const NOTHING_YOUNG = 101;

describe('purgeBelowSequence', () => {
  it('goes up to the lowest floor of all partitions', () => {
    const partitions = [
      { floors: [60], newest: 90 },
      { floors: [40], newest: 100 },
    ];
    expect(purgeBelowSequence({ state, partitions, firstYoungSequence: NOTHING_YOUNG })).toBe(41);
  });

  it('goes up to the lowest floor of all stages', () => {
    const partitions = [{ floors: [60, 30], newest: 90 }];
    expect(purgeBelowSequence({ state, partitions, firstYoungSequence: NOTHING_YOUNG })).toBe(31);
  });

  it('counts a partition with nothing pending as the last sequence', () => {
    const partitions = [
      { floors: [0], newest: 0 },
      { floors: [20], newest: 20 },
      { floors: [70], newest: 100 },
    ];
    expect(purgeBelowSequence({ state, partitions, firstYoungSequence: NOTHING_YOUNG })).toBe(71);
  });

  it('removes everything when everything is done with', () => {
    const partitions = [{ floors: [100], newest: 100 }];
    expect(purgeBelowSequence({ state, partitions, firstYoungSequence: NOTHING_YOUNG })).toBe(101);
  });

  it('removes nothing while a floor cannot be told', () => {
    const partitions = [
      { floors: [0], newest: 50 },
      { floors: [100], newest: 100 },
    ];
    expect(
      purgeBelowSequence({ state: full, partitions, firstYoungSequence: NOTHING_YOUNG }),
    ).toBeUndefined();
  });

  it('keeps what is young while there is room, and not when half is used', () => {
    const partitions = [{ floors: [90], newest: 100 }];
    expect(purgeBelowSequence({ state, partitions, firstYoungSequence: 50 })).toBe(50);
    expect(purgeBelowSequence({ state: full, partitions, firstYoungSequence: 50 })).toBe(91);
    expect(purgeBelowSequence({ state, partitions, firstYoungSequence: 1 })).toBeUndefined();
  });

  it('says nothing where there is nothing to remove', () => {
    const empty = { ...state, firstSequence: 101 };
    expect(
      purgeBelowSequence({ state: empty, partitions: [{ floors: [0], newest: 0 }], firstYoungSequence: 101 }),
    ).toBeUndefined();
  });
});
