import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { SchemaElement } from 'hyparquet';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, test } from 'vitest';
import { ARCHIVE_FORMAT, type ArchivedEvent, archiveLine } from '../../core/archive.ts';
import { base64Encode } from '../../core/bytes.ts';
import { encodeVerifierKey, verifierKeyOf } from '../../core/checkpoint.ts';
import type { JsonObject } from '../../core/json.ts';
import { parsePolicy } from '../../core/policy.ts';
import { parseTimestamp } from '../../core/time.ts';
import { honestLog, type LogServer, startLogServer } from '../../test/support/log-server.ts';
import {
  evidenceOf,
  exportManifest,
  exportRow,
  inclusionOf,
  LOG_ORIGIN,
  leavesOf,
  noteOf,
  SIGNER,
  sampleChain,
  sampleInput,
  WORKSPACE,
} from '../../test/support/sample-log.ts';
import vectors from '../../test/vectors/integrity-v1.json' with { type: 'json' };
import type { Terminal } from '../terminal.ts';
import { pinCommand, redactCommand, type VerifyOptions, verifyCommand } from './command.ts';

const KEY = encodeVerifierKey(verifierKeyOf(SIGNER));
const CHAIN = sampleChain(700);

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'immutable-verify-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

interface Said {
  code: number;
  out: string;
  err: string;
  // biome-ignore lint/suspicious/noExplicitAny: what a test reads is whatever is printed
  json: any;
}

async function run(work: (terminal: Terminal) => Promise<number>): Promise<Said> {
  const [out, err]: [string[], string[]] = [[], []];
  const code = await work({
    step: (_, step) => step(),
    say: (sentence) => void err.push(sentence),
    result: (text) => void out.push(text),
  });
  const text = out.join('\n');
  return { code, out: text, err: err.join('\n'), json: text.startsWith('{') ? JSON.parse(text) : undefined };
}

function verify(target: string, options: Partial<VerifyOptions> = {}): Promise<Said> {
  return run((terminal) =>
    verifyCommand(terminal, {
      target,
      verifierKeys: [KEY],
      logKeys: [],
      onlyNew: false,
      json: true,
      ...options,
    }),
  );
}

/** Every check that did not pass. */
function found({ json }: Said): Record<string, string> {
  return Object.fromEntries(
    json.checks
      .filter((check: JsonObject) => check.outcome !== 'passed' && check.name !== 'witnesses')
      .map(({ name, outcome, detail }: JsonObject) => [name, `${outcome}: ${detail}`]),
  );
}

