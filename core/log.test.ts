import { describe, expect, it, test } from 'vitest';
import {
  leavesOf,
  noteOf,
  SIGNER,
  sampleChain,
  sampleInput,
  TRUST,
  tileSource,
  WORKSPACE,
} from '../test/support/sample-log.ts';
import { type ArchivedEvent, archiveLine } from './archive.ts';
import { checkpointText, signNote, verifierKeyOf } from './checkpoint.ts';
import { describeProblem } from './checks.ts';
import {
  LOG_CHECKS,
  type LogOptions,
  type LogReport,
  type LogSource,
  type LogState,
  logStateText,
  parseLogState,
  soundEvents,
  verifyLog,
} from './log.ts';
import type { TileName } from './tile.ts';

const SIZE = 1000;
const CHAIN = sampleChain(SIZE);
const LEAVES = leavesOf(CHAIN);

interface Served {
  events?: readonly ArchivedEvent[];
  lines?: (lines: string[]) => string[];
  note?: string;
  tile?: LogSource['tile'];
}

/** A log that serves these, and is honest in all else. */
function logOf(
  leaves: readonly Uint8Array[],
  { events, lines = (all) => all, note, tile }: Served,
): LogSource {
  return {
    checkpoint: async () => note ?? noteOf(leaves),
    tile: tile ?? tileSource(leaves),
    ...(events === undefined
      ? {}
      : {
          events: async function* (first: number) {
            const all = lines(events.filter(({ seq }) => seq >= first).map(archiveLine));
            for (let from = 0; from < all.length; from += 300) {
              const some = all.slice(from, from + 300);
              yield { lines: () => some };
            }
          },
        }),
  };
}

function grownTo(size: number, served: Served = {}): LogSource {
  return logOf(LEAVES.slice(0, size), { events: CHAIN.slice(0, size), ...served });
}

async function check(
  source: LogSource,
  options: Partial<LogOptions> = {},
  trust = TRUST,
): Promise<LogReport> {
  const report = await verifyLog(source, trust, { state: null, ...options });
  for (const size of [1, 7, 300]) {
    const { covered, ...same } = await verifyLog(inSections(source, size), trust, {
      state: null,
      ...options,
    });
    expect(report, `in sections of ${size}`).toMatchObject(same);
    // Of a section that meets a wrong tile all events were looked at, though not all were found in the tree.
    if (found(report).tiles === undefined) expect(covered).toEqual(report.covered);
  }
  return report;
}

/** The same log, of which sections were looked at by somebody else. */
function inSections({ events, ...source }: LogSource, size: number): LogSource {
  if (events === undefined) return source;
  return {
    ...source,
    events: async function* (first) {
      for await (const { lines } of events(first)) {
        for (let from = 0; from < lines().length; from += size) {
          const some = lines().slice(from, from + size);
          yield { lines: () => some, sound: soundEvents(some, WORKSPACE) };
        }
      }
    },
  };
}

function found({ checks }: LogReport): Record<string, string> {
  return Object.fromEntries(
    checks
      .filter(({ name, outcome }) => outcome !== 'passed' && !(name === 'witnesses' && outcome === 'skipped'))
      .map(({ name, outcome, detail, problems }) => [
        name,
        `${outcome}: ${problems?.map(describeProblem).join('; ') ?? detail}`,
      ]),
  );
}

async function stateAt(size: number): Promise<LogState> {
  const { state } = await check(grownTo(size));
  if (state === null) throw new Error('an honest log is valid');
  return state;
}

