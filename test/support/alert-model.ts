import type { AlertEvent, AlertRule } from '../../core/alerts/rule.ts';

/**
 * The alert rules as their documentation words them, slow and obvious: all events are kept, and each question is asked
 * of all of them. Shares no code with the rules.
 */

export interface Model {
  /** Ids of the rules that raise an alert. */
  evaluate(event: AlertEvent): string[];
}

export function alertModel(rules: readonly AlertRule[], countedFrom: number): Model {
  const seen: AlertEvent[] = [];
  const raised: { ruleId: string; event: AlertEvent }[] = [];

  function isCooling(rule: AlertRule, event: AlertEvent): boolean {
    return raised.some(
      (before) =>
        before.ruleId === rule.id &&
        (isOfWorkspace(rule) || before.event.actorId === event.actorId) &&
        event.createdAtMicros - before.event.createdAtMicros < rule.cooldown_minutes * 60e6,
    );
  }

  return {
    evaluate(event) {
      if (seen.some(({ seq }) => seq === event.seq)) return [];
      const ids = rules
        .filter((rule) => fits(rule, event))
        .filter((rule) =>
          meets(
            rule,
            event,
            seen.filter((earlier) => fits(rule, earlier)),
            countedFrom,
          ),
        )
        .filter((rule) => !isCooling(rule, event))
        .map(({ id }) => id);
      seen.push(event);
      for (const ruleId of ids) raised.push({ ruleId, event });
      return ids;
    },
  };
}

function isOfWorkspace(rule: AlertRule): boolean {
  return (
    rule.rule_type === 'ingestion_spike' ||
    (rule.rule_type === 'high_volume_destructive' && rule.conditions.per === 'workspace')
  );
}

function fits({ conditions }: AlertRule, { action }: AlertEvent): boolean {
  const patterns = 'action_patterns' in conditions ? conditions.action_patterns : [conditions.action_pattern];
  return patterns.some((pattern) => {
    const escaped = pattern.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replaceAll('\\*', '.*');
    return new RegExp(`^${escaped}$`, 's').test(action);
  });
}

function meets(rule: AlertRule, event: AlertEvent, earlier: AlertEvent[], countedFrom: number): boolean {
  const at = event.createdAtMicros;
  const ofActor = earlier.filter(({ actorId }) => actorId === event.actorId);
  switch (rule.rule_type) {
    case 'new_country': {
      const located = ofActor.filter(({ ipCountry }) => ipCountry !== undefined);
      if (event.ipCountry === undefined || located.length < rule.conditions.learning_events) return false;
      return !located.some(({ ipCountry }) => ipCountry === event.ipCountry);
    }
    case 'repeated_action':
    case 'high_volume_destructive': {
      const counted = isOfWorkspace(rule) ? earlier : ofActor;
      const inWindow = counted.filter(
        ({ createdAtMicros }) => at - createdAtMicros < rule.conditions.window_minutes * 60e6,
      );
      return inWindow.length + 1 >= rule.conditions.threshold;
    }
    case 'ingestion_spike':
      return isSpike(rule.conditions, at, [...earlier, event], countedFrom);
    case 'off_hours':
      return !isOpen(rule.conditions, at);
  }
}

const HOUR = 3600e6;
const DAY = 24 * HOUR;

function isSpike(
  conditions: Extract<AlertRule, { rule_type: 'ingestion_spike' }>['conditions'],
  at: number,
  events: AlertEvent[],
  countedFrom: number,
): boolean {
  const times = events.map(({ createdAtMicros }) => createdAtMicros);
  const within = (from: number, to: number) => times.filter((time) => time >= from && time < to).length;
  const window = conditions.window_minutes * 60e6;
  const second = Math.floor(at / 1e6) * 1e6;
  const volume = within(second + 1e6 - window, second + 1e6);

  const thisHour = Math.floor(at / HOUR) * HOUR;
  const weeks = [1, 2, 3, 4].map((count) => 7 * count);
  const days = [1, 2, 3, 4, 5, 6];
  const hours = (ages: number[]) =>
    ages
      .filter((age) => age <= conditions.baseline_days)
      .map((age) => thisHour - age * DAY)
      .filter((hour) => hour >= countedFrom);
  const baseline = hours(weeks).length > 0 ? hours(weeks) : hours(days);
  const volumes = baseline.flatMap((hour) => {
    const counts: number[] = [];
    for (let from = hour; from < hour + HOUR; from += window) counts.push(within(from, from + window));
    return counts;
  });
  if (volumes.length === 0) return false;
  volumes.sort((a, b) => a - b);
  const half = volumes.length / 2;
  const median = Number.isInteger(half)
    ? (volumes[half - 1]! + volumes[half]!) / 2
    : volumes[Math.floor(half)]!;
  return volume >= conditions.min_events && volume > conditions.threshold_multiplier * median;
}

const NAMES = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const;

/** Reads the wall as text, and compares texts. */
export function isOpen(
  { timezone, business_hours: hours, holidays }: Extract<AlertRule, { rule_type: 'off_hours' }>['conditions'],
  atMicros: number,
): boolean {
  const [date = '', time = ''] = wallOf(timezone)
    .format(Math.floor(atMicros / 1000))
    .split(' ');
  const dayBefore = new Date(Date.parse(`${date}T00:00:00Z`) - 86_400_000).toISOString().slice(0, 10);
  const rangesOf = (day: string) =>
    holidays.includes(day) ? [] : (hours[NAMES[new Date(`${day}T00:00:00Z`).getUTCDay()]!] ?? []);
  const now = time.slice(0, 5);
  return (
    rangesOf(date).some(([begin, end]) => begin <= now && (now < end || end <= begin)) ||
    rangesOf(dayBefore).some(([begin, end]) => end <= begin && now < end)
  );
}

const walls = new Map<string, Intl.DateTimeFormat>();

/** `2026-03-29 03:00:00`: how Swedes write it. */
function wallOf(timeZone: string): Intl.DateTimeFormat {
  const known = walls.get(timeZone);
  if (known !== undefined) return known;
  const format = new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'medium' });
  walls.set(timeZone, format);
  return format;
}
