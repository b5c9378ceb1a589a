import { createReadStream, existsSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import type { Readable } from 'node:stream';
import { clearAlarm, raiseAlarm } from '../control/alarms.ts';
import { type Install, readOrCreateInstall } from '../control/install.ts';
import { partitionOf } from '../control/partition.ts';
import type { Plan } from '../control/plans.ts';
import { holdWorkspace, releaseWorkspace, retentionOf, setRetention } from '../control/retention.ts';
import { isSignedBy, logNameOf, readSigningKeys, SIGNING_KEYS } from '../control/signing-keys.ts';
import { readWitnessPolicy } from '../control/witness-policy.ts';
import { listWorkspaces, setPlan, type Workspace } from '../control/workspaces.ts';
import {
  type ArchivedEvent,
  type ArchiveManifest,
  type ArchiveReport,
  parseArchiveManifest,
} from '../core/archive.ts';
import { ImmutableError } from '../core/errors.ts';
import { type ClickHouseClient, connectClickHouse } from '../infra/clickhouse/client.ts';
import type { Config } from '../infra/config.ts';
import { crc32, nativeHasher } from '../infra/hash.ts';
import { createLogger } from '../infra/log.ts';
import { connectNats, type NatsConnection } from '../infra/nats/connect.ts';
import { openBucket } from '../infra/nats/kv.ts';
import { holdLease } from '../infra/nats/lease.ts';
import { BUCKETS } from '../infra/nats/names.ts';
import { openObjectStore } from '../infra/object-store/open.ts';
import type { ObjectStore } from '../infra/object-store/types.ts';
import { tellOperator } from '../pipeline/chain/operator.ts';
import { retentionEvent } from '../pipeline/chain/own-events.ts';
import {
  type ArchiveName,
  archiveKeys,
  checkArchive,
  listArchives,
  readManifest,
} from '../pipeline/retention/archives.ts';
import { clickHouseRetentionStore } from '../pipeline/retention/clickhouse-store.ts';
import { type Removal, type RetentionReport, runRetention } from '../pipeline/retention/run.ts';
import type { SignedLog } from '../pipeline/retention/signed-log.ts';
import type { RetentionStore } from '../pipeline/retention/store.ts';
import { createCoverage } from '../query/proofs/coverage.ts';
import { dataDirAt } from './data-dir.ts';
import { natsUrlFor } from './manage.ts';
import { runningClickHouseUrl } from './running-clickhouse.ts';
import { openControlBuckets } from './stores.ts';
import { type Terminal, table } from './terminal.ts';

interface Output {
  json: boolean;
}

const LEASE_KEY = 'retention';
const LEASE_TTL_MS = 15_000;
/** A removal rewrites what it touches; it is waited for. */
const REMOVAL_TIMEOUT_MS = 6 * 3600 * 1000;

/** Archives and removes what is past its retention; waits while another process does. */
export async function retentionRunCommand(
  config: Config,
  terminal: Terminal,
  { json }: Output,
): Promise<void> {
  const log = createLogger('retention', 'silent');
  const nc = await connect(config);
  const clickhouse = retentionClient(config);
  try {
    const buckets = await openControlBuckets(nc);
    const alarms = await openBucket(nc, BUCKETS.alarms);
    const install = await readOrCreateInstall(buckets.install, config);
    const operator = {
      workspaceId: install.operator_workspace_id,
      partition: partitionOf(install.operator_workspace_id, install.partitions),
    };
    const lease = await holdLease({
      bucket: await openBucket(nc, BUCKETS.leases),
      key: LEASE_KEY,
      holder: `${hostname()}:${process.pid}`,
      ttlMs: LEASE_TTL_MS,
      onLost: () => {},
    });
    const nowMs = Date.now();
    const report = await runRetention({
      store: clickHouseRetentionStore(clickhouse),
      objects: await objectStore(config),
      signed: await signedLog(config, nc, clickhouse, install),
      workspaces: () => listWorkspaces(buckets.workspaces),
      tell: async (removal) => {
        const event = retentionEvent(
          { operatorWorkspaceId: operator.workspaceId, atMicros: nowMs * 1000, ...removal },
          nativeHasher,
        );
        await tellOperator(nc, operator, event, nowMs * 1000, crc32);
      },
      onRefused: (workspaceId, error) =>
        raiseAlarm(alarms, alarmKey(workspaceId), {
          message: error.message,
          next_step: error.nextStep ?? '',
          details: { workspace_id: workspaceId },
        }),
      mayGoOn: () => lease.isHeld(),
      nowMs,
      log,
      onArchive: ({ workspace_id, first_seq, last_seq }) =>
        terminal.say(`… ${workspace_id}: events ${first_seq} to ${last_seq} are archived`),
    });
    await lease.release();
    for (const { workspaceId } of report.removals) await clearAlarm(alarms, alarmKey(workspaceId));
    terminal.result(json ? JSON.stringify(asJson(report)) : describeRun(report));
    if (report.refused.length > 0) {
      throw new ImmutableError(
        'stream_mismatch',
        `${report.refused.length} of the workspaces could not be archived; an alarm tells of each.`,
        { nextStep: 'Run `GET /verify` for them.' },
      );
    }
  } finally {
    await clickhouse.close();
    await nc.close();
  }
}

/** Checkpoints and tiles, by the keys that ever signed. */
async function signedLog(
  config: Config,
  nc: NatsConnection,
  clickhouse: ClickHouseClient,
  { log_origin }: Install,
): Promise<SignedLog> {
  const stored = await (await openBucket(nc, BUCKETS.signing)).get(SIGNING_KEYS);
  const keys = stored === undefined ? undefined : readSigningKeys(stored.value);
  const witnessedOnly = readWitnessPolicy(config.witnessPolicy) !== undefined;
  const coverage = createCoverage(clickhouse, { witnessedOnly, patienceMs: 0 });
  return {
    placeOf: (workspaceId, seq) => coverage(workspaceId, seq, new AbortController().signal),
    isSigned: (workspaceId, note) =>
      keys !== undefined && isSignedBy(keys, logNameOf(log_origin, workspaceId), note, nativeHasher),
  };
}

function alarmKey(workspaceId: string): string {
  return `retention.${workspaceId}`;
}

function asJson(report: RetentionReport) {
  return {
    removals: report.removals.map(({ workspaceId, first, last, lastHash, archives }) => ({
      workspace_id: workspaceId,
      first_seq: first,
      last_seq: last,
      last_event_hash: lastHash,
      archives,
    })),
    refused: report.refused.map(({ workspaceId, reason }) => ({ workspace_id: workspaceId, reason })),
  };
}

function describeRun({ removals, refused }: RetentionReport): string {
  const lines = [
    ...removals.map(
      ({ workspaceId, first, last, archives }: Removal) =>
        `${workspaceId}  events ${first} to ${last} are in ${archives} ${archives === 1 ? 'archive' : 'archives'} and removed`,
    ),
    ...refused.map(({ reason }) => `! ${reason}`),
  ];
  return lines.length === 0 ? 'Nothing is past its retention.' : lines.join('\n');
}

export async function workspacePlanCommand(
  config: Config,
  terminal: Terminal,
  { workspace, plan, json }: Output & { workspace: string; plan: Plan },
): Promise<void> {
  const changed = await changeWorkspace(config, (bucket) => setPlan(bucket, workspace, plan));
  terminal.result(json ? JSON.stringify(changed) : describePolicy(changed));
}

export async function workspaceRetentionCommand(
  config: Config,
  terminal: Terminal,
  { workspace, days, json }: Output & { workspace: string; days: number | null | 'plan' },
): Promise<void> {
  const changed = await changeWorkspace(config, (bucket) => setRetention(bucket, workspace, days));
  terminal.result(json ? JSON.stringify(changed) : describePolicy(changed));
}

/** `reason` undefined: releases it. */
export async function workspaceHoldCommand(
  config: Config,
  terminal: Terminal,
  { workspace, reason, json }: Output & { workspace: string; reason: string | undefined },
): Promise<void> {
  const changed = await changeWorkspace(config, (bucket) =>
    reason === undefined ? releaseWorkspace(bucket, workspace) : holdWorkspace(bucket, workspace, reason),
  );
  terminal.result(json ? JSON.stringify(changed) : describePolicy(changed));
}

async function changeWorkspace(
  config: Config,
  change: (bucket: Awaited<ReturnType<typeof openControlBuckets>>['workspaces']) => Promise<Workspace>,
): Promise<Workspace> {
  const nc = await connect(config);
  try {
    return await change((await openControlBuckets(nc)).workspaces);
  } finally {
    await nc.close();
  }
}

function describePolicy(workspace: Workspace): string {
  const { id, plan, legal_hold } = workspace;
  const { days, because } = retentionOf({ ...workspace, legal_hold: null });
  const kept = days === null ? 'for ever' : `for ${days} ${days === 1 ? 'day' : 'days'}`;
  const why = because === 'plan' ? ` (plan ${plan})` : '';
  const hold = legal_hold ?? null;
  const held =
    hold === null ? '' : `\nLegal hold since ${hold.since}: ${hold.reason}. Nothing is hidden or removed.`;
  return `${id} keeps its events ${kept}${why}.${held}`;
}

export async function archiveListCommand(
  config: Config,
  terminal: Terminal,
  { workspace, json }: Output & { workspace: string | undefined },
): Promise<void> {
  const objects = await objectStore(config);
  const names = await listArchives(objects, workspace);
  const manifests = await Promise.all(names.map((name) => readManifest(objects, name)));
  const headings = ['WORKSPACE', 'EVENTS', 'FROM', 'TO', 'BYTES', 'OBJECT'];
  const rows = manifests.map((manifest, index) => [
    manifest.workspace_id,
    `${manifest.first_seq}–${manifest.last_seq}`,
    manifest.first_created_at,
    manifest.last_created_at,
    String(manifest.file_bytes),
    keyOf(names[index]),
  ]);
  terminal.result(json ? JSON.stringify(manifests) : table(headings, rows));
}

function keyOf(name: ArchiveName | undefined): string {
  return name === undefined ? '' : archiveKeys(name).events;
}

/** Exits with an error unless everything holds. `archive`: a file (its manifest beside it), or an object. */
export async function archiveVerifyCommand(
  config: Config,
  terminal: Terminal,
  { archive, manifest, json }: Output & { archive: string; manifest: string | undefined },
): Promise<void> {
  const opened = await openArchive(config, archive, manifest);
  const report = await checkArchive(opened.content, opened.manifest);
  terminal.result(
    json ? JSON.stringify({ ...report, manifest: opened.manifest }) : describeCheck(opened.manifest, report),
  );
  requireValid(archive, report);
}

const RESTORED_AT_A_TIME = 5_000;

/** Checks the whole archive first, then brings its events back for reading. */
export async function archiveRestoreCommand(
  config: Config,
  terminal: Terminal,
  { archive, manifest, json }: Output & { archive: string; manifest: string | undefined },
): Promise<void> {
  const first = await openArchive(config, archive, manifest);
  requireValid(archive, await checkArchive(first.content, first.manifest));
  const clickhouse = retentionClient(config);
  try {
    const again = await openArchive(config, archive, manifest);
    const store = clickHouseRetentionStore(clickhouse);
    requireValid(archive, await restore(store, again.content, again.manifest));
  } finally {
    await clickhouse.close();
  }
  const { workspace_id, first_seq, last_seq, rows } = first.manifest;
  terminal.result(
    json
      ? JSON.stringify({ workspace_id, first_seq, last_seq, rows })
      : `${rows} events of ${workspace_id} (${first_seq} to ${last_seq}) are in the table immutable.restored_events for 30 days.`,
  );
}

async function restore(
  store: RetentionStore,
  content: Readable,
  manifest: ArchiveManifest,
): Promise<ArchiveReport> {
  let waiting: ArchivedEvent[] = [];
  const write = async () => {
    if (waiting.length > 0) await store.restore(manifest.workspace_id, waiting);
    waiting = [];
  };
  const report = await checkArchive(content, manifest, async (event) => {
    waiting.push(event);
    if (waiting.length >= RESTORED_AT_A_TIME) await write();
  });
  await write();
  return report;
}

interface OpenedArchive {
  manifest: ArchiveManifest;
  content: Readable;
}

async function openArchive(
  config: Config,
  archive: string,
  manifestPath: string | undefined,
): Promise<OpenedArchive> {
  if (existsSync(archive)) {
    const beside = manifestPath ?? archive.replace(/\.jsonl\.gz$/, '.manifest.json');
    return { manifest: readManifestFile(beside), content: createReadStream(archive) };
  }
  const match = /^archives\/(ws_[0-9a-f]{16})\/(\d+)-(\d+)\.jsonl\.gz$/.exec(archive);
  const [, workspaceId, first, last] = match ?? [];
  if (workspaceId === undefined) {
    throw new ImmutableError(
      'not_found',
      `There is no file ${archive}, and it is not the name of an archive.`,
      {
        nextStep: '`immutable archive list` shows those in the object store.',
      },
    );
  }
  const objects = await objectStore(config);
  const manifest = await readManifest(objects, { workspaceId, first: Number(first), last: Number(last) });
  const content = await objects.read(archive);
  if (content === undefined) throw new ImmutableError('not_found', `The object ${archive} is missing.`);
  return { manifest, content };
}

function readManifestFile(path: string): ArchiveManifest {
  try {
    return parseArchiveManifest(readFileSync(path, 'utf8'));
  } catch (cause) {
    if (cause instanceof ImmutableError) throw cause;
    throw new ImmutableError('not_found', `The manifest ${path} cannot be read.`, {
      nextStep: 'It stands beside the archive in the object store; name it with --manifest.',
      cause,
    });
  }
}

function describeCheck(manifest: ArchiveManifest, report: ArchiveReport): string {
  const { workspace_id, first_seq, last_seq, first_created_at, last_created_at } = manifest;
  const erased = report.erased === 0 ? '' : ` The personal data of ${report.erased} was erased.`;
  return [
    `${workspace_id}, events ${first_seq} to ${last_seq}, ${first_created_at} to ${last_created_at}`,
    ...report.problems.map(
      ({ check, seq, detail }) => `✗ ${check}${seq === undefined ? '' : `, event ${seq}`}: ${detail}`,
    ),
    report.valid
      ? `✓ ${report.rows} events: hashes, links, personal data and file are as the manifest says.${erased}`
      : '✗ not what was archived',
  ].join('\n');
}

function requireValid(archive: string, { valid }: ArchiveReport): void {
  if (valid) return;
  throw new ImmutableError('damaged_message', `${archive} is not what was archived.`, {
    nextStep: 'Take it from a backup of the object store.',
  });
}

async function objectStore(config: Config): Promise<ObjectStore> {
  return await openObjectStore({
    objectStoreUrl: config.objectStoreUrl,
    folder: dataDirAt(config.dataDir).objects,
  });
}

async function connect(config: Config): Promise<NatsConnection> {
  const log = createLogger('immutable', 'silent');
  return await connectNats({ url: natsUrlFor(config), name: 'immutable', log, firstConnectMs: 5_000 });
}

function retentionClient(config: Config) {
  return connectClickHouse(retentionUrl(config), { requestTimeoutMs: REMOVAL_TIMEOUT_MS });
}

/** Of the user `retention`, the only one that may remove events. */
function retentionUrl(config: Config): string {
  const url = config.clickhouseRetentionUrl ?? runningClickHouseUrl(config, 'retention');
  if (url !== undefined) return url;
  throw new ImmutableError(
    'misconfigured',
    'It is not known how to reach ClickHouse as the user that removes events.',
    {
      nextStep:
        'Start Immutable with `npm start`, or set IMMUTABLE_CLICKHOUSE_RETENTION_URL to a user with the role immutable_retention.',
    },
  );
}
