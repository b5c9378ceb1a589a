import { signedFloor } from '../control/floors.ts';
import { openBucket } from '../infra/nats/kv.ts';
import { BUCKETS } from '../infra/nats/names.ts';
import { startChain } from '../pipeline/chain/start.ts';
import { recordWindows } from '../pipeline/retention/window-recorder.ts';
import { connectStores } from './connect.ts';
import type { ProcessContext, RunningRole } from './process.ts';

/** The chain stage: orders what was accepted, extends the chains, stores it. */
export async function startChainRole(context: ProcessContext): Promise<RunningRole> {
  const { config, log, metrics, lifecycle } = context;
  const { nc, clickhouse, install, buckets, missing } = await connectStores(context, 'chain');
  const floors = await openBucket(nc, BUCKETS.floors);
  const chain = startChain({
    nc,
    clickhouse,
    buckets: {
      leases: await openBucket(nc, BUCKETS.leases),
      alarms: await openBucket(nc, BUCKETS.alarms),
      floors,
    },
    log,
    metrics,
    partitions: install.partitions,
    laterFloors: [(source) => signedFloor(floors, source)],
    operatorWorkspaceId: install.operator_workspace_id,
    instance: config.instanceId,
  });
  lifecycle.onStop('chain', () => chain.stop());
  // Beside the chain, since this is the process that may write.
  const stopRecording = await recordWindows({ workspaces: buckets.workspaces, clickhouse, log });
  lifecycle.onStop('retention windows', stopRecording);
  return {
    routes: [],
    ready: () => [...missing(), ...(chain.ready() ? [] : ['A partition is being started.'])],
  };
}
