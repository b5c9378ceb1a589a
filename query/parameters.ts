import type { Violation } from '../core/errors.ts';
import { type Micros, parseTimestamp } from '../core/time.ts';

/**
 * Reads the parameters of one request. Every reader returns `undefined` for a parameter that is absent or
 * empty (clients send `actor_id=` for "any"), and notes a violation for one that makes no sense.
 */
export interface Parameters {
  text(name: string): string | undefined;
  wholeNumber(name: string, least: number, most: number): number | undefined;
  time(name: string): Micros | undefined;
  oneOf<Choice extends string>(name: string, choices: readonly Choice[]): Choice | undefined;
  readonly violations: Violation[];
  /** One sentence for each parameter that nobody has read: a mistyped filter must not pass in silence. */
  ignored(): string[];
}

/** Characters (code points). No stored value is longer, so a longer one could match nothing. */
const MAX_LENGTH = 1024;

/** `query` is the raw text after the `?`. */
export function readParameters(query: string): Parameters {
  const given = new URLSearchParams(query);
  const garbled = garbledNames(query);
  const known = new Set<string>();
  const violations: Violation[] = [];

  function refuse(path: string, message: string): undefined {
    violations.push({ path, message });
    return undefined;
  }

  function text(name: string): string | undefined {
    known.add(name);
    const values = given.getAll(name).filter((value) => value !== '');
    if (values.length > 1) return refuse(name, 'must be given once');
    const [value] = values;
    if (garbled.has(name)) return refuse(name, 'must be UTF-8, percent-encoded');
    if (value !== undefined && value.length > MAX_LENGTH && [...value].length > MAX_LENGTH) {
      return refuse(name, `must have at most ${MAX_LENGTH} characters`);
    }
    return value;
  }

  return {
    text,
    wholeNumber(name, least, most) {
      const value = text(name);
      if (value === undefined) return undefined;
      const number = /^\d{1,16}$/.test(value) ? Number(value) : Number.NaN;
      const inRange = Number.isSafeInteger(number) && number >= least && number <= most;
      return inRange ? number : refuse(name, `must be a whole number from ${least} to ${most}`);
    },
    time(name) {
      const value = text(name);
      if (value === undefined) return undefined;
      return (
        parseTimestamp(withPlusSign(value)) ??
        refuse(name, 'must be a time of RFC 3339, such as 2026-03-15T14:32:18Z')
      );
    },
    oneOf(name, choices) {
      const value = text(name);
      if (value === undefined) return undefined;
      return choices.find((choice) => choice === value) ?? refuse(name, `must be ${choices.join(' or ')}`);
    },
    violations,
    ignored: () =>
      [...new Set(given.keys())]
        .filter((name) => !known.has(name))
        .map((name) => `unknown parameter '${name.slice(0, 64)}' was ignored`),
  };
}

/** In a query string a `+` that was not encoded means a space, and the offset of a time often is not. */
function withPlusSign(time: string): string {
  return time.replace(/ (\d\d:\d\d)$/, '+$1');
}

/** Names of parameters whose bytes are no UTF-8: what they were meant to say would be looked for in vain. */
function garbledNames(query: string): Set<string> {
  const pairs = query
    .split('&')
    .map((pair) => [...new URLSearchParams(pair)].map(([name]) => ({ name, pair })));
  return new Set(pairs.flat().flatMap(({ name, pair }) => (isUtf8(pair) ? [] : [name])));
}

function isUtf8(encoded: string): boolean {
  try {
    decodeURIComponent(encoded.replace(/%(?![0-9a-fA-F]{2})/g, '%25')); // A bare `%` stands for itself.
    return true;
  } catch {
    return false;
  }
}
