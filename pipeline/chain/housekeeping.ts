import { setTimeout as delay } from 'node:timers/promises';
import { ALARM_KEYS } from '../../control/alarms.ts';
import { crc32, nativeHasher } from '../../infra/hash.ts';
import { holdLease } from '../../infra/nats/lease.ts';
import { type FloorSource, purgeOnce } from '../purger.ts';
import { storedFloor } from './floors.ts';
import { createLossReporter } from './lost.ts';
import type { Stage } from './stage.ts';

/** One process of all does what concerns the whole stream, for as long as it holds the lease. */
export async function keepHouse(stage: Stage, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const lost = new AbortController();
    try {
      const lease = await holdLease({
        bucket: stage.buckets.leases,
        key: 'events.housekeeping',
        holder: stage.holder,
        ...(stage.instance === undefined ? {} : { instance: stage.instance }),
        ttlMs: stage.timing.leaseTtlMs,
        onLost: () => lost.abort(),
        signal,
      });
      await tidyRegularly(stage, AbortSignal.any([signal, lost.signal]));
      await lease.release();
    } catch (error) {
      if (!signal.aborted) stage.log.warn({ err: error }, 'the lease of the housekeeping cannot be had now');
    }
    await pause(stage.timing.steppedDownMs, signal);
  }
}

/** What fails is tried again at the next turn. */
async function tidyRegularly(stage: Stage, signal: AbortSignal): Promise<void> {
  const { nc, log, operator } = stage;
  const reportLosses = createLossReporter({
    nc,
    alarms: stage.buckets.alarms,
    operator,
    log,
    crc32,
    hasher: nativeHasher,
  });
  while (!signal.aborted) {
    try {
      await reportLosses();
      const removed = await purgeOnce({
        nc,
        partitions: stage.partitions,
        floorSources: [chainFloor(stage), ...stage.laterFloors],
        keepMs: stage.timing.keepMs,
      });
      if (removed > 0) log.debug({ removed }, 'messages that are done with were removed from EVENTS');
    } catch (error) {
      log.warn({ err: error }, 'EVENTS could not be tidied');
    }
    await pause(stage.timing.houseIntervalMs, signal);
  }
}

/** Nothing of a partition is removed while an alarm stands against it. */
function chainFloor(stage: Stage): FloorSource {
  const { alarms, floors } = stage.buckets;
  return async (source) => {
    const alarm = await alarms.get(ALARM_KEYS.partitionStopped(source.partition));
    return alarm === undefined ? await storedFloor(floors, stage.store, source) : 0;
  };
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => {});
}
