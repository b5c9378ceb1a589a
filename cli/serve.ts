import { hkdfSync } from 'node:crypto';
import { getLastSigned } from '../control/checkpoints.ts';
import type { Install } from '../control/install.ts';
import { type KeyRing, watchKeys } from '../control/keys.ts';
import { retainedFrom } from '../control/retention.ts';
import { isSignedBy, logNameOf, watchSigningKeys } from '../control/signing-keys.ts';
import { readWitnessPolicy } from '../control/witness-policy.ts';
import { type WorkspaceDirectory, watchWorkspaces } from '../control/workspaces.ts';
import { ImmutableError } from '../core/errors.ts';
import type { Micros } from '../core/time.ts';
import { type ClickHouseClient, connectClickHouse } from '../infra/clickhouse/client.ts';
import { openGeo } from '../infra/geo/geo.ts';
import { nativeHasher } from '../infra/hash.ts';
import { clientAddressBehind } from '../infra/http/client-address.ts';
import type { HttpRequest, Route } from '../infra/http/types.ts';
import type { NatsConnection } from '../infra/nats/connect.ts';
import { openBucket } from '../infra/nats/kv.ts';
import { BUCKETS } from '../infra/nats/names.ts';
import { openObjectStore } from '../infra/object-store/open.ts';
import { startIngest } from '../ingest/main.ts';
import { watchAnchorRecords } from '../query/anchors/records.ts';
import { anchorRoutes } from '../query/anchors/routes.ts';
import { startExports } from '../query/export/main.ts';
import { createAddressLimit } from '../query/proofs/address-limit.ts';
import { proofRoutes } from '../query/proofs/routes.ts';
import { type QueryDeps, queryRoutes } from '../query/routes.ts';
import { baseUrl } from './base-url.ts';
import { connectStores } from './connect.ts';
import { dataDirAt } from './data-dir.ts';
import { findKnownIds } from './known-ids.ts';
import type { ProcessContext, RunningRole } from './process.ts';

/** Accepts events and answers questions, on one port (`serve`) or either alone (`ingest`, `query`). */
export async function startApiRole(
  context: ProcessContext,
  name: 'serve' | 'ingest' | 'query',
): Promise<RunningRole> {
  const { config, log, metrics, lifecycle } = context;
  const cursorKey = name === 'ingest' ? undefined : cursorKeyFrom(config.secretKey, name);
  const { nc, clickhouse, install, buckets, missing } = await connectStores(context, name);
  const keyRing = await watchKeys(buckets.keys, { log });
  lifecycle.onStop('keys', () => keyRing.stop());

  const workspaces = await watchWorkspaces(buckets.workspaces);
  lifecycle.onStop('workspaces', () => workspaces.stop());
  const shownFrom = (workspaceId: string, nowMs: number) => retainedFrom(workspaces.get(workspaceId), nowMs);

  const query =
    cursorKey === undefined
      ? []
      : [
          ...(await queryRoutesOf(context, {
            nc,
            clickhouse,
            keyRing,
            cursorKey,
            workspaces,
            install,
            shownFrom,
          })),
          ...(await exportRoutesOf(context, name, nc, keyRing, shownFrom)),
        ];
  if (name === 'query')
    return { routes: query, ready: async () => [...missing(), ...(await unanswered(clickhouse))] };

  const ingest = await startIngest({
    nc,
    keyRing,
    alarms: await openBucket(nc, BUCKETS.alarms),
    findKnownIds: (workspaceId, ids) => findKnownIds(clickhouse, workspaceId, ids),
    geo: await openGeo({ cityV4: config.geoipCityV4, cityV6: config.geoipCityV6 }),
    partitions: install.partitions,
    trustedProxies: config.trustedProxies,
    monitorUrls: config.natsMonitorUrl ?? [],
    allowUnsyncedNats: config.allowUnsyncedNats,
    log,
    metrics,
  });
  lifecycle.onStop('ingest', () => ingest.drain(DRAIN_MS));
  return {
    routes: [...ingest.routes, ...query],
    ready: async () => [...missing(), ...(await ingest.ready())],
  };
}

const DRAIN_MS = 2_000;

/** Of the six places that the embedded ClickHouse has for reading, at most so many are for exports. */
const EXPORT_CONNECTIONS = 3;

