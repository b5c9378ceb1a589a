import { type Install, readOrCreateInstall } from '../control/install.ts';
import { ensureWorkspace } from '../control/workspaces.ts';
import { ImmutableError } from '../core/errors.ts';
import { type ClickHouseClient, connectClickHouse } from '../infra/clickhouse/client.ts';
import { migrate, type ServerKind } from '../infra/clickhouse/migrate.ts';
import type { Config } from '../infra/config.ts';
import type { NatsConnection } from '../infra/nats/connect.ts';
import { type Bucket, openBucket } from '../infra/nats/kv.ts';
import { BUCKETS } from '../infra/nats/names.ts';
import { ensureStreams } from '../infra/nats/streams.ts';

/** The buckets that commands and roles read and change. */
export interface ControlBuckets {
  install: Bucket;
  workspaces: Bucket;
  keys: Bucket;
}

export async function openControlBuckets(nc: NatsConnection): Promise<ControlBuckets> {
  return {
    install: await openBucket(nc, BUCKETS.install),
    workspaces: await openBucket(nc, BUCKETS.workspaces),
    keys: await openBucket(nc, BUCKETS.keys),
  };
}

/** Streams, buckets and what was decided at the first start. May be repeated; several may do it at once. */
export async function prepareNats(
  nc: NatsConnection,
  config: Pick<Config, 'streamReplicas' | 'partitions' | 'logOrigin' | 'publicUrl'>,
  storeLimitBytes: number,
): Promise<{ install: Install; buckets: ControlBuckets }> {
  await ensureStreams(nc, { replicas: config.streamReplicas, storeLimitBytes });
  const buckets = await openControlBuckets(nc);
  const install = await readOrCreateInstall(buckets.install, config);
  await ensureWorkspace(buckets.workspaces, { id: install.operator_workspace_id, name: 'Operator' });
  return { install, buckets };
}

async function requireAnswer(clickhouse: ClickHouseClient, url: string): Promise<void> {
  const ping = await clickhouse.ping({ select: true });
  if (ping.success) return;
  const { origin, username } = new URL(url);
  throw new ImmutableError(
    'unavailable',
    `ClickHouse at ${origin} does not answer the user "${username}": ${ping.error.message.split('\n')[0]}.`,
    {
      nextStep: 'Start it, or correct IMMUTABLE_CLICKHOUSE_URL and IMMUTABLE_CLICKHOUSE_ADMIN_URL.',
      cause: ping.error,
    },
  );
}

/** Tables and roles, by the user who may make them. May be repeated. */
export async function prepareClickHouse(adminUrl: string, serverKind: ServerKind): Promise<void> {
  const clickhouse = connectClickHouse(adminUrl);
  try {
    await requireAnswer(clickhouse, adminUrl);
    await migrate(clickhouse, { serverKind });
  } finally {
    await clickhouse.close();
  }
}