describe('an honest log', () => {
  test.each([0, 1, 2, 255, 256, 257, 512, 999, 1000])('of %i events is valid', async (size) => {
    const report = await check(grownTo(size));
    expect(report.verdict).toBe('valid');
    expect(report.covered).toEqual({
      events: size,
      firstSeq: size === 0 ? null : 1,
      erased: 0,
      leafTiles: Math.ceil(size / 256),
    });
    expect(report.checks.map(({ name }) => name)).toEqual(Object.keys(LOG_CHECKS));
  });

  test.each([
    [1, 2],
    [3, 900],
    [255, 257],
    [256, 512],
    [999, 1000],
    [1000, 1000],
  ])('that grew from %i to %i is consistent', async (first, second) => {
    for (const onlyNew of [false, true]) {
      const report = await check(grownTo(second), { state: await stateAt(first), onlyNew });
      expect(report.verdict).toBe('valid');
      expect(report.covered.events).toBe(onlyNew ? second - first : second);
      expect(found(report).consistent).toBeUndefined();
      expect(report.state?.size).toBe(second);
    }
  });

  it('may have events that came after the checkpoint', async () => {
    const report = await check(logOf(LEAVES.slice(0, 900), { events: CHAIN }));
    expect(report).toMatchObject({ verdict: 'valid', covered: { events: 900 } });
  });

  it('may have lost old events to retention, which is said', async () => {
    const report = await check(grownTo(SIZE, { events: CHAIN.slice(600) }));
    expect(report).toMatchObject({ verdict: 'valid', covered: { events: 400, firstSeq: 601, leafTiles: 4 } });
    expect(report.checks.find(({ name }) => name === 'complete')?.detail).toContain(
      'events 1 to 600 are not served',
    );
  });

  it('may be seen by its tiles alone', async () => {
    const { events: _, ...source } = grownTo(SIZE);
    const report = await check(source);
    expect(report).toMatchObject({ verdict: 'valid', covered: { events: 0, leafTiles: 4 } });
    expect(found(report).inclusion).toContain('skipped: only the hashes');
  });

  it('may have erased personal data', async () => {
    const events = CHAIN.map((event) => (event.seq === 7 ? { ...event, private: '' } : event));
    expect(await check(grownTo(SIZE, { events }))).toMatchObject({
      verdict: 'valid',
      covered: { erased: 1 },
    });
  });

  it('tells how far it is', async () => {
    const seen: number[] = [];
    await check(grownTo(SIZE), { onProgress: (done, total) => seen.push(done / total) });
    expect(seen.at(-1)).toBe(1);
    expect(seen.length).toBeGreaterThan(3);
  });
});

