import { createHash, hash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { verifyExportFile } from '../../../cli/verify/export-file.ts';
import { type ArchivedEvent, archiveLine } from '../../../core/archive.ts';
import { verifyEvidence } from '../../../core/evidence.ts';
import { parseExportManifest } from '../../../core/export.ts';
import { verifyLog } from '../../../core/log.ts';
import { nativeHasher } from '../../../infra/hash.ts';
import {
  evidenceOf,
  exportManifest,
  exportRow,
  leavesOf,
  noteOf,
  SIGNER,
  sampleChain,
  TRUST,
  tileSource,
} from '../../support/sample-log.ts';
import type { Bench, BenchCase, Figure } from '../case.ts';
import { documentEventInput } from '../event.ts';
import { amount } from '../report.ts';

const GOAL_PER_SECOND = 200_000;
const SHORT_EVENTS = 100_000;
const FULL_EVENTS = 500_000;
const EVIDENCE_FILES = 1_000;
const ROUNDS = 5;

/** `immutable verify` by its parts, without network. */
export const verifier: BenchCase = {
  name: 'verifier',
  about: `an NDJSON export, a log and evidence checked offline: ${amount(SHORT_EVENTS)} events (${amount(FULL_EVENTS)} with --full)`,
  async run({ full, progress }: Bench): Promise<Figure[]> {
    const count = full ? FULL_EVENTS : SHORT_EVENTS;
    progress(`making ${amount(count)} events`);
    const events = sampleChain(count, { input: documentEventInput, hasher: nativeHasher });
    const folder = mkdtempSync(join(tmpdir(), 'immutable-bench-'));
    try {
      return [
        await exportFigure(events, folder, progress),
        await logFigure(events, progress),
        await evidenceFigure(events.slice(0, EVIDENCE_FILES), progress),
      ];
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

async function exportFigure(
  events: readonly ArchivedEvent[],
  folder: string,
  progress: Bench['progress'],
): Promise<Figure> {
  const path = join(folder, 'export.ndjson');
  const file = await writeLines(path, events);
  const manifest = parseExportManifest(JSON.stringify(exportManifest(events, file, { log: events })));
  progress(`verifying an export of ${amount(file.bytes / 1024 ** 2)} MiB, ${ROUNDS} times`);
  const ms = await median(async () => {
    const { verdict } = await verifyExportFile(path, manifest, TRUST, () => {});
    if (verdict !== 'valid') throw new Error(`the export is ${verdict}`);
  });
  const limitMs = await median(async () => {
    hashTexts(events);
    await hashFile(path);
  });
  return {
    ...figure('verifier-export', events.length, ms),
    limit: {
      name: 'SHA-256 of the same texts and file, node:crypto',
      value: (events.length * 1000) / limitMs,
    },
  };
}

async function logFigure(events: readonly ArchivedEvent[], progress: Bench['progress']): Promise<Figure> {
  const leaves = leavesOf(events, nativeHasher);
  const [note, tile] = [noteOf(leaves, SIGNER, nativeHasher), tileSource(leaves, nativeHasher)];
  const lines = events.map(archiveLine);
  const source = {
    checkpoint: async () => note,
    tile,
    events: async function* () {
      for (let from = 0; from < lines.length; from += 500) yield lines.slice(from, from + 500);
    },
  };
  progress(`verifying a log, ${ROUNDS} times`);
  const ms = await median(async () => {
    const { verdict } = await verifyLog(source, TRUST, { state: null }, nativeHasher);
    if (verdict !== 'valid') throw new Error(`the log is ${verdict}`);
  });
  const limitMs = await median(async () => {
    hashTexts(events);
    const node = new Uint8Array(65);
    for (let nodes = 0; nodes < 2 * events.length; nodes += 1) hash('sha256', node, 'hex');
  });
  return {
    ...figure('verifier-log', events.length, ms),
    limit: {
      name: 'SHA-256 of the same texts and nodes, node:crypto',
      value: (events.length * 1000) / limitMs,
    },
  };
}

async function evidenceFigure(
  events: readonly ArchivedEvent[],
  progress: Bench['progress'],
): Promise<Figure> {
  const evidence = evidenceOf(events, 500);
  const files = Array.from({ length: EVIDENCE_FILES }, () => JSON.stringify(evidence));
  progress(`verifying ${amount(files.length)} files of evidence, ${ROUNDS} times`);
  const ms = await median(async () => {
    for (const file of files) {
      const { verdict } = verifyEvidence(JSON.parse(file), TRUST, nativeHasher);
      if (verdict !== 'valid') throw new Error(`the evidence is ${verdict}`);
    }
  });
  return { ...figure('verifier-evidence', files.length, ms), unit: 'files/s' };
}

function figure(name: string, events: number, ms: number): Figure {
  const value = (events * 1000) / ms;
  return {
    name,
    value,
    unit: 'events/s',
    goal: { text: `≥ ${GOAL_PER_SECOND.toLocaleString('en-US')} /s`, met: value >= GOAL_PER_SECOND },
    remarks: [`${amount(events)} in ${amount(ms)} ms, median of ${ROUNDS}`],
  };
}

async function writeLines(
  path: string,
  events: readonly ArchivedEvent[],
): Promise<{ bytes: number; sha256: string }> {
  const digest = createHash('sha256');
  const file = await open(path, 'w');
  let bytes = 0;
  for (let from = 0; from < events.length; from += 1_000) {
    const some = events.slice(from, from + 1_000);
    const data = Buffer.from(some.map((event) => `${JSON.stringify(exportRow(event))}\n`).join(''));
    digest.update(data);
    bytes += data.length;
    await file.write(data);
  }
  await file.close();
  return { bytes, sha256: digest.digest('hex') };
}

/** Both texts of every event, each hashed once: what no verification can leave out. */
function hashTexts(events: readonly ArchivedEvent[]): void {
  for (const { body, private: personal } of events) {
    hash('sha256', body, 'hex');
    hash('sha256', personal, 'hex');
  }
}

async function hashFile(path: string): Promise<void> {
  const file = await open(path);
  const digest = createHash('sha256');
  for await (const chunk of file.createReadStream({ highWaterMark: 1024 * 1024 })) digest.update(chunk);
}

async function median(work: () => Promise<void>): Promise<number> {
  const measured: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const from = performance.now();
    await work();
    measured.push(performance.now() - from);
  }
  return measured.sort((a, b) => a - b)[Math.floor(ROUNDS / 2)] ?? 0;
}
