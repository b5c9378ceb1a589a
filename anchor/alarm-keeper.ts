import { z } from 'zod';
import { raiseAlarm } from '../control/alarms.ts';
import type { Logger } from '../infra/log.ts';
import type { Bucket } from '../infra/nats/kv.ts';
import type { WantedAlarm } from './watch.ts';

/** Raises and clears alarms, each once, however often it is told how things stand. */
export interface AlarmKeeper {
  tell(key: string, alarm: WantedAlarm | undefined): Promise<void>;
}

const standingSchema = z.looseObject({ message: z.string() });

/** What stands is looked up each time: the command beside the role tells of the same alarms, and may know less. */
export function createAlarmKeeper(bucket: Bucket, log: Logger): AlarmKeeper {
  return {
    async tell(key, alarm) {
      const standing = await bucket.get(key);
      if (alarm === undefined) {
        if (standing !== undefined) await bucket.delete(key);
        return;
      }
      if (standingSchema.safeParse(standing?.value).data?.message === alarm.message) return;
      log.error({ alarm: true, key, ...alarm.details, nextStep: alarm.next_step }, alarm.message);
      await raiseAlarm(bucket, key, alarm);
    },
  };
}
