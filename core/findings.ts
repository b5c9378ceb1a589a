import type { Violation } from './errors.ts';

/** What the checks of one event found. Bounded, so that an answer stays small whatever comes in. */
export interface Findings {
  readonly violations: Violation[];
  readonly warnings: string[];
  unlistedViolations: number;
  unlistedWarnings: number;
}

const MAX_LISTED = 20;
const MAX_NAME_LENGTH = 64;

export function noFindings(): Findings {
  return { violations: [], warnings: [], unlistedViolations: 0, unlistedWarnings: 0 };
}

export function addViolation(findings: Findings, path: string, message: string): void {
  if (findings.violations.length < MAX_LISTED) findings.violations.push({ path, message });
  else findings.unlistedViolations += 1;
}

export function addWarning(findings: Findings, warning: string): void {
  if (findings.warnings.length < MAX_LISTED) findings.warnings.push(warning);
  else findings.unlistedWarnings += 1;
}

/** The violations, ended by one that counts those beyond the twentieth. */
export function listViolations({ violations, unlistedViolations }: Findings): Violation[] {
  if (unlistedViolations === 0) return violations;
  return [...violations, { path: '', message: `and ${unlistedViolations} more` }];
}

/** The warnings, ended by one that counts those beyond the twentieth. */
export function listWarnings({ warnings, unlistedWarnings }: Findings): string[] {
  return unlistedWarnings === 0 ? warnings : [...warnings, `and ${unlistedWarnings} more`];
}

const PLAIN_NAME = /^[A-Za-z_$][\w$]*$/;

/** `metadata.size`, `targets[0]`, `metadata["two words"]`; long names are cut, the whole is well-formed text. */
export function memberPath(parent: string, member: string | number): string {
  if (typeof member === 'number') return `${parent}[${member}]`;
  const name = shorten(member);
  if (!PLAIN_NAME.test(name)) return `${parent}[${JSON.stringify(name)}]`;
  return parent === '' ? name : `${parent}.${name}`;
}

export function shorten(name: string): string {
  return name.length <= MAX_NAME_LENGTH
    ? name.toWellFormed()
    : `${name.slice(0, MAX_NAME_LENGTH).toWellFormed()}…`;
}