function write(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

/** The file of an export, with its manifest beside it. */
function writeExport(
  events: readonly ArchivedEvent[],
  { format = 'ndjson', members = {} }: { format?: 'ndjson' | 'csv' | 'parquet'; members?: JsonObject } = {},
): string {
  const content = CONTENTS[format](events);
  const name = `immutable-exp_0000000000000001.${format}`;
  const facts = { bytes: content.length, sha256: createHash('sha256').update(content).digest('hex') };
  const manifest = exportManifest(events, facts, { log: CHAIN, format, file_name: name, ...members });
  write('manifest.json', JSON.stringify(manifest, null, 2));
  return write(name, content);
}

const CONTENTS = {
  ndjson: (events: readonly ArchivedEvent[]) =>
    Buffer.from(events.map((event) => `${JSON.stringify(exportRow(event))}\n`).join('')),
  csv: (events: readonly ArchivedEvent[]) => {
    const rows = events.map(exportRow);
    const names = Object.keys(rows[0] ?? {}).filter((name) => !['body', 'private', 'salt'].includes(name));
    const cell = (value: unknown) =>
      value === null ? '' : typeof value === 'number' ? value : `"${String(value).replaceAll('"', '""')}"`;
    const lines = rows.map((row) => names.map((name) => cell(row[name])).join(','));
    return Buffer.from([names.join(','), ...lines, ''].join('\r\n'));
  },
  parquet: (events: readonly ArchivedEvent[]) => Buffer.from(parquetOf(events.map(exportRow))),
};

function parquetOf(rows: readonly JsonObject[]): ArrayBuffer {
  const names = Object.keys(rows[0] ?? {});
  return parquetWriteBuffer({
    columnData: names.map((name) => ({ name, data: rows.map((row) => parquetCell(name, row[name])) })),
    schema: [{ name: 'root', num_children: names.length }, ...names.map(schemaOf)],
    rowGroupSize: 100,
  });
}

function schemaOf(name: string): SchemaElement {
  const column = { name, repetition_type: 'OPTIONAL' } as const;
  if (name === 'seq') return { ...column, type: 'INT64' };
  if (name === 'version') return { ...column, type: 'INT32' };
  if (name.endsWith('_at')) return { ...column, type: 'INT64', converted_type: 'TIMESTAMP_MICROS' };
  return { ...column, type: 'BYTE_ARRAY', converted_type: 'UTF8' };
}

function parquetCell(name: string, value: unknown): unknown {
  if (name === 'seq') return BigInt(Number(value));
  if (name.endsWith('_at')) return new Date((parseTimestamp(String(value)) ?? 0) / 1000);
  return typeof value === 'object' && value !== null ? JSON.stringify(value) : value;
}

function writeArchive(
  events: readonly ArchivedEvent[],
  { log = events, members = {} }: { log?: readonly ArchivedEvent[]; members?: JsonObject } = {},
): string {
  const content = gzipSync(events.map((event) => `${archiveLine(event)}\n`).join(''));
  const [first, last] = [events[0]!, events.at(-1)!];
  const leaves = leavesOf(log);
  const manifest = {
    format: ARCHIVE_FORMAT,
    workspace_id: WORKSPACE,
    first_seq: first.seq,
    last_seq: last.seq,
    rows: events.length,
    first_created_at: first.created_at,
    last_created_at: last.created_at,
    previous_event_hash: first.previous_event_hash,
    event_hash: last.event_hash,
    file_bytes: content.length,
    file_sha256: createHash('sha256').update(content).digest('hex'),
    checkpoint: noteOf(leaves),
    inclusion: inclusionOf(leaves, last.seq - 1),
    ...members,
  };
  write('events.manifest.json', JSON.stringify(manifest));
  return write('events.jsonl.gz', content);
}

describe('evidence', () => {
  const trusted = { verifierKeys: [vectors.checkpoint.verifier_key] };

  it.each(vectors.evidence.valid.map((evidence, index) => ({ index, evidence })))(
    'valid $index',
    async ({ evidence }) => {
      const file = write('evidence.json', JSON.stringify(evidence));
      expect(await verify(file, trusted)).toMatchObject({
        code: 0,
        json: { kind: 'evidence', verdict: 'valid' },
      });
      const unknown = await verify(file, { verifierKeys: [] });
      expect(unknown).toMatchObject({ code: 2, json: { verdict: 'unknown_signer' } });
      expect((await verify(file, { ...trusted, json: false })).out).toContain('✓ Everything holds.');
    },
  );

  it.each(vectors.evidence.invalid.map((vector, index) => ({ index, ...vector })))(
    'invalid $index: $fails',
    async ({ fails, evidence }) => {
      const said = await verify(write('evidence.json', JSON.stringify(evidence)), trusted);
      expect(said.code).toBe(1);
      expect(found(said)[fails]).toContain('failed: ');
    },
  );

  it('says each check by name, what it proves, and what it does not', async () => {
    const said = await verify(write('e.json', JSON.stringify(evidenceOf(CHAIN.slice(0, 9), 4))), {
      json: false,
    });
    expect(said.code).toBe(0);
    for (const line of [
      `Evidence of event 4 of ${WORKSPACE}`,
      '✓ event_hash  the event hash is that of this body',
      '– anchor      the event is not anchored',
      '– witnesses   no policy asks for witnesses',
      'It does not show:',
      'that the log shows everybody the same checkpoints',
    ])
      expect(said.out).toContain(line);
  });

  it('is believed by a key of the install, or a policy', async () => {
    const file = write('e.json', JSON.stringify(evidenceOf(CHAIN.slice(0, 9), 4)));
    const logKeys = [base64Encode(verifierKeyOf(SIGNER).publicKey)];
    expect((await verify(file, { verifierKeys: [], logKeys, logOrigin: LOG_ORIGIN })).code).toBe(0);
    expect((await verify(file, { verifierKeys: [], logKeys, logOrigin: 'other.test' })).code).toBe(2);
    const policy = write('policy', `log ${KEY}\nquorum none\n`);
    expect((await verify(file, { verifierKeys: [], policy })).code).toBe(0);
  });

  it('with a member that stands twice is not believed: another program might read the other one', async () => {
    const text = JSON.stringify(evidenceOf(CHAIN.slice(0, 9), 4));
    const said = await verify(write('e.json', text.replace('"event":{', '"event":{"body":"{}",')));
    expect(said.code).toBe(1);
    expect(found(said)).toEqual({
      format: 'failed: a member stands twice, with two values to choose from',
    });
  });

  it('can be shown without its personal data', async () => {
    const file = write('e.json', JSON.stringify(evidenceOf(CHAIN.slice(0, 9), 4)));
    const { code, out } = await run((terminal) => redactCommand(terminal, { target: file, json: false }));
    expect(code).toBe(0);
    expect(readFileSync(file, 'utf8')).toContain('203.0.113.7');
    expect(out).not.toContain('203.0.113.7');
    const redacted = await verify(write('redacted.json', out));
    expect(redacted.code).toBe(0);
    expect(found(redacted).private).toBe('skipped: the private members are withheld');
  });
});

describe('an export', () => {
  it.each(['ndjson', 'parquet'] as const)(
    'in %s is valid by its file and by its manifest',
    async (format) => {
      const file = writeExport(CHAIN, { format });
      const said = await verify(file);
      expect(found(said)).toEqual({});
      expect(said).toMatchObject({ code: 0, json: { kind: 'export', verdict: 'valid', rows: 700 } });
      expect((await verify(join(folder, 'manifest.json'))).code).toBe(0);
      expect((await verify(file, { verifierKeys: [] })).code).toBe(2);
    },
  );

  it.each(['ndjson', 'parquet'] as const)('in %s with a changed cell is found', async (format) => {
    const genuine = exportManifest(CHAIN, { bytes: 0, sha256: '' });
    const rows = CHAIN.map(exportRow).map((row) =>
      row.seq === 333 ? { ...row, resource_id: 'doc_9' } : row,
    );
    const content =
      format === 'ndjson'
        ? Buffer.from(rows.map((row) => `${JSON.stringify(row)}\n`).join(''))
        : Buffer.from(parquetOf(rows));
    // Whoever changes a cell writes a manifest that fits.
    const sha256 = createHash('sha256').update(content).digest('hex');
    const file_name = `x.${format}`;
    write(
      'manifest.json',
      JSON.stringify({ ...genuine, format, file_name, file_size: content.length, sha256 }),
    );
    const said = await verify(write(file_name, content));
    expect(said.code).toBe(1);
    expect(found(said)).toEqual({
      cells: 'failed: event 333: resource_id is "doc_9", the body text says "doc_333"',
    });
    const told = await verify(join(folder, file_name), { json: false });
    expect(told.out).toContain('✗ cells       event 333: resource_id is "doc_9"');
    expect(told.out).toContain('✗ Not valid');
  });

  it('in CSV has links, and cells that nobody vouches for', async () => {
    const said = await verify(writeExport(CHAIN, { format: 'csv' }));
    expect(said).toMatchObject({ code: 2, json: { rows: 700, verdict: 'unknown_signer' } });
    expect(Object.keys(found(said))).toEqual(['event_hash', 'private', 'cells', 'workspace']);
    const cut = await verify(writeExport(CHAIN.toSpliced(9, 1), { format: 'csv', members: { rows: 700 } }));
    expect(found(cut).chain).toContain('event 11: stands after event 9');
  });

  test.each<[string, string, (content: Buffer) => Buffer]>([
    ['cut off', 'ends', (content) => content.subarray(0, 50_000)],
    ['a byte changed', 'file', (content) => content.fill('x', 200, 201)],
    ['empty', 'ends', () => Buffer.alloc(0)],
    ['no UTF-8', 'row', (content) => Buffer.concat([content, Buffer.from([0xff, 0x0a])])],
    ['a line without an end', 'row', (content) => Buffer.concat([content, Buffer.alloc(9_000_000, 'x')])],
    ['lines of nothing', 'row', (content) => Buffer.concat([content, Buffer.alloc(100_000, '\n')])],
    ['deep JSON', 'row', (content) => Buffer.concat([content, Buffer.alloc(1_000_000, '[')])],
  ])('damaged: %s', async (_, name, damage) => {
    const file = writeExport(CHAIN);
    writeFileSync(file, damage(readFileSync(file)));
    const said = await verify(file);
    expect(said.code).toBe(1);
    expect(found(said)[name]).toContain('failed: ');
    expect(found(said).file).toContain('failed: it has');
  });

  test.each<[string, (content: Buffer) => Buffer]>([
    ['cut off', (content) => content.subarray(0, 20_000)],
    ['damaged in the middle', (content) => content.fill('x', 5_000, 6_000)],
    ['damaged at its end', (content) => content.fill(0xff, content.length - 300, content.length - 8)],
    [
      'with a footer that says it is huge',
      (content) => content.fill(0xff, content.length - 8, content.length - 4),
    ],
    ['empty', () => Buffer.alloc(0)],
  ])('in Parquet %s ends in a sentence', async (_, damage) => {
    const file = writeExport(CHAIN, { format: 'parquet' });
    writeFileSync(file, damage(readFileSync(file)));
    const said = await verify(file);
    expect(said.code).toBe(1);
    expect(found(said).file).toContain('failed: it has');
  });

  it('in Parquet with any byte changed is not valid, and never a stack', async () => {
    const file = writeExport(CHAIN, { format: 'parquet' });
    const whole = readFileSync(file);
    const footer = whole.length - 8 - whole.readUInt32LE(whole.length - 8);
    for (let round = 0; round < 60; round += 1) {
      // Two in three in the footer, where sizes and places stand.
      const [from, to] = round % 3 === 0 ? [0, footer] : [footer, whole.length];
      const place = from + ((round * 7919) % (to - from));
      const damaged = Buffer.from(whole);
      damaged[place] = (damaged[place] ?? 0) ^ (1 + ((round * 31) % 255));
      writeFileSync(file, damaged);
      expect((await verify(file)).code, `byte ${place}`).toBe(1);
    }
  });

  test.each(['"', '"a"b,c\n', 'id,seq\n1,2\n', 'seq,event_hash,previous_event_hash\n"x', '\ufeff'])(
    'in CSV that is none: %j',
    async (text) => {
      const file = writeExport(CHAIN, { format: 'csv' });
      writeFileSync(file, text);
      expect((await verify(file)).code).toBe(1);
    },
  );

  it('names a file that its manifest does not lead to elsewhere', async () => {
    writeExport(CHAIN, { members: { file_name: '../../etc/passwd' } });
    const said = await verify(join(folder, 'manifest.json'));
    expect(said.code).toBe(2);
    expect(said.err).toContain(join(folder, 'passwd'));
  });
});

describe('an archive', () => {
  it('is valid with the checkpoint in its manifest', async () => {
    const file = writeArchive(CHAIN.slice(100, 400), { log: CHAIN });
    expect(await verify(file)).toMatchObject({ code: 0, json: { kind: 'archive', rows: 300 } });
    expect((await verify(join(folder, 'events.manifest.json'))).code).toBe(0);
    expect((await verify(file, { verifierKeys: [] })).code).toBe(2);
  });

  it('without one is vouched for by nobody', async () => {
    const said = await verify(
      writeArchive(CHAIN, { members: { checkpoint: undefined, inclusion: undefined } }),
    );
    expect(said.code).toBe(2);
    expect(found(said).checkpoint).toContain('nobody vouches');
  });

  test.each<[string, string, (events: ArchivedEvent[]) => ArchivedEvent[]]>([
    ['an event edited', 'event_hash', (events) => events.with(5, { ...events[5]!, body: events[6]!.body })],
    ['a private text edited', 'private', (events) => events.with(5, { ...events[5]!, private: '{}' })],
    ['an event missing', 'chain', (events) => events.toSpliced(5, 1)],
    [
      'made anew',
      'inclusion',
      () => sampleChain(700, { input: (seq) => ({ ...sampleInput(seq), actor_id: 'x' }) }),
    ],
  ])('with %s', async (_, name, change) => {
    const honest = leavesOf(CHAIN);
    const members = { checkpoint: noteOf(honest), inclusion: inclusionOf(honest, 699) };
    const said = await verify(writeArchive(change([...CHAIN]), { log: CHAIN, members }));
    expect(said.code).toBe(1);
    expect(found(said)[name]).toContain('failed: ');
  });

  test.each<[string, string, () => Buffer]>([
    ['that is no gzip', 'file', () => Buffer.concat([Buffer.from([0x1f, 0x8b]), Buffer.alloc(100)])],
    ['that is cut off', 'file', () => gzipSync(CHAIN.map(archiveLine).join('\n')).subarray(0, 9_000)],
    ['that is a bomb of one line', 'file', () => gzipSync(Buffer.alloc(64 * 1024 * 1024, 'x'))],
    ['that is a bomb of many lines', 'file', () => gzipSync(Buffer.alloc(64 * 1024 * 1024, '\n'))],
  ])('%s ends in a sentence', async (_, name, content) => {
    writeArchive(CHAIN);
    const said = await verify(write('events.jsonl.gz', content()));
    expect(said.code).toBe(1);
    expect(found(said)[name]).toContain('failed: ');
  });

  it('with a manifest that is none', async () => {
    const file = writeArchive(CHAIN, { members: { rows: 'many' } });
    const said = await verify(file);
    expect(said.code).toBe(1);
    expect(found(said).manifest).toContain('not a manifest');
    writeArchive(CHAIN, { members: { inclusion: { path: 5 } } });
    expect((await verify(file)).code).toBe(1);
  });
});

describe('a live log', () => {
  let server: LogServer;
  beforeAll(async () => {
    server = await startLogServer(honestLog(CHAIN));
  });
  beforeEach(() => {
    server.served = honestLog(CHAIN.slice(0, 600));
    server.requests.length = 0;
  });
  afterAll(() => server.stop());

  function visit(options: Partial<VerifyOptions> = {}, url = server.url): Promise<Said> {
    return verify(url, {
      keyFile: write('key', `${server.apiKey}\n`),
      state: join(folder, 'state.json'),
      ...options,
    });
  }

  it('is read whole, remembered, and found to have only grown', async () => {
    const first = await visit();
    expect(first).toMatchObject({
      code: 0,
      json: { kind: 'log', tree_size: 600, events: 600, size_before: null },
    });
    expect(found(first).consistent).toContain('skipped: this is the first visit');
    server.served = honestLog(CHAIN);
    const second = await visit({ onlyNew: true });
    expect(second).toMatchObject({ code: 0, json: { tree_size: 700, events: 100, size_before: 600 } });
    expect(found(second)).toEqual({});
    expect((await visit({ json: false })).out).toContain('700 events and 3 tiles recomputed');
  });

  it('in its public form is read without a key, and then has no events', async () => {
    const said = await visit({ keyFile: undefined }, server.publicUrl);
    expect(said).toMatchObject({ code: 0, json: { events: 0, tree_size: 600 } });
    expect(found(said).event_hash).toContain('skipped: only the hashes');
    expect(server.requests.every((path) => path.startsWith('/api/v1/public/logs/'))).toBe(true);
  });

  test.each<[string, string, string, () => void]>([
    [
      'forgotten events',
      'consistent',
      'the log has forgotten events: it had 600, says 500',
      () => (server.served = honestLog(CHAIN.slice(0, 500))),
    ],
    [
      'a log made anew',
      'consistent',
      'the log was rewritten',
      () => (server.served = honestLog(sampleChain(700, { input: () => ({ actor_id: 'x', action: 'y' }) }))),
    ],
    [
      'an edited event',
      'event_hash',
      'event 44: computed',
      () => (server.served.events = CHAIN.slice(0, 600).with(43, { ...CHAIN[43]!, body: CHAIN[44]!.body })),
    ],
    [
      'the tail cut',
      'complete',
      'events 591 to 600 are missing',
      () => (server.served.events = CHAIN.slice(0, 590)),
    ],
    [
      'a tile',
      'tiles',
      'tile/0/001 is not the one',
      () => server.served.tiles.set('0/1', new Uint8Array(8192)),
    ],
    ['a tile gone', 'tiles', 'tile/0/000 is missing', () => server.served.tiles.delete('0/0')],
    [
      'a page for a checkpoint',
      'checkpoint',
      'this is not a signed checkpoint',
      () => (server.served.note = '<html>'),
    ],
  ])('with %s fails, and what was remembered stays', async (_, name, detail, change) => {
    expect((await visit()).code).toBe(0);
    const remembered = readFileSync(join(folder, 'state.json'), 'utf8');
    change();
    const said = await visit();
    expect(said.code).toBe(1);
    expect(found(said)[name]).toContain(detail);
    expect(readFileSync(join(folder, 'state.json'), 'utf8')).toBe(remembered);
  });

  it('of an unknown signer is not remembered', async () => {
    expect((await visit({ verifierKeys: [] })).code).toBe(2);
    expect(readdirSync(folder)).toEqual(['key']);
  });

  it('is watched until something does not hold; a pause in its answers is none', async () => {
    let rounds = 0;
    server.served.instead = (request, response) => {
      if (request.url !== '/api/v1/checkpoint') return false;
      rounds += 1;
      if (rounds === 2) {
        response.writeHead(500).end('{"message":"busy"}');
        return true;
      }
      if (rounds === 3) server.served = { ...honestLog(CHAIN), instead: server.served.instead! };
      if (rounds === 4) server.served = honestLog(CHAIN.slice(0, 650));
      return false;
    };
    const said = await visit({ watchSeconds: 0.05, json: false });
    expect(said.code).toBe(1);
    expect(said.err).toContain('/api/v1/checkpoint was answered with 500: busy It is asked again');
    expect(said.out).toContain('100 more than at the last visit');
    expect(said.out).toContain('the log has forgotten events: it had 700, says 650');
  });

  it('that is busy is asked again', async () => {
    let refused = 0;
    server.served.instead = (_, response) => {
      refused += 1;
      if (refused > 2) return false;
      response.writeHead(503, { 'retry-after': '0' }).end();
      return true;
    };
    expect((await visit()).code).toBe(0);
  });

  test.each<[string, NonNullable<LogServer['served']['instead']>]>([
    [
      'redirects elsewhere',
      (_, response) => !response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
    ],
    [
      'answers without end',
      (_, response) => {
        response.writeHead(200);
        const more = () => response.write(Buffer.alloc(1_000_000, 'x'), (error) => !error && more());
        more();
        return true;
      },
    ],
    [
      'breaks off',
      (_, response) => {
        response.writeHead(200, { 'content-length': '100' }).write('x', () => response.destroy());
        return true;
      },
    ],
    ['refuses', (_, response) => !!response.writeHead(410).end('\u001b[2J')],
  ])('that %s is told as unavailable', async (_, instead) => {
    server.served.instead = (request, response) => {
      instead(request, response);
      return true;
    };
    await expect(visit()).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('is pinned with what it publishes, and with a warning', async () => {
    for (const target of [server.url, server.publicUrl]) {
      const keyFile = write('key', server.apiKey);
      const { code, out } = await run((terminal) => pinCommand(terminal, { target, keyFile, json: false }));
      expect(code).toBe(0);
      expect(out).toContain('NOBODY HAS CHECKED THEM');
      expect(parsePolicy(`${out}\n`).logs.map(({ key }) => encodeVerifierKey(key))).toEqual([KEY]);
      const policy = write('policy', `${out}\n`);
      expect((await visit({ verifierKeys: [], policy })).code).toBe(0);
    }
  });
});

describe('wrong usage ends with 2 and a sentence', () => {
  test.each<[string, Partial<VerifyOptions>]>([
    ['is not there', { target: '/nowhere/evidence.json' }],
    ['cannot be read', { target: '/' }],
    ['no verifier key', { verifierKeys: ['x'] }],
    ['no Ed25519 public key', { logKeys: ['AAAA'], logOrigin: 'x' }],
    ['go together', { logOrigin: 'x' }],
    ['The policy /nowhere cannot be read', { policy: '/nowhere' }],
    ['is read with an API key', { target: 'http://127.0.0.1:1' }],
    ['no user or password', { target: 'http://a:b@127.0.0.1:1' }],
    ['no address of a log', { target: 'http://127.0.0.1:1/?x' }],
    ['key file /nowhere', { target: 'http://127.0.0.1:1', keyFile: '/nowhere' }],
  ])('%s', async (sentence, options) => {
    const target = write('e.json', JSON.stringify(evidenceOf(CHAIN.slice(0, 3), 1)));
    const said = await verify(target, { ...options, json: false });
    expect(said.code).toBe(2);
    expect(said.err).toContain(sentence);
    expect(said.err).not.toContain(' at ');
  });

  it('for a policy that is none', async () => {
    const policy = write('policy', 'log x\n');
    expect((await verify(write('e.json', '{}'), { policy })).err).toContain('line 1');
  });

  it('for rows without a manifest, and a state that is damaged', async () => {
    expect((await verify(write('rows.ndjson', '{}\n'))).err).toContain('its manifest is missing');
    const state = write('state.json', '{');
    const said = await verify('http://127.0.0.1:1', { keyFile: write('key', 'imk_x'), state });
    expect(said).toMatchObject({ code: 2 });
    expect(said.err).toContain('does not hold what was remembered');
  });
});

describe('files that are hostile', () => {
  test.each<[string, string]>([
    ['nothing', ''],
    ['deep JSON', '['.repeat(1_000_000)],
    ['deep evidence', `{"format":"imk-evidence/v1","event":${'['.repeat(500_000)}${']'.repeat(500_000)}}`],
    ['evidence of nothing', '{"format":"imk-evidence/v1"}'],
    ['evidence of a later format', '{"format":"imk-evidence/v9"}'],
    ['orders to the terminal', '{"format":"imk-evidence/v1","event":{"seq":"\\u001b[2J\\u001b]0;x\\u0007"}}'],
  ])('%s', async (_, content) => {
    const file = write('file.json', content);
    const said = await verify(file, { json: false });
    expect([1, 2]).toContain(said.code);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: what must not come through
    expect(said.out + said.err).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/);
    expect(said.out + said.err).not.toContain(' at ');
  });
});
