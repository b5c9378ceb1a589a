import { describe, expect, it } from 'vitest';
import {
  ARCHIVE_FORMAT,
  type ArchivedEvent,
  type ArchiveManifest,
  archiveLine,
  createArchiveChecker,
  parseArchiveLine,
  parseArchiveManifest,
} from './archive.ts';
import { canonicalTexts } from './canonical.ts';
import { eventHash } from './chain.ts';

const WORKSPACE = 'ws_00000000000000aa';
const SALT = '0123456789abcdef0123456789abcdef';
const FILE = { bytes: 7, sha256: 'f'.repeat(64) };

function chainOf(count: number, firstSeq = 1, previous = ''): ArchivedEvent[] {
  const events: ArchivedEvent[] = [];
  let before = previous;
  for (let seq = firstSeq; seq < firstSeq + count; seq++) {
    const created_at = `2026-01-01T00:00:00.${String(seq).padStart(6, '0')}Z`;
    const texts = canonicalTexts(
      {
        id: `018f0000-0000-7000-8000-${String(seq).padStart(12, '0')}`,
        workspace_id: WORKSPACE,
        occurred_at: created_at,
        actor_id: 'user_1',
        action: 'document.read',
        metadata: { note: 'line\nfeed' },
      },
      SALT,
    );
    const event_hash = eventHash(before, seq, created_at, texts.body);
    events.push({
      seq,
      created_at,
      body: texts.body,
      private: texts.private,
      salt: SALT,
      event_hash,
      previous_event_hash: before,
    });
    before = event_hash;
  }
  return events;
}

function manifestOf(events: readonly ArchivedEvent[]): ArchiveManifest {
  const [first, last] = [events[0], events.at(-1)];
  if (first === undefined || last === undefined) throw new Error('no events');
  return {
    format: ARCHIVE_FORMAT,
    workspace_id: WORKSPACE,
    first_seq: first.seq,
    last_seq: last.seq,
    rows: events.length,
    first_created_at: first.created_at,
    last_created_at: last.created_at,
    previous_event_hash: first.previous_event_hash,
    event_hash: last.event_hash,
    file_bytes: FILE.bytes,
    file_sha256: FILE.sha256,
  };
}

function check(events: readonly ArchivedEvent[], manifest: ArchiveManifest, file = FILE) {
  const checker = createArchiveChecker(manifest);
  for (const event of events) checker.line(archiveLine(event));
  return checker.end(file);
}

function problemsOf(change: (events: ArchivedEvent[]) => ArchivedEvent[]): string[] {
  const events = chainOf(5, 11, 'a'.repeat(64));
  const { valid, problems } = check(change([...events]), manifestOf(events));
  expect(valid).toBe(false);
  return problems.map((problem) => problem.check);
}

const edited = (index: number, members: Partial<ArchivedEvent>) => (events: ArchivedEvent[]) =>
  events.map((event, at) => (at === index ? { ...event, ...members } : event));

describe('an archive', () => {
  it('is valid from any place of the chain, erased personal data included', () => {
    const events = chainOf(5, 11, 'a'.repeat(64)).map((event) =>
      event.seq === 12 ? { ...event, private: '' } : event,
    );
    expect(check(events, manifestOf(events))).toEqual({
      valid: true,
      rows: 5,
      erased: 1,
      failed: [],
      problems: [],
    });
    const first = chainOf(3);
    expect(check(first, manifestOf(first)).valid).toBe(true);
  });

  it('has lines that come back as they were', () => {
    for (const event of chainOf(3)) {
      const line = archiveLine(event);
      expect(line).not.toContain('\n');
      expect(createArchiveChecker(manifestOf(chainOf(3))).line(line)).toEqual(event);
    }
  });

  it('names an event that was edited', () => {
    expect(problemsOf(edited(2, { body: '{}' }))).toEqual(['event_hash', 'workspace', 'private']);
    expect(problemsOf(edited(2, { private: '{"actor_name":"Other"}' }))).toEqual(['private']);
    expect(problemsOf(edited(2, { salt: 'x' }))).toEqual(['private']);
    expect(problemsOf(edited(2, { created_at: '2026-01-01T00:00:00.000099Z' }))).toContain('event_hash');
  });

  it('names what is missing, added, moved or cut off', () => {
    expect(problemsOf((events) => events.toSpliced(2, 1))).toEqual(['chain', 'manifest']);
    expect(problemsOf((events) => events.slice(0, 4))).toEqual(['manifest', 'manifest']);
    expect(problemsOf((events) => events.slice(1))).toEqual(['manifest', 'chain', 'manifest']);
    expect(problemsOf((events) => [...events, ...events.slice(4)])).toEqual(['chain', 'manifest']);
    expect(problemsOf((events) => events.with(1, events[2] ?? events[0]!))).toContain('chain');
    expect(problemsOf(() => [])).toEqual(['manifest', 'manifest']);
  });

  it('is not another than its manifest says', () => {
    const events = chainOf(3);
    const manifest = manifestOf(events);
    expect(check(events, manifest, { ...FILE, bytes: 8 }).problems).toMatchObject([{ check: 'file' }]);
    expect(check(events, { ...manifest, workspace_id: 'ws_00000000000000bb' }).problems).toHaveLength(3);
    expect(check(events, { ...manifest, first_created_at: 'x' }).problems).toMatchObject([
      { check: 'manifest' },
    ]);
    expect(check(events, { ...manifest, last_created_at: 'x' }).problems).toMatchObject([
      { check: 'manifest' },
    ]);
    expect(check(events, { ...manifest, previous_event_hash: 'b'.repeat(64) }).problems).toMatchObject([
      { check: 'chain', seq: 1 },
    ]);
  });

  it('has lines of one spelling only: none could be read in two ways, or says more', () => {
    const [event] = chainOf(1);
    const line = archiveLine(event!);
    for (const changed of [
      line.replace('{', '{"body":"{}",'),
      line.replace('}', ',"note":"x"}'),
      line.replace(',', ', '),
      `${line}\r`,
    ]) {
      expect(changed).not.toBe(line);
      expect(parseArchiveLine(changed)).toBeUndefined();
    }
    expect(parseArchiveLine(line)).toEqual(event);
  });

  it('names lines that are no events, and keeps the list of problems short', () => {
    const checker = createArchiveChecker(manifestOf(chainOf(1)));
    for (const line of ['', '{', '[]', 'null', '{"seq":1}', '{"seq":"1","body":""}']) checker.line(line);
    for (let round = 0; round < 100; round++) checker.line('{}');
    const report = checker.end(FILE);
    expect(report.valid).toBe(false);
    expect(report.problems).toHaveLength(20);
    expect(report.problems[0]).toMatchObject({ check: 'line' });
  });
});

describe('a manifest', () => {
  it('is read back, and nothing else is one', () => {
    const manifest = manifestOf(chainOf(2));
    expect(parseArchiveManifest(JSON.stringify(manifest))).toEqual(manifest);
    for (const name of Object.keys(manifest)) {
      expect(() => parseArchiveManifest(JSON.stringify({ ...manifest, [name]: null })), name).toThrow(
        /not a manifest/,
      );
    }
    for (const text of ['', '[]', '{}', 'x'])
      expect(() => parseArchiveManifest(text)).toThrow(/not a manifest/);
  });
});
