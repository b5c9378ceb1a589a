import { scheduleOf } from './business-hours.ts';
import type { RuleMemory } from './memory.ts';
import type { ConditionsOf } from './rule.ts';
import { zoneOffsetOf } from './time-zone.ts';

/**
 * `off_hours`: whether the clock on the wall of the time zone is outside business hours. Both passes of an hour that
 * comes twice, in autumn, read the same on the wall, and so are both open or both closed.
 */
export function offHoursMemory(conditions: ConditionsOf['off_hours']): RuleMemory {
  const offsetAt = zoneOffsetOf(conditions.timezone);
  const isOpen = scheduleOf(conditions.business_hours, conditions.holidays);
  return {
    meets: ({ createdAtMicros }) => !isOpen(createdAtMicros + offsetAt(createdAtMicros)),
    reason: () => `An event of ${conditions.action_pattern} outside business hours (${conditions.timezone}).`,
    forget() {},
    forgetAll() {},
    snapshot: () => [],
    restore() {},
  };
}
