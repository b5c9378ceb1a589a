import { clearAlarm, raiseAlarm } from '../control/alarms.ts';
import type { Logger } from '../infra/log.ts';
import type { Bucket } from '../infra/nats/kv.ts';
import type { WantedAlarm } from './watch.ts';

/** Raises and clears alarms, each once, however often it is told how things stand. */
export interface AlarmKeeper {
  tell(key: string, alarm: WantedAlarm | undefined): Promise<void>;
}

export function createAlarmKeeper(bucket: Bucket, log: Logger): AlarmKeeper {
  const told = new Map<string, string>();
  return {
    async tell(key, alarm) {
      const message = alarm?.message ?? '';
      // What stood before this process began is not known, and told once.
      if (told.get(key) === message) return;
      if (alarm === undefined) await clearAlarm(bucket, key);
      else {
        log.error({ alarm: true, key, ...alarm.details, nextStep: alarm.next_step }, alarm.message);
        await raiseAlarm(bucket, key, alarm);
      }
      told.set(key, message);
    },
  };
}
