import { ensureSigningKeys, openSigningSeeds, watchSigningKeys } from '../control/signing-keys.ts';
import { readWitnessPolicy } from '../control/witness-policy.ts';
import { openBucket } from '../infra/nats/kv.ts';
import { BUCKETS } from '../infra/nats/names.ts';
import { clickHouseStore } from '../pipeline/chain/clickhouse-store.ts';
import { clickHouseTreeStore } from '../pipeline/tree/clickhouse-store.ts';
import { startTree } from '../pipeline/tree/start.ts';
import { connectStores } from './connect.ts';
import type { ProcessContext, RunningRole } from './process.ts';
import { signingKeySealer } from './signing-key.ts';

/** The tree stage: grows each workspace's Merkle tree, and signs checkpoints of it. */
export async function startTreeRole(context: ProcessContext): Promise<RunningRole> {
  const { config, log, metrics, lifecycle } = context;
  const sealer = signingKeySealer(config.secretKey);
  const { nc, clickhouse, install, missing } = await connectStores(context, 'tree');
  const bucket = await openBucket(nc, BUCKETS.signing);
  const first = await ensureSigningKeys(bucket, sealer);
  // Under another secret key than theirs the role does not start, rather than try in vain to sign.
  openSigningSeeds(first, sealer, Date.now());
  const keys = await watchSigningKeys(bucket);
  lifecycle.onStop('signing keys', () => keys.stop());
  const tree = startTree({
    nc,
    store: clickHouseTreeStore(clickhouse),
    events: clickHouseStore(clickhouse),
    buckets: {
      leases: await openBucket(nc, BUCKETS.leases),
      alarms: await openBucket(nc, BUCKETS.alarms),
      floors: await openBucket(nc, BUCKETS.floors),
      checkpoints: await openBucket(nc, BUCKETS.checkpoints),
    },
    signingKeys: () => keys.current() ?? first,
    sealer,
    logOrigin: install.log_origin,
    partitions: install.partitions,
    witnessPolicy: readWitnessPolicy(config.witnessPolicy),
    log,
    metrics,
    instance: config.instanceId,
  });
  lifecycle.onStop('tree', () => tree.stop());
  return {
    routes: [],
    ready: () => [...missing(), ...(tree.ready() ? [] : ['A partition is being started.'])],
  };
}
