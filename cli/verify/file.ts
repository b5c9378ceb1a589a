import { createReadStream, readFileSync, statSync } from 'node:fs';
import {
  type ArchiveManifest,
  judgeArchive,
  parseArchiveManifest,
  SEALED_ARCHIVE_CHECKS,
} from '../../core/archive.ts';
import { parseCheckpointNote } from '../../core/checkpoint.ts';
import type { CheckMeanings, Report } from '../../core/checks.ts';
import { ImmutableError } from '../../core/errors.ts';
import {
  anchoredRootOf,
  EVIDENCE_CHECKS,
  type EvidenceReport,
  type EvidenceTrust,
  verifyEvidence,
} from '../../core/evidence.ts';
import { EXPORT_CHECKS, type ExportManifest, parseExportManifest } from '../../core/export.ts';
import { isJsonObject, type JsonObject } from '../../core/json.ts';
import type { Trust } from '../../core/trust.ts';
import type { JsonRpc } from '../../infra/evm/json-rpc.ts';
import { nativeHasher } from '../../infra/hash.ts';
import { checkArchive } from '../../pipeline/retention/archives.ts';
import { askChain } from './chain.ts';
import { verifyExportFile } from './export-file.ts';
import type { Found } from './kind.ts';
import { createProgress } from './progress.ts';
import type { Told } from './report.ts';

/** Checks a file with nothing else than what the caller trusts; evidence with what a node of the chain says, if one is named. */
export async function verifyFile(
  found: Found,
  trust: EvidenceTrust,
  { node, showProgress }: { node: JsonRpc | undefined; showProgress: boolean },
): Promise<Told> {
  switch (found.kind) {
    case 'evidence':
      return await evidenceTold(found, trust, node);
    case 'export':
      return await exportTold(found, trust, showProgress);
    case 'archive':
      return await archiveTold(found, trust);
  }
}

async function evidenceTold(
  { evidence, hasTwins }: { evidence: JsonObject; hasTwins: boolean },
  trust: EvidenceTrust,
  node: JsonRpc | undefined,
): Promise<Told> {
  const report = hasTwins
    ? TWO_READINGS
    : verifyEvidence(evidence, await withAnswers(evidence, trust, node), nativeHasher);
  const event = isJsonObject(evidence.event) ? evidence.event : {};
  const checkpoint = checkpointOf(evidence.checkpoint);
  const body = parseBody(event.body);
  const about = [
    `Evidence of event ${text(event.seq)} of ${text(body.workspace_id)}, received ${text(event.created_at)}`,
    `${text(body.action)} by ${text(body.actor_id)}`,
    ...aboutCheckpoint(checkpoint),
  ];
  const facts = {
    seq: event.seq,
    event_hash: event.event_hash,
    workspace_id: body.workspace_id,
    ...checkpoint,
  };
  return { kind: 'evidence', about, ...report, meanings: EVIDENCE_CHECKS, facts };
}

/** Where nothing is anchored, there is nothing to ask, and the check says so. */
async function withAnswers(
  evidence: JsonObject,
  trust: EvidenceTrust,
  node: JsonRpc | undefined,
): Promise<EvidenceTrust> {
  if (node === undefined || trust.anchor === undefined) return trust;
  const anchor = anchoredRootOf(evidence);
  return { ...trust, onChain: anchor === null ? {} : await askChain(node, anchor, trust.anchor) };
}

/** Another program might read the other value. */
const TWO_READINGS: EvidenceReport = {
  verdict: 'invalid',
  checks: [
    { name: 'format', outcome: 'failed', detail: 'a member stands twice, with two values to choose from' },
  ],
};

async function exportTold(
  { manifest: manifestPath, file }: { manifest: string; file: string },
  trust: Trust,
  showProgress: boolean,
): Promise<Told> {
  const manifest = readManifest(manifestPath, parseExportManifest);
  if (manifest instanceof ImmutableError) return malformedManifest('export', manifestPath, manifest);
  const progress = createProgress(showProgress);
  const began = performance.now();
  try {
    const { rows, erased, ...report } = await verifyExportFile(file, manifest, trust, progress.at);
    const about = [
      `Export ${file}: ${amount(rows)} of ${manifest.workspace_id}${range(manifest)}${rate(rows, began)}`,
      ...aboutCheckpoint(checkpointOf(manifest.checkpoint)),
    ];
    const facts = { workspace_id: manifest.workspace_id, rows, erased, ...checkpointOf(manifest.checkpoint) };
    return { kind: 'export', about, ...report, meanings: EXPORT_CHECKS, facts };
  } finally {
    progress.stop();
  }
}

