import { describe, expect, it } from 'vitest';
import { chainOf, readSample, SAMPLE_EPOCH, sampleEvent } from './testing/sample.ts';
import { eventsTsv, quarantineTsv } from './tsv.ts';

const A = 'ws_aaaaaaaaaaaaaaaa';
const SOURCE = { partition: 2, epoch: SAMPLE_EPOCH };

describe('eventsTsv', () => {
  it('has the columns in the order of the insert, times as ClickHouse reads them', () => {
    const [row] = chainOf(SOURCE, [readSample(7, A, [sampleEvent(A)])]);
    const text = Buffer.concat([
      ...eventsTsv(SOURCE, [row!], Date.UTC(2026, 2, 15, 13, 0, 1) * 1000),
    ]).toString();
    const fields = text.replace('\n', '').split('\t');
    expect(fields.slice(0, 8)).toEqual([
      '2',
      SAMPLE_EPOCH,
      '7',
      '0',
      '2026-03-15 13:00:01.000000',
      A,
      '1',
      '2026-03-15 12:00:00.000000',
    ]);
    expect(fields[8]).toBe(row?.body.replaceAll('\\', '\\\\'));
    expect(fields[9]).toBe(row?.private.replaceAll('\\', '\\\\'));
    expect(fields.slice(10)).toEqual([row?.salt, row?.eventHash, '']);
  });

  it('gives a large insert in pieces that end with a row', () => {
    const events = Array.from({ length: 5_000 }, () => sampleEvent(A));
    const pieces = [...eventsTsv(SOURCE, chainOf(SOURCE, [readSample(1, A, events)]), 0)];
    expect(pieces.length).toBeGreaterThan(1);
    for (const piece of pieces) expect(piece.at(-1) ?? 10).toBe(10);
    expect(Buffer.concat(pieces).toString().split('\n')).toHaveLength(5_001);
  });
});

describe('quarantineTsv', () => {
  it('escapes whatever bytes there are', () => {
    const bytes = Uint8Array.of(0, 9, 10, 13, 92, 0xff, 0xc3);
    const entry = { position: { sequence: 1, index: 0 }, subject: '', workspaceId: A, reason: 'x\ty', bytes };
    const line = quarantineTsv(SOURCE, entry);
    expect(line.toString('latin1')).toBe(`2\t${SAMPLE_EPOCH}\t1\t0\t${A}\tx\\ty\t\\0\\t\\n\\r\\\\\xff\xc3\n`);
  });
});
