import type { ClickHouseClient } from '@clickhouse/client';
import type { KeyRing } from '../../control/keys.ts';
import type { Route } from '../../infra/http/types.ts';
import type { Logger } from '../../infra/log.ts';
import type { Registry } from '../../infra/metrics.ts';
import type { Bucket } from '../../infra/nats/kv.ts';
import type { ObjectStore } from '../../infra/object-store/types.ts';
import { createCoverage } from '../proofs/coverage.ts';
import { PART_EXTENTS } from './format.ts';
import { openExportJobs } from './jobs.ts';
import { createExportMetrics } from './metrics.ts';
import { type ExportRoutesDeps, exportRoutes } from './routes.ts';
import { startRunner } from './runner.ts';
import { createExportSource } from './source.ts';

export interface ExportsOptions {
  bucket: Bucket;
  store: ObjectStore;
  /** With the rights of `reader`; of its own, so that exports never stand in the way of a search. */
  clickhouse: ClickHouseClient;
  keyRing: KeyRing;
  linkKey: Uint8Array;
  publicUrl: string;
  retainedFrom?: ExportRoutesDeps['retainedFrom'];
  /** Manifests carry only checkpoints that as many witnesses have cosigned as the policy asks for. */
  witnessedOnly?: boolean;
  instance?: string | undefined;
  log: Logger;
  metrics: Registry;
}

/** The routes, and the work behind them. `stop` leaves what is under way to be continued. */
export async function startExports(
  options: ExportsOptions,
): Promise<{ routes: Route[]; stop(): Promise<void> }> {
  const { bucket, store, clickhouse, keyRing, linkKey, publicUrl, retainedFrom, instance, log, metrics } =
    options;
  const { witnessedOnly = false } = options;
  const jobs = await openExportJobs(bucket, { log });
  const runner = startRunner({
    jobs,
    store,
    source: createExportSource(clickhouse),
    extents: PART_EXTENTS,
    coverageOf: createCoverage(clickhouse, { witnessedOnly }),
    metrics: createExportMetrics(metrics),
    instance,
    log,
  });
  return {
    routes: exportRoutes({
      jobs,
      store,
      keyRing,
      linkKey,
      publicUrl: publicUrl.replace(/\/+$/, ''),
      retainedFrom,
    }),
    stop: async () => {
      await runner.stop();
      await jobs.stop();
    },
  };
}
