import type { Violation } from '../errors.ts';
import { addViolation, listViolations, memberPath, noFindings } from '../findings.ts';
import { isJsonObject } from '../json.ts';
import { type ConditionReader, readConditions } from './condition-reader.ts';
import { type ConditionsOf, type RuleType, SCOPES } from './rule.ts';

export type ParsedConditions<Type extends RuleType> =
  | { ok: true; conditions: ConditionsOf[Type] }
  | { ok: false; violations: Violation[] };

/**
 * Checks the `conditions` of a rule and fills in what was left out; null and nothing at all are `{}`. A member that
 * is unknown is refused: a mistyped threshold would otherwise be a default that nobody chose.
 */
export function parseConditions<Type extends RuleType>(
  ruleType: Type,
  input: unknown,
): ParsedConditions<Type> {
  const members = input ?? {};
  if (!isJsonObject(members)) {
    return { ok: false, violations: [{ path: '', message: 'must be a JSON object' }] };
  }
  const findings = noFindings();
  const reader = readConditions(members, findings);
  const conditions = READERS[ruleType](reader);
  for (const name of Object.keys(members)) {
    if (!reader.known.has(name)) {
      const known = [...reader.known].join(', ');
      addViolation(findings, memberPath('', name), `is no condition of ${ruleType}; these are: ${known}`);
    }
  }
  const violations = listViolations(findings);
  return violations.length > 0 ? { ok: false, violations } : { ok: true, conditions };
}

const DESTRUCTIVE = ['*.deleted', '*.removed', '*.destroyed', '*.purged'];

const SLIDING_WINDOW = { least: 1, most: 1_440, whenAbsent: 5 };
const MOST_COUNTED = 10_000;
/** Minutes that divide an hour, so that each hour is made of the same windows. */
const PARTS_OF_AN_HOUR = [1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60];

const READERS: { [Type in RuleType]: (reader: ConditionReader) => ConditionsOf[Type] } = {
  new_country: (reader) => ({
    action_pattern: reader.pattern('action_pattern', '*'),
    learning_events: reader.wholeNumber('learning_events', { least: 1, most: 1_000, whenAbsent: 1 }),
  }),
  high_volume_destructive: (reader) => ({
    action_patterns: reader.patterns('action_patterns', DESTRUCTIVE),
    threshold: reader.wholeNumber('threshold', { least: 1, most: MOST_COUNTED, whenAbsent: 20 }),
    window_minutes: reader.wholeNumber('window_minutes', SLIDING_WINDOW),
    per: reader.oneOf('per', SCOPES, 'actor'),
  }),
  ingestion_spike: (reader) => ({
    action_pattern: reader.pattern('action_pattern', '*'),
    threshold_multiplier: reader.number('threshold_multiplier', { least: 1, most: 1_000, whenAbsent: 3 }),
    window_minutes: reader.oneOf('window_minutes', PARTS_OF_AN_HOUR, 5),
    baseline_days: reader.wholeNumber('baseline_days', { least: 1, most: 28, whenAbsent: 7 }),
    min_events: reader.wholeNumber('min_events', { least: 1, most: 1_000_000, whenAbsent: 100 }),
  }),
  repeated_action: (reader) => ({
    action_pattern: reader.pattern('action_pattern'),
    threshold: reader.wholeNumber('threshold', { least: 1, most: MOST_COUNTED, whenAbsent: 10 }),
    window_minutes: reader.wholeNumber('window_minutes', SLIDING_WINDOW),
  }),
  off_hours: (reader) => ({
    action_pattern: reader.pattern('action_pattern', '*'),
    timezone: reader.timeZone('timezone'),
    business_hours: reader.businessHours('business_hours'),
    holidays: reader.dates('holidays'),
  }),
};