describe('events that are not those of the tree', () => {
  const edited = (seq: number, members: Partial<ArchivedEvent>) =>
    CHAIN.map((event) => (event.seq === seq ? { ...event, ...members } : event));
  /** From `seq` on all is made anew, with hashes that fit each other. */
  const rewritten = (seq: number) => {
    const input = (at: number) =>
      at === seq ? { ...sampleInput(at), action: 'document.read' } : sampleInput(at);
    return sampleChain(SIZE, { input });
  };

  test.each<[string, string, string, readonly ArchivedEvent[]]>([
    [
      'a body',
      'event_hash',
      'event 300: computed',
      edited(300, { body: CHAIN[299]!.body.replace('doc_300', 'doc_301') }),
    ],
    ['a private text', 'private', 'event 300: the digest', edited(300, { private: '{}' })],
    ['a salt', 'private', 'event 300: the digest', edited(300, { salt: '' })],
    [
      'a time',
      'event_hash',
      'event 300: computed',
      edited(300, { created_at: '2026-01-01T00:00:00.300001Z' }),
    ],
    [
      'a hash',
      'inclusion',
      `event 300: the hash ${'0'.repeat(64)} is not its leaf in tile/0/001`,
      edited(300, { event_hash: '0'.repeat(64) }),
    ],
    ['a hash that is none', 'inclusion', 'event 300: the hash x is not', edited(300, { event_hash: 'x' })],
    [
      'a previous hash',
      'chain',
      'event 300: does not follow event 299',
      edited(300, { previous_event_hash: '' }),
    ],
    ['an event missing', 'complete', 'event 300 is missing', CHAIN.toSpliced(299, 1)],
    ['the tail cut', 'complete', 'events 991 to 1000 are missing', CHAIN.slice(0, 990)],
    ['all gone', 'complete', 'events 1 to 1000 are missing', []],
    [
      'an event doubled',
      'complete',
      'event 300: stands after event 300',
      CHAIN.toSpliced(300, 0, CHAIN[299]!),
    ],
    [
      'two swapped',
      'complete',
      'event 300: stands after event 301',
      CHAIN.with(299, CHAIN[300]!).with(300, CHAIN[299]!),
    ],
    ['all from one on made anew', 'inclusion', 'event 300: the hash', rewritten(300)],
    [
      'the head gone, the next one edited',
      'chain',
      'event 601: does not follow event 600',
      edited(601, { previous_event_hash: '0'.repeat(64) }).slice(600),
    ],
  ])('%s', async (_, name, detail, events) => {
    const report = await check(grownTo(SIZE, { events }));
    expect(report).toMatchObject({ verdict: 'invalid', state: null });
    expect(found(report)[name]).toContain('failed: ');
    expect(found(report)[name]).toContain(detail);
  });

  it('lines that are no events', async () => {
    const report = await check(grownTo(SIZE, { lines: (lines) => lines.with(4, '{') }));
    expect(found(report)).toMatchObject({
      line: 'failed: the line after event 4 is not an event',
      complete: expect.stringContaining('event 5 is missing'),
    });
  });

  it('another workspace', async () => {
    const signer = { name: 'log.example.test/ws_other', seed: SIGNER.seed };
    const trust = { verifierKeys: [verifierKeyOf(signer)] };
    const report = await check(grownTo(3, { note: noteOf(LEAVES.slice(0, 3), signer) }), {}, trust);
    expect(found(report).workspace).toContain(`event 1: ${WORKSPACE}`);
  });
});

describe('tiles that are not those of the tree', () => {
  const SMALL = sampleChain(600);
  const honest = tileSource(leavesOf(SMALL));
  const bentTile =
    (at: TileName, bend: (hashes: Uint8Array) => Uint8Array | undefined) => async (name: TileName) => {
      const hashes = await honest(name);
      return hashes !== undefined && name.level === at.level && name.index === at.index
        ? bend(hashes)
        : hashes;
    };
  const flipped = (byte: number) => (hashes: Uint8Array) => hashes.with(byte, (hashes[byte] ?? 0) ^ 1);

  test.each<[string, TileName, (hashes: Uint8Array) => Uint8Array | undefined, string]>([
    [
      'a full tile changed',
      { level: 0, index: 1, width: 256 },
      flipped(40),
      'tile/0/001 is not the one that the tile above was made of',
    ],
    [
      'a tile at the edge changed',
      { level: 0, index: 2, width: 88 },
      flipped(40),
      'do not make the root of the checkpoint (tile/0/002.p/88, tile/1/000.p/2)',
    ],
    ['a tile above changed', { level: 1, index: 0, width: 2 }, flipped(0), 'do not make the root'],
    ['a tile missing', { level: 0, index: 1, width: 256 }, () => undefined, 'tile/0/001 is missing'],
    [
      'a tile cut',
      { level: 0, index: 1, width: 256 },
      (hashes) => hashes.slice(0, 100),
      'tile/0/001 has 100 bytes, not 8192',
    ],
    [
      'a tile too long',
      { level: 0, index: 1, width: 256 },
      () => new Uint8Array(9000),
      'tile/0/001 has 9000 bytes',
    ],
    [
      'nothing at the edge',
      { level: 1, index: 0, width: 2 },
      () => new Uint8Array(),
      'tile/1/000.p/2 has 0 bytes',
    ],
  ])('%s', async (_, at, bend, detail) => {
    const tile = bentTile(at, bend);
    for (const events of [SMALL, undefined]) {
      const report = await check(logOf(leavesOf(SMALL), { ...(events && { events }), tile }));
      expect(report.verdict).toBe('invalid');
      expect(found(report).tiles).toContain(detail);
    }
  });

  it('a leaf of an event that is gone is found as well', async () => {
    const tile = bentTile({ level: 0, index: 0, width: 256 }, flipped(0));
    const report = await check(logOf(leavesOf(SMALL), { events: SMALL.slice(590), tile }));
    expect(found(report).tiles).toContain('tile/0/000 is not the one');
  });
});

