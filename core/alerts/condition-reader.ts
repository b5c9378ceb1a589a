import { addViolation, type Findings, memberPath } from '../findings.ts';
import { isJsonObject, type JsonObject } from '../json.ts';
import { ILL_FORMED } from '../keepable.ts';
import { type BusinessHours, dayNumber, minuteOfDay, type TimeRange, WEEKDAYS } from './business-hours.ts';
import { isTimeZone } from './time-zone.ts';

/**
 * Reads the members of one object of conditions. Each reader returns its default for a member that is absent or null,
 * and any value of its type beside a violation for one that cannot be.
 */
export interface ConditionReader {
  pattern(name: string, whenAbsent?: string): string;
  patterns(name: string, whenAbsent: readonly string[]): string[];
  wholeNumber(name: string, range: NumberRange): number;
  number(name: string, range: NumberRange): number;
  oneOf<Choice extends string | number>(name: string, choices: readonly Choice[], whenAbsent: Choice): Choice;
  timeZone(name: string): string;
  businessHours(name: string): BusinessHours;
  dates(name: string): string[];
  /** The names that were asked for. */
  readonly known: ReadonlySet<string>;
}

interface NumberRange {
  least: number;
  most: number;
  whenAbsent: number;
}

const MAX_PATTERNS = 20;
const MAX_PATTERN_LENGTH = 255;
const MAX_HOLIDAYS = 400;
const MAX_RANGES_A_DAY = 8;

export function readConditions(members: JsonObject, findings: Findings): ConditionReader {
  const known = new Set<string>();

  /** Undefined for a member without a value. */
  function memberOf(name: string): unknown {
    known.add(name);
    return Object.hasOwn(members, name) ? (members[name] ?? undefined) : undefined;
  }

  const refuse = (path: string, message: string) => addViolation(findings, path, message);

  function numberIn(name: string, { least, most, whenAbsent }: NumberRange, isWhole: boolean): number {
    const value = memberOf(name) ?? whenAbsent;
    const isNumber = typeof value === 'number' && (!isWhole || Number.isInteger(value));
    if (isNumber && value >= least && value <= most) return value;
    refuse(name, `must be a ${isWhole ? 'whole ' : ''}number from ${least} to ${most}`);
    return whenAbsent;
  }

  return {
    known,
    pattern(name, whenAbsent) {
      const value = memberOf(name) ?? whenAbsent;
      if (value === undefined) refuse(name, `is required: ${PATTERN_FORM}`);
      else return readPattern(value, name, findings);
      return '';
    },
    patterns(name, whenAbsent) {
      const value = memberOf(name) ?? whenAbsent;
      if (Array.isArray(value) && value.length > 0 && value.length <= MAX_PATTERNS) {
        return value.map((one, index) => readPattern(one, memberPath(name, index), findings));
      }
      refuse(name, `must be a list of 1 to ${MAX_PATTERNS} actions or patterns, such as ["*.deleted"]`);
      return [];
    },
    wholeNumber: (name, range) => numberIn(name, range, true),
    number: (name, range) => numberIn(name, range, false),
    oneOf(name, choices, whenAbsent) {
      const value = memberOf(name) ?? whenAbsent;
      const choice = choices.find((one) => one === value);
      if (choice === undefined) refuse(name, `must be one of ${choices.join(', ')}`);
      return choice ?? whenAbsent;
    },
    timeZone(name) {
      const value = memberOf(name);
      if (typeof value === 'string' && isTimeZone(value)) return value;
      refuse(name, `${value === undefined ? 'is required: ' : 'must be '}${TIME_ZONE_FORM}`);
      return 'UTC';
    },
    businessHours(name) {
      const value = memberOf(name);
      if (isJsonObject(value)) return readBusinessHours(value, name, findings);
      refuse(name, `${value === undefined ? 'is required: ' : 'must be '}${BUSINESS_HOURS_FORM}`);
      return {};
    },
    dates(name) {
      const value = memberOf(name) ?? [];
      if (!Array.isArray(value) || value.length > MAX_HOLIDAYS) {
        refuse(name, `must be a list of at most ${MAX_HOLIDAYS} dates, such as ["2026-12-25"]`);
        return [];
      }
      for (const [index, date] of value.entries()) {
        const isDate = typeof date === 'string' && dayNumber(date) !== null;
        if (!isDate) refuse(memberPath(name, index), 'must be a date of the calendar, such as 2026-12-25');
      }
      return value.filter((date) => typeof date === 'string');
    },
  };
}

const PATTERN_FORM =
  'an action, or a pattern with * for any run of characters, such as document.* or *.deleted';
const TIME_ZONE_FORM = 'a time zone of the IANA database, such as Europe/Berlin';
const BUSINESS_HOURS_FORM =
  'an object such as {"mon":[["09:00","18:00"]],"tue":[["09:00","18:00"]]}, in which a day that is missing is closed';
const RANGE_FORM = 'two times such as ["09:00","18:00"]; one such as ["22:00","06:00"] ends on the next day';

function readPattern(value: unknown, path: string, findings: Findings): string {
  if (typeof value !== 'string' || value === '') addViolation(findings, path, `must be ${PATTERN_FORM}`);
  else if (!value.isWellFormed()) addViolation(findings, path, ILL_FORMED);
  else if ([...value].length > MAX_PATTERN_LENGTH)
    addViolation(findings, path, `is longer than ${MAX_PATTERN_LENGTH} characters`);
  else return value;
  return '';
}

function readBusinessHours(members: JsonObject, path: string, findings: Findings): BusinessHours {
  const hours: BusinessHours = {};
  for (const name of Object.keys(members)) {
    const day = WEEKDAYS.find((weekday) => weekday === name);
    if (day === undefined) {
      addViolation(findings, memberPath(path, name), `is no day; days are ${WEEKDAYS.join(', ')}`);
    } else {
      hours[day] = readRanges(members[name], memberPath(path, day), findings);
    }
  }
  if (Object.values(members).every((ranges) => Array.isArray(ranges) && ranges.length === 0)) {
    addViolation(
      findings,
      path,
      `is never open, so that every event is an alert: give ${BUSINESS_HOURS_FORM}`,
    );
  }
  return hours;
}

function readRanges(value: unknown, path: string, findings: Findings): TimeRange[] {
  if (Array.isArray(value) && value.length <= MAX_RANGES_A_DAY) {
    return value.flatMap((range, index) => readRange(range, memberPath(path, index), findings));
  }
  addViolation(
    findings,
    path,
    `must be a list of at most ${MAX_RANGES_A_DAY} ranges, such as [["09:00","18:00"]]`,
  );
  return [];
}

function readRange(value: unknown, path: string, findings: Findings): TimeRange[] {
  const [begin, end]: unknown[] = Array.isArray(value) && value.length === 2 ? value : [];
  const isRange =
    typeof begin === 'string' &&
    typeof end === 'string' &&
    minuteOfDay(begin) !== null &&
    minuteOfDay(end) !== null &&
    begin !== '24:00';
  if (!isRange) addViolation(findings, path, `must be ${RANGE_FORM}`);
  else if (begin === end)
    addViolation(findings, path, 'begins when it ends; the whole day is ["00:00","24:00"]');
  else return [[begin, end]];
  return [];
}
