import { hkdfSync } from 'node:crypto';
import { watchKeys } from '../control/keys.ts';
import { ImmutableError } from '../core/errors.ts';
import type { ClickHouseClient } from '../infra/clickhouse/client.ts';
import { openGeo } from '../infra/geo/geo.ts';
import { openBucket } from '../infra/nats/kv.ts';
import { BUCKETS } from '../infra/nats/names.ts';
import { startIngest } from '../ingest/main.ts';
import { queryRoutes } from '../query/routes.ts';
import { connectStores } from './connect.ts';
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

  const query = cursorKey === undefined ? [] : queryRoutes({ clickhouse, keyRing, cursorKey });
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

/** Not asked where events are accepted too: that must go on when ClickHouse is away. */
async function unanswered(clickhouse: ClickHouseClient): Promise<string[]> {
  const { success } = await clickhouse.ping({ select: true });
  return success ? [] : ['ClickHouse does not answer.'];
}

/** Every process that answers queries signs cursors alike, so that a page may come from another one. */
function cursorKeyFrom(secretKey: string | undefined, name: string): Uint8Array {
  if (secretKey === undefined) {
    throw new ImmutableError('misconfigured', `The role ${name} needs IMMUTABLE_SECRET_KEY.`, {
      nextStep: 'Make one with `openssl rand -hex 32`, and give it to every process.',
    });
  }
  return new Uint8Array(hkdfSync('sha256', Buffer.from(secretKey, 'hex'), '', 'immutable cursor', 32));
}
