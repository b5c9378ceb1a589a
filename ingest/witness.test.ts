import { describe, expect, it } from 'vitest';
import { createWitness } from './witness.ts';

function setUp() {
  const stream = { epoch: 'e1', lastSequence: 10 };
  return { stream, witness: createWitness(async () => ({ ...stream })) };
}

describe('the witness of what was acknowledged', () => {
  it('finds nothing wrong with a stream that grows, nor with one that was purged', async () => {
    const { stream, witness } = setUp();
    expect(await witness.problem()).toBeUndefined();
    witness.stored({ kind: 'stored', firstSequence: 11, lastSequence: 12 });
    witness.stored({ kind: 'already_stored' });
    witness.stored({ kind: 'unknown', reason: '' });
    stream.lastSequence = 12;
    expect(await witness.problem()).toBeUndefined();
  });

  it('finds a stream that ends before what it acknowledged, until that is there again', async () => {
    const { stream, witness } = setUp();
    expect(await witness.problem()).toBeUndefined();
    witness.stored({ kind: 'stored', firstSequence: 11, lastSequence: 12 });
    witness.stored({ kind: 'stored', firstSequence: 9, lastSequence: 9 });
    stream.lastSequence = 11;
    expect(await witness.problem()).toContain('acknowledged');
    stream.lastSequence = 12;
    expect(await witness.problem()).toBeUndefined();
  });

  it('finds a stream that was made anew', async () => {
    const { stream, witness } = setUp();
    expect(await witness.problem()).toBeUndefined();
    stream.epoch = 'e2';
    stream.lastSequence = 1_000;
    expect(await witness.problem()).toContain('acknowledged');
    stream.epoch = 'e1';
    expect(await witness.problem()).toBeUndefined();
  });
});
