import type { Hasher } from '../hash.ts';
import { uuidV8 } from '../id.ts';
import { MICROS_PER_MINUTE, type Micros } from '../time.ts';
import type { BusinessHours } from './business-hours.ts';

/** What every alert rule is made of. Members of conditions are spelt as in the API. */

export const RULE_TYPES = [
  'new_country',
  'high_volume_destructive',
  'ingestion_spike',
  'repeated_action',
  'off_hours',
] as const;
export type RuleType = (typeof RULE_TYPES)[number];

/** Of which what is counted, and what a cooldown holds for. */
export const SCOPES = ['actor', 'workspace'] as const;
export type Scope = (typeof SCOPES)[number];

export interface ConditionsOf {
  new_country: {
    action_pattern: string;
    /** How many of an actor's first events only teach where it acts from. */
    learning_events: number;
  };
  high_volume_destructive: {
    action_patterns: string[];
    threshold: number;
    window_minutes: number;
    per: Scope;
  };
  ingestion_spike: {
    action_pattern: string;
    threshold_multiplier: number;
    /** Divides an hour. */
    window_minutes: number;
    baseline_days: number;
    min_events: number;
  };
  repeated_action: { action_pattern: string; threshold: number; window_minutes: number };
  off_hours: {
    action_pattern: string;
    /** A name of the IANA database. */
    timezone: string;
    business_hours: BusinessHours;
    /** Dates, `YYYY-MM-DD`, in that time zone. */
    holidays: string[];
  };
}

export type AlertRule<Of extends RuleType = RuleType> = {
  [Type in Of]: {
    id: string;
    rule_type: Type;
    conditions: ConditionsOf[Type];
    cooldown_minutes: number;
  };
}[Of];

export const DEFAULT_COOLDOWN_MINUTES = 60;

/** What the rules look at in an event. Within a workspace `seq` and `createdAtMicros` both rise. */
export interface AlertEvent {
  id: string;
  seq: number;
  createdAtMicros: Micros;
  action: string;
  actorId: string;
  /** ISO 3166-1 alpha-2. */
  ipCountry: string | undefined;
}

/** Whether the rule looks at each actor by itself, and so its cooldown holds for that actor alone. */
export function scopeOf(rule: AlertRule): Scope {
  switch (rule.rule_type) {
    case 'high_volume_destructive':
      return rule.conditions.per;
    case 'ingestion_spike':
      return 'workspace';
    default:
      return 'actor';
  }
}

export function patternsOf(rule: AlertRule): readonly string[] {
  return rule.rule_type === 'high_volume_destructive'
    ? rule.conditions.action_patterns
    : [rule.conditions.action_pattern];
}

/**
 * How far behind the newest event those reach that still count for the next one. A state that was given them all is
 * as good as one that never stopped, but for cooldowns, which are in the alerts that were raised. Infinity: all that
 * are kept.
 */
export function lookBackMicros(rule: AlertRule): Micros {
  switch (rule.rule_type) {
    case 'new_country':
      return Number.POSITIVE_INFINITY;
    case 'high_volume_destructive':
    case 'repeated_action':
      return rule.conditions.window_minutes * MICROS_PER_MINUTE;
    case 'ingestion_spike':
      // The hour that began so many days ago is needed from its beginning.
      return (rule.conditions.baseline_days * 24 + 1) * 60 * MICROS_PER_MINUTE;
    case 'off_hours':
      return 0;
  }
}

/** The same for the same rule and event: however often the event comes, and wherever, it raises one alert. */
export function alertId(ruleId: string, eventId: string, hasher: Hasher): string {
  return `alt_${uuidV8(hasher.hex(`imk/alert/v1\n${ruleId}\n${eventId}`))}`;
}
