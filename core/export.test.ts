import { describe, expect, it, test } from 'vitest';
import {
  exportManifest,
  exportRow,
  leavesOf,
  noteOf,
  SIGNER,
  sampleChain,
  sampleInput,
  TRUST,
} from '../test/support/sample-log.ts';
import type { ArchivedEvent } from './archive.ts';
import { privateDigest } from './canonical.ts';
import { eventHash } from './chain.ts';
import { describeProblem } from './checks.ts';
import {
  createExportChecker,
  EXPORT_CHECKS,
  type ExportManifest,
  type ExportReport,
  parseExportManifest,
} from './export.ts';
import { canonicalJson, type JsonObject } from './json.ts';
import type { Trust } from './trust.ts';

const FILE = { bytes: 7, sha256: 'f'.repeat(64) };
const LOG = sampleChain(12);

// biome-ignore lint/suspicious/noExplicitAny: rows are JSON here, bent in every way
type Row = any;

function rowsOf(events: readonly ArchivedEvent[]): Row[] {
  return events.map(exportRow);
}

function check(
  rows: readonly unknown[],
  manifest: JsonObject = exportManifest(LOG, FILE),
  { file = FILE, trust = TRUST }: { file?: typeof FILE; trust?: Trust } = {},
): ExportReport {
  const parsed = parseExportManifest(JSON.stringify(manifest));
  const lines = rows.map((row) => JSON.stringify(row));
  const checker = createExportChecker(parsed, trust);
  for (const line of lines) checker.line(line);
  const report = checker.end(file);
  for (const size of [1, 2, 5, 100]) {
    expect(checkSections(lines, size, parsed, trust, file), `in sections of ${size}`).toEqual(report);
  }
  return report;
}

/** Sections that somebody else found sound are appended, others gone through row by row. */
function checkSections(
  lines: readonly string[],
  size: number,
  manifest: ExportManifest,
  trust: Trust,
  file: typeof FILE,
): ExportReport {
  const checker = createExportChecker(manifest, trust);
  for (let from = 0; from < lines.length; from += size) {
    const section = createExportChecker(manifest, { verifierKeys: [] });
    const some = lines.slice(from, from + size);
    for (const line of some) section.line(line);
    const sound = section.sound();
    if (sound !== undefined) checker.append(sound);
    else for (const line of some) checker.line(line);
  }
  return checker.end(file);
}

/** Every check that did not pass, with all it says; no witnesses are asked for here. */
function found({ checks }: ExportReport): Record<string, string> {
  return Object.fromEntries(
    checks
      .filter(({ name, outcome }) => outcome !== 'passed' && !(name === 'witnesses' && outcome === 'skipped'))
      .map(({ name, outcome, detail, problems }) => [
        name,
        `${outcome}: ${problems?.map(describeProblem).join('; ') ?? detail}`,
      ]),
  );
}

/** The row changed in one place; the same rows otherwise. */
function bent(seq: number, bend: (row: Row) => unknown): Row[] {
  return rowsOf(LOG).map((row) => {
    if (row.seq === seq) bend(row);
    return row;
  });
}

describe('an export', () => {
  it('is valid as it was made, and every check is told', () => {
    const report = check(rowsOf(LOG));
    expect(found(report)).toEqual({});
    expect(report).toMatchObject({ verdict: 'valid', rows: 12, erased: 0 });
    expect(report.checks.map(({ name }) => name)).toEqual(Object.keys(EXPORT_CHECKS));
  });

  it('is valid from the middle of a chain, and before the end of the log', () => {
    const part = LOG.slice(3, 9);
    expect(found(check(rowsOf(part), exportManifest(part, FILE, { log: LOG })))).toEqual({});
  });

  it('is valid where personal data was erased, and says so', () => {
    const events = LOG.map((event) => (event.seq === 5 ? { ...event, private: '', salt: '' } : event));
    const report = check(rowsOf(events));
    expect(report).toMatchObject({ verdict: 'valid', erased: 1 });
    expect(report.checks).toContainEqual({
      name: 'private',
      outcome: 'passed',
      detail: 'the personal data of 1 rows was erased',
    });
  });

  it('holds numbers that another program spells differently', () => {
    const events = sampleChain(1, {
      input: (seq) => ({ ...sampleInput(seq), metadata: { big: 1e21, tiny: 1e-7 } }),
    });
    const checker = createExportChecker(
      parseExportManifest(JSON.stringify(exportManifest(events, FILE))),
      TRUST,
    );
    const line = JSON.stringify(exportRow(events[0]!));
    checker.line(
      line.replace(
        '"metadata":{"big":1e+21,"tiny":1e-7}',
        '"metadata":{"big":1000000000000000000000.0,"tiny":1e-07}',
      ),
    );
    expect(found(checker.end(FILE))).toEqual({});
  });

  it('may have no rows', () => {
    const report = check([], exportManifest([], FILE, { log: LOG, inclusion: null }));
    expect(report.verdict).toBe('valid');
    expect(found(report)).toEqual({ inclusion: 'skipped: there is no event' });
  });
});