/** Every process that answers queries makes exports too. */
async function exportRoutesOf(
  { config, log, metrics, lifecycle }: ProcessContext,
  name: string,
  nc: NatsConnection,
  keyRing: KeyRing,
  shownFrom: (workspaceId: string, nowMs: number) => Micros | undefined,
): Promise<Route[]> {
  if (config.clickhouseUrl === undefined) return [];
  const clickhouse = connectClickHouse(config.clickhouseUrl, { maxConnections: EXPORT_CONNECTIONS });
  lifecycle.onStop('ClickHouse for exports', () => clickhouse.close());
  const exports = await startExports({
    bucket: await openBucket(nc, BUCKETS.exports),
    store: await openObjectStore({
      objectStoreUrl: config.objectStoreUrl,
      folder: dataDirAt(config.dataDir).objects,
    }),
    clickhouse,
    keyRing,
    linkKey: derivedKey(config.secretKey, name, 'immutable export link'),
    publicUrl: config.publicUrl ?? baseUrl(config, config.port),
    retainedFrom: shownFrom,
    witnessedOnly: readWitnessPolicy(config.witnessPolicy) !== undefined,
    instance: config.instanceId,
    log,
    metrics,
  });
  lifecycle.onStop('exports', () => exports.stop());
  return exports.routes;
}

/** Search, verification and proofs. */
async function queryRoutesOf(
  { config, lifecycle, log }: ProcessContext,
  {
    nc,
    cursorKey,
    install,
    workspaces,
    shownFrom,
    ...deps
  }: Pick<QueryDeps, 'clickhouse' | 'keyRing' | 'cursorKey'> & {
    nc: NatsConnection;
    install: Install;
    workspaces: WorkspaceDirectory;
    shownFrom: (workspaceId: string, nowMs: number) => Micros | undefined;
  },
): Promise<Route[]> {
  const signingKeys = await watchSigningKeys(await openBucket(nc, BUCKETS.signing));
  lifecycle.onStop('signing keys', () => signingKeys.stop());
  const checkpoints = await openBucket(nc, BUCKETS.checkpoints);
  const records = await watchAnchorRecords(await openBucket(nc, BUCKETS.anchors), log);
  lifecycle.onStop('anchor records', () => records.stop());
  const addressBehind = clientAddressBehind(config.trustedProxies);
  const withoutKey = {
    limit: createAddressLimit(Date.now),
    clientAddress: (request: HttpRequest) =>
      addressBehind(request.remoteAddress, request.header('x-forwarded-for')),
  };
  const isSigned = (workspaceId: string, note: string) => {
    const keys = signingKeys.current();
    const name = logNameOf(install.log_origin, workspaceId);
    return keys !== undefined && isSignedBy(keys, name, note, nativeHasher);
  };
  return [
    ...queryRoutes({
      ...deps,
      cursorKey,
      retainedFrom: shownFrom,
      signer: {
        isSigned,
        signedSize: async (workspaceId) => (await getLastSigned(checkpoints, workspaceId))?.record.size ?? 0,
      },
      anchors: records,
    }),
    ...anchorRoutes({ ...deps, ...withoutKey, cursorKey, isSigned, records }),
    ...proofRoutes({
      ...deps,
      signingKeys: signingKeys.current,
      logOrigin: install.log_origin,
      isLogPublic: (workspaceId) => workspaces.get(workspaceId)?.public_log ?? false,
      witnessedOnly: readWitnessPolicy(config.witnessPolicy) !== undefined,
      retainedFrom: shownFrom,
      ...withoutKey,
    }),
  ];
}

/** Not asked where events are accepted too: that must go on when ClickHouse is away. */
async function unanswered(clickhouse: ClickHouseClient): Promise<string[]> {
  const { success } = await clickhouse.ping({ select: true });
  return success ? [] : ['ClickHouse does not answer.'];
}

/** Every process that answers queries signs cursors alike, so that a page may come from another one. */
export function cursorKeyFrom(secretKey: string | undefined, name: string): Uint8Array {
  return derivedKey(secretKey, name, 'immutable cursor');
}

/** A key for one purpose, the same on every process that has the installation's secret. */
function derivedKey(secretKey: string | undefined, name: string, purpose: string): Uint8Array {
  if (secretKey === undefined) {
    throw new ImmutableError('misconfigured', `The role ${name} needs IMMUTABLE_SECRET_KEY.`, {
      nextStep: 'Make one with `openssl rand -hex 32`, and give it to every process.',
    });
  }
  return new Uint8Array(hkdfSync('sha256', Buffer.from(secretKey, 'hex'), '', purpose, 32));
}
