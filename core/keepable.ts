import { addViolation, type Findings, memberPath } from './findings.ts';
import { isJsonObject, type JsonObject } from './json.ts';

/** The two ways in which parsed JSON can hold what canonical JSON cannot give back. */
export const ILL_FORMED = 'holds half of a surrogate pair, which is no character';
const INEXACT = 'is beyond ±9007199254740991, where numbers are no longer exact: send it as a string';

/**
 * Reports every string, number and level of nesting in `object` that could not be kept unchanged.
 * @param levels how many levels of objects and arrays are allowed, `object` being the first
 * @returns an upper bound of the bytes of its canonical JSON, cheap to find; without meaning after a violation
 */
export function checkKeepable(object: JsonObject, path: string, levels: number, findings: Findings): number {
  let bytes = 2;
  for (const name of Object.keys(object)) {
    if (!name.isWellFormed()) addViolation(findings, memberPath(path, name), `its name ${ILL_FORMED}`);
    bytes += maxStringBytes(name) + 2 + checkValue(object[name], path, name, levels, findings);
  }
  return bytes;
}

function checkArray(array: readonly unknown[], path: string, levels: number, findings: Findings): number {
  let bytes = 2;
  for (let index = 0; index < array.length; index += 1) {
    bytes += 1 + checkValue(array[index], path, index, levels, findings);
  }
  return bytes;
}

const MAX_NUMBER_BYTES = 25;
const MAX_LITERAL_BYTES = 5;

function checkValue(
  value: unknown,
  parent: string,
  member: string | number,
  levels: number,
  findings: Findings,
): number {
  if (typeof value === 'string') {
    if (!value.isWellFormed()) addViolation(findings, memberPath(parent, member), ILL_FORMED);
    return maxStringBytes(value);
  }
  if (typeof value === 'number') {
    // No double beyond the safe integers has a fraction, and infinity is what an overflowing number parses to.
    if (!(Math.abs(value) <= Number.MAX_SAFE_INTEGER))
      addViolation(findings, memberPath(parent, member), INEXACT);
    return MAX_NUMBER_BYTES;
  }
  if (typeof value === 'boolean' || value === null) return MAX_LITERAL_BYTES;
  const path = memberPath(parent, member);
  if (levels === 1) return refuse(findings, path, 'is nested too deep');
  if (Array.isArray(value)) return checkArray(value, path, levels - 1, findings);
  if (isJsonObject(value)) return checkKeepable(value, path, levels - 1, findings);
  return refuse(findings, path, 'is no JSON value');
}

function refuse(findings: Findings, path: string, message: string): number {
  addViolation(findings, path, message);
  return 0;
}

/** Quotes, and six bytes (`\u0000`) for any UTF-16 unit. */
function maxStringBytes(text: string): number {
  return 2 + 6 * text.length;
}