describe('the check that finds it names what and where', () => {
  test.each<[string, string, string, (row: Row) => unknown]>([
    [
      'a name beside an untouched private text',
      'cells',
      'event 5: actor_name is "Eve", the private text says "Zoë \\"5\\""',
      (row) => (row.actor_name = 'Eve'),
    ],
    ['a name taken away', 'cells', 'actor_name is null', (row) => (row.actor_name = null)],
    ['an address', 'cells', 'ip_address is "203.0.113.8"', (row) => (row.ip_address = '203.0.113.8')],
    ['metadata', 'cells', 'metadata is', (row) => (row.metadata.deep.a[0] = 2)],
    ['a target', 'cells', 'targets is []', (row) => (row.targets = [])],
    [
      'an action',
      'cells',
      'action is "document.read", the body text says "document.created"',
      (row) => (row.action = 'document.read'),
    ],
    ['an id', 'cells', 'id is', (row) => (row.id = row.id.replace('018f', '018e'))],
    [
      'the time it happened',
      'cells',
      'occurred_at is',
      (row) => (row.occurred_at = '2026-01-01T00:00:00.000000Z'),
    ],
    [
      'a column of no export',
      'cells',
      'event 5: "approved_by" is no column',
      (row) => (row.approved_by = 'CEO'),
    ],
    [
      'a column renamed',
      'cells',
      'the column session_id is missing',
      (row) => {
        row.session = row.session_id;
        delete row.session_id;
      },
    ],
    ['a column left out', 'cells', 'action is null', (row) => delete row.action],
    ['a column of another type', 'cells', 'tenant_id is 5', (row) => (row.tenant_id = 5)],
    [
      'a version where there is none',
      'cells',
      'version is 3, the body text says null',
      (row) => (row.version = 3),
    ],
    ['a body', 'event_hash', 'event 5: computed', (row) => (row.body = row.body.replace('user_5', 'user_6'))],
    ['a body that is no JSON', 'event_hash', 'not canonical', (row) => (row.body = '{')],
    [
      'a private text',
      'private',
      'event 5: the digest in the body is another',
      (row) => (row.private = row.private.replace('Zo', 'Za')),
    ],
    ['a private text that is no JSON', 'private', 'not canonical', (row) => (row.private = ' {}')],
    ['a salt', 'private', 'the digest in the body is another', (row) => (row.salt = '0'.repeat(32))],
    ['personal data erased from the text alone', 'cells', 'actor_name is', (row) => (row.private = '')],
    [
      'a time of receipt',
      'event_hash',
      'computed',
      (row) => (row.created_at = '2026-01-01T00:00:00.005001Z'),
    ],
    ['a hash', 'event_hash', `found ${'0'.repeat(64)}`, (row) => (row.event_hash = '0'.repeat(64))],
    [
      'a hash, at its successor',
      'chain',
      'event 5: does not follow event 4',
      (row) => (row.previous_event_hash = '0'.repeat(64)),
    ],
    ['a number', 'chain', 'stands after event 4', (row) => (row.seq = 50)],
    ['a number that is none', 'row', 'row 5: seq is not a whole number', (row) => (row.seq = '5')],
    ['no number', 'row', 'row 5: seq', (row) => (row.seq = 0)],
    ['a time that is none', 'row', 'row 5: created_at', (row) => (row.created_at = '2026-01-01')],
    ['a body that is no text', 'row', 'row 5: body', (row) => (row.body = {})],
    [
      'a previous hash that reaches into the text',
      'row',
      'row 5: previous_event_hash',
      (row) => (row.previous_event_hash += '\n'),
    ],
    [
      'no previous hash',
      'row',
      'row 5: previous_event_hash is null',
      (row) => (row.previous_event_hash = null),
    ],
  ])('%s', (_, name, detail, bend) => {
    const report = check(bent(5, bend));
    expect(report.verdict).toBe('invalid');
    expect(found(report)[name]).toContain(`failed: `);
    expect(found(report)[name]).toContain(detail);
  });

  test.each<[string, string, string, (rows: Row[]) => unknown[]]>([
    ['a row cut out', 'chain', 'event 6: stands after event 4', (rows) => rows.toSpliced(4, 1)],
    ['the tail cut off', 'ends', 'there are 11 rows, not 12', (rows) => rows.slice(0, 11)],
    ['the head cut off', 'ends', 'the first row is this, not event 1', (rows) => rows.slice(1)],
    ['a row doubled', 'chain', 'event 3: stands after event 3', (rows) => rows.toSpliced(3, 0, rows[2])],
    ['two rows swapped', 'chain', 'stands after event', (rows) => rows.with(3, rows[4]).with(4, rows[3])],
    ['nothing left', 'ends', 'the first row, event 1, is missing', () => []],
    ['a line that is no row', 'row', 'row 13: is not a JSON object', (rows) => [...rows, []]],
    [
      'an event of another workspace',
      'workspace',
      'event 3: it belongs to "ws_x"',
      (rows) => rows.with(2, rehashed(rows[2], 'ws_x')),
    ],
  ])('%s', (_, name, detail, change) => {
    const report = check(change(rowsOf(LOG)));
    expect(report.verdict).toBe('invalid');
    expect(found(report)[name]).toContain('failed: ');
    expect(found(report)[name]).toContain(detail);
  });

  it('a file that is not the one of the manifest', () => {
    expect(found(check(rowsOf(LOG), undefined, { file: { ...FILE, sha256: '0'.repeat(64) } }))).toEqual({
      file: `failed: it has 7 bytes and the SHA-256 ${'0'.repeat(64)}`,
    });
  });

  it('a whole file made anew, with a manifest that fits, but that no log has signed', () => {
    const forged = sampleChain(12, {
      input: (seq) => ({ ...sampleInput(seq), actor_name: 'Somebody Else' }),
    });
    const genuine = exportManifest(LOG, FILE);
    const { checkpoint, inclusion } = genuine;
    const report = check(rowsOf(forged), exportManifest(forged, FILE, { checkpoint, inclusion }));
    expect(found(report)).toEqual({
      inclusion: 'failed: event 12: the path does not lead to the root of the checkpoint',
    });
    const self = { name: SIGNER.name, seed: new Uint8Array(32).fill(9) };
    const selfSigned = exportManifest(forged, FILE, { checkpoint: noteOf(leavesOf(forged), self) });
    expect(check(rowsOf(forged), selfSigned).verdict).toBe('unknown_signer');
  });

  it('lists twenty and counts the rest', () => {
    const rows = sampleChain(40).map((event) => ({ ...exportRow(event), action: 'x' }));
    const { checks } = check(rows, exportManifest(sampleChain(40), FILE));
    const { problems = [] } = checks.find(({ name }) => name === 'cells') ?? {};
    expect(problems).toHaveLength(21);
    expect(problems.at(-1)).toEqual({ detail: 'and 20 more' });
  });
});

