import { clickHouseAnchorStore } from '../anchor/clickhouse-store.ts';
import { type AnchorJobOptions, startAnchorJob } from '../anchor/job.ts';
import { createAnchorMetrics } from '../anchor/metrics.ts';
import type { Install } from '../control/install.ts';
import { readSigningKeys, SIGNING_KEYS } from '../control/signing-keys.ts';
import type { ClickHouseClient } from '../infra/clickhouse/client.ts';
import type { Config } from '../infra/config.ts';
import type { Logger } from '../infra/log.ts';
import type { Registry } from '../infra/metrics.ts';
import type { NatsConnection } from '../infra/nats/connect.ts';
import { openBucket } from '../infra/nats/kv.ts';
import { BUCKETS } from '../infra/nats/names.ts';
import { maxFeePerGasWei, openLedger } from './anchor-ledger.ts';
import { connectStores } from './connect.ts';
import type { ProcessContext, RunningRole } from './process.ts';

/** The anchor job: makes each day's anchor, and brings its root onto the chain. */
export async function startAnchorRole(context: ProcessContext): Promise<RunningRole> {
  const { config, log, metrics, lifecycle } = context;
  const ledger = await openLedger(config, log);
  const { nc, clickhouse, install, missing } = await connectStores(context, 'anchor');
  const job = startAnchorJob(
    await anchorJobOptions({ config, ledger, nc, clickhouse, install, log, metrics }),
  );
  lifecycle.onStop('anchor', () => job.stop());
  return { routes: [], ready: missing };
}

export async function anchorJobOptions(given: {
  config: Config;
  ledger: AnchorJobOptions['ledger'];
  nc: NatsConnection;
  clickhouse: ClickHouseClient;
  install: Install;
  log: Logger;
  metrics: Registry;
}): Promise<AnchorJobOptions> {
  const { config, ledger, nc, clickhouse, install, log, metrics } = given;
  const signing = await openBucket(nc, BUCKETS.signing);
  return {
    nc,
    store: clickHouseAnchorStore(clickhouse),
    buckets: {
      leases: await openBucket(nc, BUCKETS.leases),
      alarms: await openBucket(nc, BUCKETS.alarms),
      floors: await openBucket(nc, BUCKETS.floors),
      checkpoints: await openBucket(nc, BUCKETS.checkpoints),
      anchors: await openBucket(nc, BUCKETS.anchors),
    },
    async signingKeys() {
      const stored = await signing.get(SIGNING_KEYS);
      return stored === undefined ? undefined : readSigningKeys(stored.value);
    },
    logOrigin: install.log_origin,
    partitions: install.partitions,
    ledger,
    maxFeePerGasWei: maxFeePerGasWei(config),
    log,
    metrics: createAnchorMetrics(metrics),
    instance: config.instanceId,
  };
}
