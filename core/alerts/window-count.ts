import { MICROS_PER_MINUTE } from '../time.ts';
import type { RuleMemory } from './memory.ts';
import type { Scope } from './rule.ts';
import { type NodePool, SlotLists } from './slot-lists.ts';
import { plural } from './wording.ts';

export interface WindowCount {
  patterns: readonly string[];
  threshold: number;
  window_minutes: number;
  scope: Scope;
}

/**
 * `high_volume_destructive` and `repeated_action`: whether `threshold` events lie in the window that ends with this one.
 * The window of an event at t is (t − window, t]: one that is older by exactly the window has left it. No more
 * than the newest `threshold` times are kept of each actor, which is all the question needs.
 */
export function windowCountMemory(rule: WindowCount, pool: NodePool): RuleMemory {
  const { patterns, threshold, window_minutes: minutes, scope } = rule;
  const windowMicros = minutes * MICROS_PER_MINUTE;
  const times = new SlotLists(pool);

  return {
    meets({ createdAtMicros }, slot) {
      const left = createdAtMicros - windowMicros;
      for (let time = times.oldest(slot); time !== undefined && time <= left; time = times.oldest(slot)) {
        times.dropOldest(slot);
      }
      if (times.count(slot) === threshold) times.dropOldest(slot);
      times.push(slot, createdAtMicros);
      return times.count(slot) === threshold;
    },
    reason: () => {
      const counted = threshold === 1 ? 'An event' : `${threshold} or more events`;
      const by = scope === 'actor' ? 'by one actor' : 'in the workspace';
      return `${counted} of ${listed(patterns)} within ${plural(minutes, 'minute')}, ${by}.`;
    },
    forget: (slot) => times.clear(slot),
    forgetAll: () => times.clearAll(),
    snapshot: (placeOf) => [...times.usedSlots()].map((slot) => [placeOf(slot), ...times.values(slot)]),
    restore(rows, slotOf) {
      for (const [place = 0, ...values] of rows) {
        const slot = slotOf(place);
        if (slot !== undefined) for (const value of values) times.push(slot, value);
      }
    },
  };
}

const MOST_LISTED = 4;

function listed(patterns: readonly string[]): string {
  const more = patterns.length - MOST_LISTED;
  const named = patterns.slice(0, MOST_LISTED).join(', ');
  return more > 0 ? `${named} and ${more} more` : named;
}
