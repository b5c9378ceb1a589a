import type { Micros } from '../time.ts';
import { newCountryMemory } from './new-country.ts';
import { offHoursMemory } from './off-hours.ts';
import { type AlertEvent, type AlertRule, scopeOf } from './rule.ts';
import type { NodePool } from './slot-lists.ts';
import { spikeMemory } from './spike.ts';
import { windowCountMemory } from './window-count.ts';

/** Where a rule that looks at the whole workspace keeps what an actor has a slot for. */
export const WORKSPACE_SLOT = 0;

/** What one rule remembers, and how an event changes it. Events come in the order of `seq`, each once. */
export interface RuleMemory {
  /** Takes the event in. Whether it meets the conditions. */
  meets(event: AlertEvent, slot: number): boolean;
  /**
   * For people, of the event that has just met the conditions. It may become the subject of a mail, so it names
   * no actor, no address and nothing else of the event but its country.
   */
  reason(event: AlertEvent): string;
  /** The actor in the slot is forgotten. */
  forget(slot: number): void;
  /** Gives back what it has of the pool. */
  forgetAll(): void;
  /** @param placeOf what a snapshot calls the actor in a slot */
  snapshot(placeOf: (slot: number) => number): MemorySnapshot;
  /** Of a memory that is new. @param slotOf undefined for an actor that is forgotten by now */
  restore(snapshot: MemorySnapshot, slotOf: (place: number) => number | undefined): void;
}

/** Rows of numbers; what they mean only the rule of its type knows. The first of each is an actor's place, where there are actors. */
export type MemorySnapshot = number[][];

/** @param countedFrom from when on all events that fit the rule come, or came before */
export function memoryOf(rule: AlertRule, pool: NodePool, countedFrom: Micros): RuleMemory {
  switch (rule.rule_type) {
    case 'new_country':
      return newCountryMemory(rule.conditions, pool);
    case 'high_volume_destructive':
      return windowCountMemory(
        { patterns: rule.conditions.action_patterns, scope: scopeOf(rule), ...rule.conditions },
        pool,
      );
    case 'repeated_action':
      return windowCountMemory(
        { patterns: [rule.conditions.action_pattern], scope: scopeOf(rule), ...rule.conditions },
        pool,
      );
    case 'ingestion_spike':
      return spikeMemory(rule.conditions, countedFrom);
    case 'off_hours':
      return offHoursMemory(rule.conditions);
  }
}