async function archiveTold(
  { manifest: manifestPath, file }: { manifest: string; file: string },
  trust: Trust,
): Promise<Told> {
  const manifest = readManifest(manifestPath, parseArchiveManifest);
  if (manifest instanceof ImmutableError) return malformedManifest('archive', manifestPath, manifest);
  const began = performance.now();
  const found = await checkArchive(createReadStream(file), manifest);
  const report = judgeArchive(manifest, found, trust, nativeHasher);
  const { workspace_id, first_seq, last_seq, checkpoint } = manifest;
  const about = [
    `Archive ${file}: ${amount(found.rows)} of ${workspace_id}, ${first_seq} to ${last_seq}${rate(found.rows, began)}`,
    ...aboutCheckpoint(checkpointOf(checkpoint)),
  ];
  const facts = { workspace_id, rows: found.rows, erased: found.erased, ...checkpointOf(checkpoint) };
  return { kind: 'archive', about, ...report, meanings: SEALED_ARCHIVE_CHECKS, facts };
}

// --- Manifests -------------------------------------------------------------------------------------

const MAX_MANIFEST_BYTES = 1024 * 1024;

/** Or what is wrong with it. Throws `misconfigured` where it cannot be read at all. */
function readManifest<Manifest extends ArchiveManifest | ExportManifest>(
  path: string,
  parse: (text: string) => Manifest,
): Manifest | ImmutableError {
  try {
    if (statSync(path).size > MAX_MANIFEST_BYTES) return new ImmutableError('validation_failed', TOO_LARGE);
    return parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    if (cause instanceof ImmutableError && cause.code === 'validation_failed') return cause;
    throw new ImmutableError('misconfigured', `The manifest ${path} cannot be read.`, { cause });
  }
}

const TOO_LARGE = `it has more than ${MAX_MANIFEST_BYTES} bytes, which no manifest has`;

const MANIFEST_CHECK = {
  manifest: { proves: 'the manifest has the form of one' },
} as const satisfies CheckMeanings<string>;

function malformedManifest(kind: 'export' | 'archive', path: string, { message }: ImmutableError): Told {
  const report: Report<'manifest'> = {
    verdict: 'invalid',
    checks: [{ name: 'manifest', outcome: 'failed', detail: message }],
  };
  return { kind, about: [`The manifest ${path}`], ...report, meanings: MANIFEST_CHECK, facts: {} };
}

// --- Words -----------------------------------------------------------------------------------------

interface CheckpointFacts {
  origin?: string;
  tree_size?: number;
}

function checkpointOf(note: unknown): CheckpointFacts {
  const checkpoint = typeof note === 'string' ? parseCheckpointNote(note) : null;
  return checkpoint === null ? {} : { origin: checkpoint.origin, tree_size: checkpoint.size };
}

function aboutCheckpoint({ origin, tree_size }: CheckpointFacts): string[] {
  return origin === undefined ? [] : [`Checkpoint of ${origin} at ${tree_size?.toLocaleString('en')} events`];
}

function parseBody(body: unknown): JsonObject {
  try {
    const value: unknown = typeof body === 'string' ? JSON.parse(body) : {};
    return isJsonObject(value) ? value : {};
  } catch {
    return {};
  }
}

function text(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '?';
}

function amount(rows: number): string {
  return `${rows.toLocaleString('en')} ${rows === 1 ? 'event' : 'events'}`;
}

function range({ first, last }: ExportManifest): string {
  return first === null || last === null ? '' : `, ${first.seq} to ${last.seq}`;
}

function rate(rows: number, beganMs: number): string {
  const ms = performance.now() - beganMs;
  const seconds = (ms / 1000).toFixed(1);
  return rows < 1000
    ? ''
    : `, in ${seconds} s (${Math.round((rows * 1000) / ms).toLocaleString('en')} a second)`;
}
