import { describe, expect, it } from 'vitest';
import { parseConditions } from './conditions.ts';
import type { RuleType } from './rule.ts';

const HOURS = { mon: [['09:00', '18:00']] };
const OFF_HOURS = { timezone: 'Europe/Berlin', business_hours: HOURS };

describe('parseConditions', () => {
  it.each<[RuleType, unknown, object]>([
    ['new_country', {}, { action_pattern: '*', learning_events: 1 }],
    [
      'high_volume_destructive',
      null,
      {
        action_patterns: ['*.deleted', '*.removed', '*.destroyed', '*.purged'],
        threshold: 20,
        window_minutes: 5,
        per: 'actor',
      },
    ],
    [
      'ingestion_spike',
      undefined,
      {
        action_pattern: '*',
        threshold_multiplier: 3,
        window_minutes: 5,
        baseline_days: 7,
        min_events: 100,
      },
    ],
    [
      'repeated_action',
      { action_pattern: 'config.changed' },
      { action_pattern: 'config.changed', threshold: 10, window_minutes: 5 },
    ],
    ['off_hours', OFF_HOURS, { action_pattern: '*', ...OFF_HOURS, holidays: [] }],
  ])('fills in what %s leaves out', (type, input, conditions) => {
    expect(parseConditions(type, input)).toEqual({ ok: true, conditions });
  });

  it('takes the rules that the guides show', () => {
    expect(
      parseConditions('ingestion_spike', { action_pattern: 'deployment.*', threshold_multiplier: 3 }).ok,
    ).toBe(true);
    expect(
      parseConditions('repeated_action', {
        action_pattern: 'config.changed',
        threshold: 10,
        window_minutes: 5,
      }).ok,
    ).toBe(true);
  });

  it('keeps what is given', () => {
    const conditions = {
      action_pattern: '*.exported',
      timezone: 'Asia/Kathmandu',
      business_hours: { sun: [['00:00', '24:00']], fri: [['22:00', '06:00']], sat: [] },
      holidays: ['2028-02-29'],
    };
    expect(parseConditions('off_hours', conditions)).toEqual({ ok: true, conditions });
  });

  const range =
    'must be two times such as ["09:00","18:00"]; one such as ["22:00","06:00"] ends on the next day';
  it.each<[RuleType, unknown, string, string]>([
    ['new_country', [], '', 'must be a JSON object'],
    ['new_country', 'x', '', 'must be a JSON object'],
    ['new_country', { learning_events: 0 }, 'learning_events', 'must be a whole number from 1 to 1000'],
    ['new_country', { learning_events: 1.5 }, 'learning_events', 'must be a whole number from 1 to 1000'],
    ['new_country', { learning_events: '1' }, 'learning_events', 'must be a whole number from 1 to 1000'],
    [
      'new_country',
      { threshhold: 3 },
      'threshhold',
      'is no condition of new_country; these are: action_pattern, learning_events',
    ],
    [
      'new_country',
      JSON.parse('{"__proto__":{}}'),
      '__proto__',
      'is no condition of new_country; these are: action_pattern, learning_events',
    ],
    [
      'new_country',
      { action_pattern: '' },
      'action_pattern',
      'must be an action, or a pattern with * for any run of characters, such as document.* or *.deleted',
    ],
    ['new_country', { action_pattern: 'ä'.repeat(256) }, 'action_pattern', 'is longer than 255 characters'],
    [
      'repeated_action',
      {},
      'action_pattern',
      'is required: an action, or a pattern with * for any run of characters, such as document.* or *.deleted',
    ],
    [
      'high_volume_destructive',
      { action_patterns: [] },
      'action_patterns',
      'must be a list of 1 to 20 actions or patterns, such as ["*.deleted"]',
    ],
    [
      'high_volume_destructive',
      { action_patterns: ['a', 7] },
      'action_patterns[1]',
      'must be an action, or a pattern with * for any run of characters, such as document.* or *.deleted',
    ],
    ['high_volume_destructive', { per: 'tenant' }, 'per', 'must be one of actor, workspace'],
    [
      'high_volume_destructive',
      { window_minutes: 1_441 },
      'window_minutes',
      'must be a whole number from 1 to 1440',
    ],
    [
      'ingestion_spike',
      { window_minutes: 7 },
      'window_minutes',
      'must be one of 1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60',
    ],
    [
      'ingestion_spike',
      { threshold_multiplier: Number.NaN },
      'threshold_multiplier',
      'must be a number from 1 to 1000',
    ],
    [
      'off_hours',
      { ...OFF_HOURS, timezone: 'Mars/Olympus' },
      'timezone',
      'must be a time zone of the IANA database, such as Europe/Berlin',
    ],
    [
      'off_hours',
      { ...OFF_HOURS, timezone: '+01:00' },
      'timezone',
      'must be a time zone of the IANA database, such as Europe/Berlin',
    ],
    [
      'off_hours',
      { business_hours: HOURS },
      'timezone',
      'is required: a time zone of the IANA database, such as Europe/Berlin',
    ],
    [
      'off_hours',
      { ...OFF_HOURS, business_hours: { Monday: [['09:00', '18:00']] } },
      'business_hours.Monday',
      'is no day; days are mon, tue, wed, thu, fri, sat, sun',
    ],
    ['off_hours', { ...OFF_HOURS, business_hours: { mon: ['09:00-18:00'] } }, 'business_hours.mon[0]', range],
    [
      'off_hours',
      { ...OFF_HOURS, business_hours: { mon: [['9:00', '18:00']] } },
      'business_hours.mon[0]',
      range,
    ],
    [
      'off_hours',
      { ...OFF_HOURS, business_hours: { mon: [['09:00', '24:01']] } },
      'business_hours.mon[0]',
      range,
    ],
    [
      'off_hours',
      { ...OFF_HOURS, business_hours: { mon: [['24:00', '06:00']] } },
      'business_hours.mon[0]',
      range,
    ],
    [
      'off_hours',
      { ...OFF_HOURS, business_hours: { mon: [['09:00', '09:00']] } },
      'business_hours.mon[0]',
      'begins when it ends; the whole day is ["00:00","24:00"]',
    ],
    [
      'off_hours',
      { ...OFF_HOURS, holidays: ['2026-02-29'] },
      'holidays[0]',
      'must be a date of the calendar, such as 2026-12-25',
    ],
  ])('%s %j', (type, input, path, message) => {
    expect(parseConditions(type, input)).toEqual({ ok: false, violations: [{ path, message }] });
  });

  it('refuses hours that are never open', () => {
    for (const business_hours of [{}, { mon: [] }]) {
      const parsed = parseConditions('off_hours', { ...OFF_HOURS, business_hours });
      expect(parsed).toMatchObject({ ok: false, violations: [{ path: 'business_hours' }] });
    }
  });

  it('names each thing that is wrong, and not endlessly many', () => {
    const parsed = parseConditions(
      'repeated_action',
      Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`unknown${index}`, 1])),
    );
    expect(parsed.ok ? [] : parsed.violations).toHaveLength(21);
  });
});
