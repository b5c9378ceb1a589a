import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, test } from 'vitest';
import type { ArchivedEvent } from '../../core/archive.ts';
import {
  createExportChecker,
  type ExportManifest,
  type ExportReport,
  parseExportManifest,
} from '../../core/export.ts';
import type { JsonObject } from '../../core/json.ts';
import { verifyLog } from '../../core/log.ts';
import { nativeHasher } from '../../infra/hash.ts';
import { honestLog, type LogServer, startLogServer } from '../../test/support/log-server.ts';
import { exportManifest, exportRow, sampleChain, TRUST, WORKSPACE } from '../../test/support/sample-log.ts';
import { type CheckedSection, checkAhead } from './checkers.ts';
import { verifyExportFile } from './export-file.ts';
import { linesIn } from './lines.ts';
import { parseLogUrl, remoteLog } from './remote-log.ts';
import { checkSection } from './section.ts';

// What is large enough for threads: these run what was built.
const CHAIN = sampleChain(9000, { hasher: nativeHasher });
const MANY = 1e9;

describe('an export that threads look at', () => {
  const LINES = CHAIN.slice(0, 5000).map((event) => JSON.stringify(exportRow(event)));

  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'immutable-checkers-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  function writeExport(
    lines: readonly string[],
    members: JsonObject,
  ): { path: string; manifest: ExportManifest } {
    const content = Buffer.from(lines.map((line) => `${line}\n`).join(''));
    const path = join(folder, 'export.ndjson');
    writeFileSync(path, content);
    const file = { bytes: content.length, sha256: createHash('sha256').update(content).digest('hex') };
    const events = CHAIN.slice(0, 5000);
    const manifest = exportManifest(events, file, { log: events, rows: lines.length, ...members });
    return { path, manifest: parseExportManifest(JSON.stringify(manifest)) };
  }

  function checkLineByLine(lines: readonly string[], manifest: ExportManifest): ExportReport {
    const checker = createExportChecker(manifest, TRUST, nativeHasher);
    for (const line of lines) checker.line(line);
    return checker.end({ bytes: manifest.file_size, sha256: manifest.sha256 });
  }

  test.each<[string, string[], string[], JsonObject?]>([
    ['as it was made', LINES, []],
    ['a changed cell', LINES.with(3000, LINES[3000]!.replace('document.created', 'x')), ['cells']],
    ['a row less', LINES.toSpliced(2500, 1), ['chain', 'ends'], { rows: 5000 }],
    ['a row twice', LINES.toSpliced(2500, 0, LINES[2500]!), ['chain']],
    ['two rows swapped', LINES.with(10, LINES[11]!).with(11, LINES[10]!), ['chain']],
    ['no JSON in the last row', LINES.with(-1, '{'), ['row', 'ends', 'inclusion']],
    ['every row damaged', LINES.map((line) => line.replace('"acme"', '"evil"')), ['cells']],
    ['a filter', LINES.filter((_, row) => row % 1000 !== 1), ['chain'], { complete: false }],
    ['more rows than it says', LINES, ['ends'], { rows: 4500 }],
  ])('is told the same as row by row: %s', async (_, lines, failed, members = {}) => {
    const { path, manifest } = writeExport(lines, members);
    const report = await verifyExportFile(path, manifest, TRUST, () => {});
    expect(report).toEqual(checkLineByLine(lines, manifest));
    const wrong = report.checks.filter(({ outcome }) => outcome === 'failed' || outcome === 'unknown_signer');
    expect(wrong.map(({ name }) => name)).toEqual(failed);
  });

  it('with far more rows than it says is read up to the same row', async () => {
    const { path, manifest } = writeExport(LINES, { rows: 2000 });
    const report = await verifyExportFile(path, manifest, TRUST, () => {});
    expect(report).toMatchObject({ verdict: 'invalid', rows: 3000 });
    expect(report.checks.find(({ name }) => name === 'row')).toMatchObject({
      outcome: 'failed',
      detail: 'after row 3000: there are far more rows than the manifest says',
    });
  });
});

describe('a log that threads look at', () => {
  let server: LogServer;
  beforeAll(async () => {
    server = await startLogServer(honestLog(CHAIN));
  });
  afterAll(async () => await server.stop());

  async function visit(events: readonly ArchivedEvent[]) {
    server.served = { ...server.served, events };
    const log = remoteLog(parseLogUrl(server.url, server.apiKey));
    return await verifyLog(log, TRUST, { state: null }, nativeHasher);
  }

  it('is valid', async () => {
    expect(await visit(CHAIN)).toMatchObject({
      verdict: 'valid',
      covered: { events: 9000, firstSeq: 1, leafTiles: 36 },
    });
  });

  it('with an event of another log is not, and it is named', async () => {
    const [event] = sampleChain(1, { first: 8000, previous: CHAIN[7998]!.event_hash, hasher: nativeHasher });
    const other = sampleChain(1, { first: 8000, previous: 'f'.repeat(64), hasher: nativeHasher });
    expect(event).toEqual(CHAIN[7999]);
    const { checks } = await visit(CHAIN.toSpliced(7999, 1, ...other));
    const failed = checks.filter(({ outcome }) => outcome === 'failed');
    expect(failed.map(({ name, problems }) => [name, problems?.map(({ seq }) => seq)])).toEqual([
      ['chain', [8000, 8001]],
      ['inclusion', [8000]],
    ]);
  });
});

describe('sections', () => {
  const WHOLE = { kind: 'log', workspaceId: WORKSPACE } as const;

  async function* of(datas: readonly Uint8Array[], failure?: Error): AsyncGenerator<Uint8Array> {
    yield* datas;
    if (failure !== undefined) throw failure;
  }

  async function all(sections: AsyncIterable<CheckedSection>): Promise<CheckedSection[]> {
    const found: CheckedSection[] = [];
    for await (const one of sections) found.push(one);
    return found;
  }

  const DATAS = Array.from({ length: 40 }, (_, index) => Buffer.from(`line ${index}`));

  it('come in their order', async () => {
    const found = await all(checkAhead(WHOLE, of(DATAS), MANY));
    expect(found.map(({ data }) => linesIn(data))).toEqual(DATAS.map((data) => linesIn(data)));
  });

  it('come before the error behind them', async () => {
    const seen: Uint8Array[] = [];
    const failure = new Error('the file ends here');
    await expect(async () => {
      for await (const { data } of checkAhead(WHOLE, of(DATAS, failure), MANY)) seen.push(data);
    }).rejects.toBe(failure);
    expect(seen).toEqual(DATAS);
  });

  it('that no thread could look at are given as such', async () => {
    // What no caller passes kills a thread.
    const deadly = null as never;
    expect(() => checkSection(deadly, DATAS[0]!)).toThrow(TypeError);
    const found = await all(checkAhead(deadly, of(DATAS), MANY));
    expect(found.map(({ section }) => section)).toEqual(DATAS.map(() => ({})));
  });
});