/** A row whose body says another workspace, with hashes that fit. */
function rehashed(row: Row, workspace: string): Row {
  const body = canonicalJson({ ...JSON.parse(row.body), workspace_id: workspace });
  const hash = eventHash(row.previous_event_hash ?? '', row.seq, row.created_at, body);
  return { ...row, body, event_hash: hash };
}

describe('what is signed', () => {
  const manifestWith = (members: JsonObject) => exportManifest(LOG, FILE, members);

  test.each<[string, string, JsonObject]>([
    [
      'another leaf',
      'failed: event 12: the path is of event 1',
      { inclusion: { leaf_index: 0, tree_size: 12, path: [] } },
    ],
    [
      'another size',
      'failed: event 12: the path is for size 13',
      { inclusion: { leaf_index: 11, tree_size: 13, path: [] } },
    ],
    [
      'no path',
      'failed: event 12: the path does not lead',
      { inclusion: { leaf_index: 11, tree_size: 12, path: [] } },
    ],
    ['no inclusion', 'unknown_signer: the manifest has no path', { inclusion: null }],
  ])('a manifest with %s', (_, detail, members) => {
    const report = check(rowsOf(LOG), manifestWith(members));
    expect(found(report).inclusion).toContain(detail);
    expect(Object.keys(found(report))).toEqual(['inclusion']);
  });

  it('nothing: then nobody vouches for the file', () => {
    const report = check(rowsOf(LOG), manifestWith({ checkpoint: null, inclusion: null }));
    expect(report.verdict).toBe('unknown_signer');
    expect(found(report).checkpoint).toContain('nobody vouches');
  });

  it('something else than a checkpoint', () => {
    expect(found(check(rowsOf(LOG), manifestWith({ checkpoint: 'text' }))).checkpoint).toBe(
      'failed: the checkpoint cannot be read',
    );
  });

  it('by a key that is not trusted, which the file cannot change', () => {
    const report = check(rowsOf(LOG), manifestWith({ verifier_keys: ['x'] }), {
      trust: { verifierKeys: [] },
    });
    expect(report.verdict).toBe('unknown_signer');
  });

  it('by a key of the whole install, whatever the workspace', () => {
    const [key] = TRUST.verifierKeys;
    const trust = (logOrigin: string) => ({
      verifierKeys: [],
      installKeys: [{ logOrigin, publicKey: key!.publicKey }],
    });
    expect(check(rowsOf(LOG), undefined, { trust: trust('log.example.test') }).verdict).toBe('valid');
    expect(check(rowsOf(LOG), undefined, { trust: trust('example.test') }).verdict).toBe('unknown_signer');
    expect(check(rowsOf(LOG), undefined, { trust: trust('') }).verdict).toBe('unknown_signer');
  });

  it('the log of another workspace', () => {
    const other = { name: 'log.example.test/ws_other', seed: SIGNER.seed };
    const report = check(rowsOf(LOG), manifestWith({ checkpoint: noteOf(leavesOf(LOG), other) }));
    expect(found(report).workspace).toContain('the checkpoint is of the log log.example.test/ws_other');
  });
});