describe('a log that says another thing than it said before', () => {
  const other = leavesOf(sampleChain(SIZE, { input: (seq) => ({ ...sampleInput(seq), actor_id: 'other' }) }));

  it('has forgotten events', async () => {
    const report = await check(grownTo(400), { state: await stateAt(500) });
    expect(report.verdict).toBe('invalid');
    expect(found(report).consistent).toBe('failed: the log has forgotten events: it had 500, says 400');
  });

  it('was rewritten at the same size', async () => {
    const report = await check(logOf(other.slice(0, 500), {}), { state: await stateAt(500) });
    expect(found(report).consistent).toBe(
      'failed: the log was rewritten: another root for the same 500 events',
    );
  });

  it('was rewritten and grew', async () => {
    const report = await check(logOf(other, {}), { state: await stateAt(500) });
    expect(found(report).consistent).toContain('its first 500 events are not those of the last visit');
  });

  it('is another log', async () => {
    const signer = { name: `other.example.test/${WORKSPACE}`, seed: SIGNER.seed };
    const trust = { verifierKeys: [...TRUST.verifierKeys, verifierKeyOf(signer)] };
    const source = grownTo(600, { note: noteOf(LEAVES.slice(0, 600), signer) });
    const report = await check(source, { state: await stateAt(500), onlyNew: true }, trust);
    expect(found(report).consistent).toContain('it was the log log.example.test/');
    expect(report.covered.events).toBe(600);
  });

  it('is remembered only where everything holds', async () => {
    expect((await check(grownTo(10), {}, { verifierKeys: [] })).state).toBeNull();
    expect((await check(grownTo(10, { events: CHAIN.slice(0, 9) }))).state).toBeNull();
  });
});

describe('a checkpoint', () => {
  it('of an unknown signer is told as such, whatever else holds', async () => {
    const report = await check(grownTo(10), {}, { verifierKeys: [] });
    expect(report.verdict).toBe('unknown_signer');
    expect(Object.keys(found(report))).toEqual(['checkpoint', 'consistent']);
  });

  it('with a signature that does not hold is refused', async () => {
    const note = noteOf(LEAVES.slice(0, 10)).replace('\n10\n', '\n9\n');
    expect(found(await check(grownTo(9, { note }))).checkpoint).toContain('failed: ');
  });

  it('of another root is not that of the tiles', async () => {
    const note = signNote(checkpointText(SIGNER.name, 10, new Uint8Array(32)), SIGNER);
    expect(found(await check(grownTo(10, { note }))).tiles).toContain('do not make the root');
  });

  test.each(['', 'text', '<html>', '{"error":"not_found"}'])('that is none: %j', async (note) => {
    const report = await check(grownTo(10, { note }));
    expect(report).toMatchObject({ verdict: 'invalid', checkpoint: null });
    expect(found(report).checkpoint).toBe('failed: this is not a signed checkpoint');
    expect(found(report).complete).toContain('skipped');
  });
});

describe('what is remembered', () => {
  it('is read back as it was written', async () => {
    const state = await stateAt(5);
    expect(parseLogState(logStateText(state))).toEqual(state);
  });

  it('is nothing else, and nothing that says another thing than its note', async () => {
    const state = await stateAt(5);
    const forged = [
      { ...state, size: 4 },
      { ...state, root: 'x' },
      { ...state, origin: 'x' },
      { ...state, note: '' },
    ];
    for (const text of ['', '{}', '[]', 'null', ...forged.map(logStateText)]) {
      expect(() => parseLogState(text)).toThrow(/not what a follower/);
    }
  });
});
