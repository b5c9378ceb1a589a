import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { checkpointText, signNote } from '../core/checkpoint.ts';
import { nativeHasher } from '../infra/hash.ts';
import { type Candidate, candidates, endOf, type Found, isLeftOut } from './gather.ts';

const BEFORE = '2026-11-24T00:00:00.000000Z';
const NAME = 'log.test/ws_a';

function note(size: number, content = ''): string {
  const root = createHash('sha256').update(`${size}${content}`).digest();
  return signNote(checkpointText(NAME, size, root), { name: NAME, seed: new Uint8Array(32) });
}

function signed(size: number, lastCreatedAt = '2026-11-23T12:00:00.000000Z'): Candidate['signed'] {
  return {
    size,
    root: createHash('sha256').update(String(size)).digest('hex'),
    note: note(size),
    signed_at: lastCreatedAt,
    last_created_at: lastCreatedAt,
    last_event_hash: 'a'.repeat(64),
  };
}

const textOf = (size: number) => `${note(size).split('\n\n')[0]}\n`;
const head = {
  anchor_id: 'anc_1',
  period_end: '2026-11-23T00:00:00.000000Z',
  size: 4,
  checkpoint_hash: createHash('sha256').update(textOf(4)).digest('hex'),
  number: 1,
};
const anchored = { id: 'anc_1', size: 4, checkpoint: note(4) };

function growth(size: number, firstSeq = 5): Found['growth'] {
  return {
    size,
    lastEventHash: 'last',
    firstSeq,
    firstEventHash: 'first',
    firstEventAt: '2026-11-23T11:00:00.000000Z',
  };
}

function found(
  more: Partial<
    Found & { signed: Candidate['signed']; isOurs: boolean; previous: Candidate['previous'] }
  > = {},
) {
  const given = {
    signed: signed(9),
    growth: growth(9),
    note: note(9),
    anchored,
    isOurs: true,
    previous: head,
    ...more,
  };
  return endOf(
    { workspaceId: 'ws_a', signed: given.signed, previous: given.previous },
    given,
    BEFORE,
    () => given.isOurs,
    nativeHasher,
  );
}

function whyLeftOut(...given: Parameters<typeof found>): string {
  const end = found(...given);
  return end !== undefined && isLeftOut(end) ? end.why : 'not left out';
}

describe('candidates', () => {
  it('are those that have more signed than anchored, the oldest anchors first', () => {
    const records = new Map([
      ['ws_grown', signed(5)],
      ['ws_same', signed(4)],
      ['ws_new', signed(1)],
    ]);
    const heads = new Map([
      ['ws_grown', head],
      ['ws_same', head],
    ]);
    expect(candidates(records, heads).map(({ workspaceId }) => workspaceId)).toEqual(['ws_new', 'ws_grown']);
  });
});

describe('endOf', () => {
  it('is the checkpoint of exactly what there was before the moment', () => {
    expect(found()).toEqual({
      workspaceId: 'ws_a',
      note: note(9),
      firstEventHash: 'first',
      lastEventHash: 'last',
      firstEventAt: '2026-11-23T11:00:00.000000Z',
      previous: head,
    });
    const later = signed(12, '2026-11-24T00:00:01.000000Z');
    expect(found({ signed: later, growth: growth(7), note: note(7) })).toMatchObject({ note: note(7) });
  });

  it('is nothing where all that is new came after it', () => {
    expect(found({ signed: signed(9, '2026-11-24T00:00:01.000000Z'), growth: undefined })).toBeUndefined();
  });

  it('is without the hash of a first event that retention has removed', () => {
    expect(found({ growth: growth(9, 7) })).toMatchObject({ firstEventHash: '', lastEventHash: 'last' });
  });

  it('takes the note of NATS where the table lacks it', () => {
    expect(found({ note: undefined })).toMatchObject({ note: note(9) });
  });

  it('leaves out whom the tables know otherwise than NATS does', () => {
    expect(whyLeftOut({ growth: growth(8), note: note(8) })).toContain('not all of them are stored');
    expect(whyLeftOut({ growth: undefined })).toContain('not all of them are stored');
    const later = signed(12, '2026-11-24T00:00:01.000000Z');
    expect(whyLeftOut({ signed: later, growth: growth(7), note: undefined })).toContain('no checkpoint of 7');
  });

  it('leaves out whose checkpoint is another, or not ours', () => {
    expect(whyLeftOut({ note: note(8) })).toContain('not one that we signed');
    expect(whyLeftOut({ note: note(9, 'forged') })).toContain('not one that we signed');
    expect(whyLeftOut({ note: 'nonsense' })).toContain('not one that we signed');
    expect(whyLeftOut({ isOurs: false })).toContain('not one that we signed');
  });

  it('leaves out whose anchors are not what the job remembers', () => {
    const wrong: Partial<Parameters<typeof found>[0]>[] = [
      { anchored: undefined },
      { previous: undefined },
      { anchored: { ...anchored, id: 'anc_2' } },
      { anchored: { ...anchored, size: 3 } },
      { anchored: { ...anchored, checkpoint: note(4, 'forged') } },
    ];
    for (const one of wrong) expect(whyLeftOut(one)).toContain('The table of anchors');
    expect(whyLeftOut({ anchored: undefined, previous: undefined })).toBe('not left out');
  });
});