describe('an export that was filtered', () => {
  const events = LOG.filter(({ seq }) => [2, 5, 6, 12].includes(seq));
  const manifest = exportManifest(events, FILE, { log: LOG, complete: false });

  it('shows that the log has its last row, and says that nothing shows it of the others', () => {
    const report = check(rowsOf(events), manifest);
    expect(report.verdict).toBe('unknown_signer');
    expect(Object.keys(found(report))).toEqual(['chain']);
    expect(found(report).chain).toContain('3 of 4 rows are not linked to the last one');
  });

  it('is as good as a whole one where its rows follow each other', () => {
    const part = LOG.slice(4);
    expect(check(rowsOf(part), exportManifest(part, FILE, { log: LOG, complete: false })).verdict).toBe(
      'valid',
    );
  });

  it('still has links between neighbours', () => {
    const rows = rowsOf(events).map((row) =>
      row.seq === 6 ? { ...row, previous_event_hash: '0'.repeat(64) } : row,
    );
    expect(found(check(rows, manifest)).chain).toContain('event 6: does not follow event 5');
  });
});

describe('a CSV file', () => {
  const manifest = exportManifest(LOG, FILE, { format: 'csv' });
  function checkLinks(rows: Row[]): ExportReport {
    const checker = createExportChecker(parseExportManifest(JSON.stringify(manifest)), TRUST);
    for (const row of rows) checker.link(row);
    return checker.end(FILE);
  }

  it('has links and a last row that can be checked, and cells that cannot', () => {
    const report = checkLinks(rowsOf(LOG));
    expect(report.verdict).toBe('unknown_signer');
    expect(Object.keys(found(report))).toEqual(['event_hash', 'private', 'cells', 'workspace']);
    expect(found(report).cells).toContain('nobody vouches for its cells');
  });

  it('with a broken link is invalid', () => {
    const rows = bent(5, (row) => (row.event_hash = '0'.repeat(64)));
    expect(found(checkLinks(rows)).chain).toContain('event 6: does not follow event 5');
    expect(found(checkLinks([{ seq: 'x' }])).row).toContain('row 1 has not the cells of an event');
  });
});

