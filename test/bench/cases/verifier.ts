import { createHash, hash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkAhead } from '../../../cli/verify/checkers.ts';
import { verifyExportFile } from '../../../cli/verify/export-file.ts';
import { eventLines } from '../../../cli/verify/section.ts';
import { type ArchivedEvent, archiveLine } from '../../../core/archive.ts';
import { verifyEvidence } from '../../../core/evidence.ts';
import { type ExportManifest, parseExportManifest } from '../../../core/export.ts';
import { type LogEvents, verifyLog } from '../../../core/log.ts';
import type { FetchTile } from '../../../core/tile-reader.ts';
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
  WORKSPACE,
} from '../../support/sample-log.ts';
import type { Bench, BenchCase, Figure } from '../case.ts';
import { documentEventInput } from '../event.ts';
import { amount } from '../report.ts';

const GOAL_PER_SECOND = 200_000;
const SHORT_EVENTS = 100_000;
const FULL_EVENTS = 500_000;
const EVIDENCE_FILES = 1_000;
const EVENTS_A_SECTION = 500;
const ROUNDS = 5;

/** `immutable verify` by its parts, without network. */
export const verifier: BenchCase = {
  name: 'verifier',
  about: `an NDJSON export, a log and evidence checked offline: ${amount(SHORT_EVENTS)} events (${amount(FULL_EVENTS)} with --full)`,
  async run({ full, progress }: Bench): Promise<Figure[]> {
    const count = full ? FULL_EVENTS : SHORT_EVENTS;
    const folder = mkdtempSync(join(tmpdir(), 'immutable-bench-'));
    try {
      progress(`making ${amount(count)} events`);
      const sample = await makeSample(count, folder);
      return [
        await exportFigure(sample, progress),
        await logFigure(sample, progress),
        await evidenceFigure(sample, progress),
      ];
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

/** What is verified, and no more: a verifier whose memory is full of events is slower than one that runs by itself. */
interface Sample {
  count: number;
  path: string;
  fileBytes: number;
  manifest: ExportManifest;
  note: string;
  tile: FetchTile;
  /** As a log answers. */
  answers: Uint8Array[];
  evidence: string;
  /** What no verification can leave out takes so long. */
  hashesMs: { export: number; log: number };
}

async function makeSample(count: number, folder: string): Promise<Sample> {
  const events = sampleChain(count, { input: documentEventInput, hasher: nativeHasher });
  const path = join(folder, 'export.ndjson');
  const file = await writeLines(path, events);
  const leaves = leavesOf(events, nativeHasher);
  const answers: Uint8Array[] = [];
  for (let from = 0; from < events.length; from += EVENTS_A_SECTION) {
    answers.push(
      Buffer.from(
        events
          .slice(from, from + EVENTS_A_SECTION)
          .map(archiveLine)
          .join('\n'),
      ),
    );
  }
  const exported = await median(async () => {
    hashTexts(events);
    await hashFile(path);
  });
  const logged = await median(async () => {
    hashTexts(events);
    const node = new Uint8Array(65);
    for (let nodes = 0; nodes < 2 * events.length; nodes += 1) hash('sha256', node, 'hex');
  });
  return {
    count,
    path,
    fileBytes: file.bytes,
    manifest: parseExportManifest(JSON.stringify(exportManifest(events, file, { log: events }))),
    note: noteOf(leaves, SIGNER, nativeHasher),
    tile: tileSource(leaves, nativeHasher),
    answers,
    evidence: JSON.stringify(evidenceOf(events.slice(0, EVIDENCE_FILES), 500)),
    hashesMs: { export: exported.ms, log: logged.ms },
  };
}

async function exportFigure(sample: Sample, progress: Bench['progress']): Promise<Figure> {
  const { count, path, manifest, fileBytes, hashesMs } = sample;
  progress(`verifying an export of ${amount(fileBytes / 1024 ** 2)} MiB, ${ROUNDS} times`);
  const spent = await median(async () => {
    const { verdict } = await verifyExportFile(path, manifest, TRUST, () => {});
    if (verdict !== 'valid') throw new Error(`the export is ${verdict}`);
  });
  return {
    ...figure('verifier-export', count, spent),
    limit: {
      name: 'SHA-256 of the same texts and file, node:crypto, one core',
      value: (count * 1000) / hashesMs.export,
    },
  };
}

async function logFigure(sample: Sample, progress: Bench['progress']): Promise<Figure> {
  const { count, note, tile, answers, hashesMs } = sample;
  const source = { checkpoint: async () => note, tile, events: () => answered(answers) };
  progress(`verifying a log, ${ROUNDS} times`);
  const spent = await median(async () => {
    const { verdict } = await verifyLog(source, TRUST, { state: null }, nativeHasher);
    if (verdict !== 'valid') throw new Error(`the log is ${verdict}`);
  });
  return {
    ...figure('verifier-log', count, spent),
    limit: {
      name: 'SHA-256 of the same texts and nodes, node:crypto, one core',
      value: (count * 1000) / hashesMs.log,
    },
  };
}

/** As a log's answers are read, but for the network. */
async function* answered(answers: readonly Uint8Array[]): AsyncGenerator<LogEvents> {
  const sections = (async function* () {
    yield* answers;
  })();
  const bytes = answers.reduce((sum, { length }) => sum + length, 0);
  for await (const { data, section } of checkAhead(
    { kind: 'log', workspaceId: WORKSPACE },
    sections,
    bytes,
  )) {
    yield { lines: () => eventLines(data), sound: section.events };
  }
}

async function evidenceFigure({ evidence }: Sample, progress: Bench['progress']): Promise<Figure> {
  const files = Array.from({ length: EVIDENCE_FILES }, () => evidence);
  progress(`verifying ${amount(files.length)} files of evidence, ${ROUNDS} times`);
  const spent = await median(async () => {
    for (const file of files) {
      const { verdict } = verifyEvidence(JSON.parse(file), TRUST, nativeHasher);
      if (verdict !== 'valid') throw new Error(`the evidence is ${verdict}`);
    }
  });
  return { ...figure('verifier-evidence', files.length, spent), unit: 'files/s' };
}

function figure(name: string, events: number, { ms, cpuMs }: Spent): Figure {
  const value = (events * 1000) / ms;
  return {
    name,
    value,
    unit: 'events/s',
    goal: { text: `≥ ${GOAL_PER_SECOND.toLocaleString('en-US')} /s`, met: value >= GOAL_PER_SECOND },
    remarks: [
      `${amount(events)} in ${amount(ms)} ms, median of ${ROUNDS}; ${((cpuMs * 1000) / events).toFixed(1)} µs of CPU each`,
    ],
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

interface Spent {
  ms: number;
  /** On all cores together. */
  cpuMs: number;
}

/** The round that took the median time. */
async function median(work: () => Promise<void>): Promise<Spent> {
  const rounds: Spent[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const [from, cpuFrom] = [performance.now(), process.cpuUsage()];
    await work();
    const { user, system } = process.cpuUsage(cpuFrom);
    rounds.push({ ms: performance.now() - from, cpuMs: (user + system) / 1000 });
  }
  return rounds.sort((a, b) => a.ms - b.ms)[Math.floor(ROUNDS / 2)] ?? { ms: 0, cpuMs: 0 };
}
