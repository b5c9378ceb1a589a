import { utf8Length } from './bytes.ts';
import { ImmutableError } from './errors.ts';

export type JsonObject = { [member: string]: unknown };

/** Far deeper than anything accepted, far from the end of the stack. */
const MAX_DEPTH = 512;

/**
 * The one spelling of a JSON value: RFC 8785 (JCS). Members whose value is `undefined` are left out.
 * Throws `validation_failed` for what JSON cannot carry unchanged (a lone surrogate, a number that is not
 * finite, a value of no JSON type) and for nesting deeper than 512.
 */
export function canonicalJson(value: unknown): string {
  return serialise(value, 0);
}

/** Whether a parsed JSON value is an object: no array, not null. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Whether some object of a JSON text names a member twice: one program would then read the first value, another
 * the last. `value` is what `JSON.parse` makes of `text`: it has fewer members than the text has names.
 */
export function hasTwins(text: string, value: unknown): boolean {
  const members = membersOf(value);
  // Nearly always the quick count is enough: it takes an eighth of the time.
  return mostNamesIn(text) > members && namesIn(text) > members;
}

/** Not fewer than there are: a quote and a colon may also stand within a string. */
function mostNamesIn(text: string): number {
  let names = 0;
  for (let at = text.indexOf(':'); at !== -1; at = text.indexOf(':', at + 1)) {
    const before = text.charCodeAt(at - 1);
    if (before === QUOTE) names += 1;
    else if (before <= SPACE) return Number.POSITIVE_INFINITY; // blanks between a name and its colon
  }
  return names;
}

/** How many strings of a JSON text are names of members: only these are followed by a colon. */
function namesIn(text: string): number {
  let names = 0;
  for (let start = text.indexOf('"'); start !== -1; ) {
    const end = endOfString(text, start);
    if (isName(text, end)) names += 1;
    start = text.indexOf('"', end);
  }
  return names;
}

/** Of all objects within, however deep. */
function membersOf(value: unknown): number {
  let members = 0;
  const open: unknown[] = [value];
  while (open.length > 0) {
    const next = open.pop();
    if (!isJsonObject(next)) {
      if (Array.isArray(next)) for (const inner of next) if (isNested(inner)) open.push(inner);
      continue;
    }
    for (const name in next) {
      members += 1;
      const inner = next[name];
      if (isNested(inner)) open.push(inner);
    }
  }
  return members;
}

function isNested(value: unknown): boolean {
  return typeof value === 'object' && value !== null;
}

const SPACE = 32;
const QUOTE = 34;
const BACKSLASH = 92;

/** Behind the closing quote of the string that begins at `start`. */
function endOfString(text: string, start: number): number {
  for (let at = text.indexOf('"', start + 1); at !== -1; at = text.indexOf('"', at + 1)) {
    let backslashes = 0;
    while (text.charCodeAt(at - 1 - backslashes) === BACKSLASH) backslashes += 1;
    if (backslashes % 2 === 0) return at + 1;
  }
  return text.length;
}

/** Whether the string that ends here is the name of a member rather than a value. */
function isName(text: string, end: number): boolean {
  let at = end;
  while (' \t\n\r'.includes(text[at] ?? 'x')) at += 1;
  return text[at] === ':';
}

function serialise(value: unknown, depth: number): string {
  if (typeof value === 'string') return canonicalString(value);
  if (typeof value === 'number') return canonicalNumber(value);
  if (typeof value === 'boolean') return value ? 'true' : 'false';
  if (value === null) return 'null';
  if (depth === MAX_DEPTH) throw unserialisable(`nesting deeper than ${MAX_DEPTH}`);
  if (Array.isArray(value)) return serialiseArray(value, depth + 1);
  if (isJsonObject(value)) return serialiseObject(value, depth + 1);
  throw unserialisable(`a value of type ${typeof value}`);
}

function serialiseArray(array: readonly unknown[], depth: number): string {
  let text = '[';
  for (let index = 0; index < array.length; index += 1) {
    if (index > 0) text += ',';
    text += serialise(array[index], depth);
  }
  return `${text}]`;
}

function serialiseObject(object: JsonObject, depth: number): string {
  let text = '';
  for (const name of sortByUtf16(Object.keys(object))) {
    const value = object[name];
    if (value !== undefined) text += (text === '' ? '{' : ',') + memberLabel(name) + serialise(value, depth);
  }
  return text === '' ? '{}' : `${text}}`;
}

/** Labels of names seen lately: the events of a workspace use the same few again and again. */
const labels = new Map<string, string>();
const MAX_LABELS = 4096;
const MAX_KEPT_NAME_LENGTH = 64;

/** `"name":` */
function memberLabel(name: string): string {
  const kept = labels.get(name);
  if (kept !== undefined) return kept;
  const label = `${canonicalString(name)}:`;
  if (labels.size === MAX_LABELS) labels.clear();
  if (name.length <= MAX_KEPT_NAME_LENGTH) labels.set(name, label);
  return label;
}

/** Matches what a JSON string must escape, `"`, `\\` and everything below the space, and any surrogate. */
const NEEDS_CARE = /[^ !#-[\]-\ud7ff\ue000-\uffff]/;

/** RFC 8785 §3.2.2.2; ECMAScript's own escapes are the ones it asks for. */
export function canonicalString(text: string): string {
  if (!NEEDS_CARE.test(text)) return `"${text}"`;
  if (!text.isWellFormed()) throw unserialisable('a lone surrogate');
  return JSON.stringify(text);
}

/** RFC 8785 §3.2.2.3; ECMAScript's own spelling is the one it asks for. */
function canonicalNumber(value: number): string {
  if (!Number.isFinite(value)) throw unserialisable(`the number ${value}`);
  return `${value}`;
}

/** RFC 8785 §3.2.3: by UTF-16 code units, which is how ECMAScript compares strings. Sorts in place. */
function sortByUtf16(names: string[]): string[] {
  return names.length > 32 ? names.sort() : insertionSort(names);
}

/** Three times as fast as the built-in sort on the handful of members an object usually has. */
function insertionSort(names: string[]): string[] {
  for (let index = 1; index < names.length; index += 1) {
    const name = names[index] ?? '';
    let place = index;
    for (let before = names[place - 1]; before !== undefined && before > name; before = names[place - 1]) {
      names[place] = before;
      place -= 1;
    }
    names[place] = name;
  }
  return names;
}

function unserialisable(what: string): ImmutableError {
  return new ImmutableError('validation_failed', `canonical JSON cannot hold ${what}`);
}

/** The UTF-8 length of `canonicalJson(value)`, found without making it; `value` must be one it accepts. */
export function canonicalSize(value: unknown): number {
  if (typeof value === 'string') return stringSize(value);
  if (Array.isArray(value)) return listSize(value.map(canonicalSize));
  if (isJsonObject(value)) {
    return listSize(Object.keys(value).map((name) => stringSize(name) + 1 + canonicalSize(value[name])));
  }
  return `${value}`.length;
}

function listSize(elementSizes: number[]): number {
  const commas = Math.max(0, elementSizes.length - 1);
  return elementSizes.reduce((total, size) => total + size, 2 + commas);
}

function stringSize(text: string): number {
  let size = 2 + utf8Length(text);
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code === 0x22 || code === 0x5c) size += 1;
    else if (code < 0x20) size += HAS_SHORT_ESCAPE.has(code) ? 1 : 5;
  }
  return size;
}

/** `\b \t \n \f \r`; any other control character becomes `\u00xx`. */
const HAS_SHORT_ESCAPE: ReadonlySet<number> = new Set([8, 9, 10, 12, 13]);