describe('a manifest', () => {
  test.each<[string, JsonObject]>([
    ['another version', { version: 'immutable/export/v2' }],
    ['no workspace', { workspace_id: null }],
    ['another format', { format: 'xlsx' }],
    ['no word on completeness', { complete: 'yes' }],
    ['a number of rows that is none', { rows: -1 }],
    ['a first row without a hash', { first: { seq: 1 } }],
    ['a checkpoint that is no text', { checkpoint: {} }],
    ['a path that is none', { inclusion: { leaf_index: 0, tree_size: 1, path: [5] } }],
  ])('with %s is none', (_, members) => {
    expect(() => parseExportManifest(JSON.stringify(exportManifest(LOG, FILE, members)))).toThrow();
  });

  it('is a JSON object', () => {
    for (const text of ['', '[]', 'null', '5', '['.repeat(100_000)]) {
      expect(() => parseExportManifest(text)).toThrow(/not the manifest of an export/);
    }
  });
});

describe('a member that stands twice, which another program may read otherwise', () => {
  test.each<[string, (line: string) => string]>([
    ['a column', (line) => line.replace('{', '{"actor_name":"Eve",')],
    ['a text, before its own place', (line) => line.replace('{', '{"body":"{}",')],
    ['a text, behind itself', (line) => line.replace('","private":', '","body":"{}","private":')],
    ['a text, at the end', (line) => line.replace(/"salt":"(\w+)"}$/, '"salt":"$1","private":"{}"}')],
    ['the salt', (line) => line.replace('"salt":', '"salt":"x","salt":')],
    ['a member of metadata', (line) => line.replace('"title":', '"title":"forged","title":')],
  ])('%s', (_, change) => {
    const checker = createExportChecker(
      parseExportManifest(JSON.stringify(exportManifest(LOG, FILE))),
      TRUST,
    );
    for (const event of LOG) {
      const line = JSON.stringify(exportRow(event));
      checker.line(event.seq === 5 ? change(line) : line);
    }
    expect(found(checker.end(FILE)).row).toBe(
      'failed: row 5: a member stands twice, with two values to choose from',
    );
  });

  it('in a manifest', () => {
    const text = JSON.stringify(exportManifest(LOG, FILE));
    expect(() => parseExportManifest(text.replace('{', '{"rows":1,'))).toThrow(/stands twice/);
  });
});

describe('rows that are hostile', () => {
  test.each<[string, string]>([
    ['deep nesting', '['.repeat(200_000) + ']'.repeat(200_000)],
    ['deep metadata', `{"seq":1,"metadata":${'['.repeat(200_000)}${']'.repeat(200_000)}}`],
    ['nothing', ''],
    ['half a surrogate pair', '"\\ud800"'],
    ['a prototype', '{"__proto__":{"seq":1}}'],
  ])('%s end in a sentence', (_, line) => {
    const checker = createExportChecker(
      parseExportManifest(JSON.stringify(exportManifest(LOG, FILE))),
      TRUST,
    );
    checker.line(line);
    expect(found(checker.end(FILE)).row).toContain('failed: row 1: ');
  });

  it('cells that are deep beside texts that are sound are shown by a name', () => {
    const row = JSON.stringify(exportRow(LOG[0]!)).replace(
      /"tenant_id":"acme"/,
      `"tenant_id":${'['.repeat(100_000)}${']'.repeat(100_000)}`,
    );
    const checker = createExportChecker(
      parseExportManifest(JSON.stringify(exportManifest(LOG, FILE))),
      TRUST,
    );
    checker.line(row);
    expect(found(checker.end(FILE)).cells).toContain('tenant_id is');
  });

  it('a digest that fits a text which is not canonical does not make it sound', () => {
    const row: Row = exportRow(LOG[0]!);
    row.private = '{"actor_name":"A","actor_name":"B"}';
    row.body = row.body.replace(/"private":"[^"]*"/, `"private":"${privateDigest(row.private, row.salt)}"`);
    row.event_hash = eventHash('', 1, row.created_at, row.body);
    expect(found(check([row])).private).toContain('not canonical');
  });
});
