import { type Install, readOrCreateInstall } from '../control/install.ts';
import { ImmutableError } from '../core/errors.ts';
import { type ClickHouseClient, connectClickHouse } from '../infra/clickhouse/client.ts';
import type { Config } from '../infra/config.ts';
import { connectionState, connectNats, type NatsConnection } from '../infra/nats/connect.ts';
import type { ProcessContext } from './process.ts';
import { type ControlBuckets, openControlBuckets } from './stores.ts';

/** What every role works with. */
export interface Stores {
  nc: NatsConnection;
  clickhouse: ClickHouseClient;
  buckets: ControlBuckets;
  install: Install;
  /** What keeps these from serving, one sentence each. */
  missing(): string[];
}

/** Connects a role to NATS and ClickHouse, which `up` or `migrate` have prepared; closed with its lifecycle. */
export async function connectStores(
  { config, log, lifecycle }: ProcessContext,
  name: string,
): Promise<Stores> {
  const { natsUrl, clickhouseUrl } = config;
  if (natsUrl === undefined || clickhouseUrl === undefined) {
    throw new ImmutableError(
      'misconfigured',
      `The role ${name} needs IMMUTABLE_NATS_URL and IMMUTABLE_CLICKHOUSE_URL.`,
      {
        nextStep: 'Set both, or run `immutable up`, which starts everything.',
      },
    );
  }
  const nc = await connectNats({ url: natsUrl, name: `immutable ${name}`, log });
  lifecycle.onStop('NATS', () => nc.close());
  const clickhouse = connectClickHouse(clickhouseUrl);
  lifecycle.onStop('ClickHouse', () => clickhouse.close());
  const buckets = await openControlBuckets(nc);
  return {
    nc,
    clickhouse,
    buckets,
    install: await readPrepared(buckets, config),
    missing: () => (connectionState(nc).connected() ? [] : ['NATS is not connected.']),
  };
}

/** JetStream: "stream not found". */
const NO_SUCH_STREAM = 10_059;

async function readPrepared(buckets: ControlBuckets, config: Config): Promise<Install> {
  try {
    return await readOrCreateInstall(buckets.install, config);
  } catch (cause) {
    if (!(cause instanceof Error && 'code' in cause && cause.code === NO_SUCH_STREAM)) throw cause;
    throw new ImmutableError('misconfigured', 'The streams were not made yet.', {
      nextStep: 'Run `immutable migrate` once, with the same settings.',
      cause,
    });
  }
}
