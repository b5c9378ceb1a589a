import {
  type Check,
  type CheckMeaning,
  describeProblem,
  type Outcome,
  type Verdict,
} from '../../core/checks.ts';

/** All that is told of one thing that was verified. */
export interface Told {
  kind: 'evidence' | 'export' | 'archive' | 'log';
  /** What it is, one line each. */
  about: string[];
  verdict: Verdict;
  checks: readonly Check[];
  meanings: Readonly<Record<string, CheckMeaning>>;
  /** For programs. */
  facts: Readonly<Record<string, unknown>>;
}

/** 0 everything holds · 1 something does not · 2 nobody who is trusted vouches for it. */
export const EXIT_CODES: Readonly<Record<Verdict, 0 | 1 | 2>> = { valid: 0, invalid: 1, unknown_signer: 2 };

const MARKS: Readonly<Record<Outcome, string>> = {
  passed: '✓',
  failed: '✗',
  skipped: '–',
  unknown_signer: '?',
};

const CLOSINGS: Readonly<Record<Verdict, string>> = {
  valid: '✓ Everything holds.',
  invalid: '✗ Not valid: this is not what was recorded, or not all of it.',
  unknown_signer: '? Unknown signer: nobody whom you trust vouches for all of this.',
};

/** For a person: each check by its name, what a pass proves or what is wrong, and what remains unproven. */
export function describeTold({ about, verdict, checks, meanings }: Told): string {
  const width = Math.max(...checks.map(({ name }) => name.length));
  const lines = checks.flatMap((check) => describeCheck(check, meanings[check.name], width));
  const passed = checks.filter(({ outcome }) => outcome === 'passed').map(({ name }) => name);
  const unproven = passed
    .flatMap((name) => meanings[name] ?? [])
    .filter(({ notUnless }) => notUnless === undefined || !passed.includes(notUnless))
    .flatMap(({ not }) => not ?? []);
  return [
    ...about.map(shown),
    '',
    ...lines,
    ...(unproven.length === 0 ? [] : ['', 'It does not show:', ...unproven.map((line) => `  · ${line}`)]),
    '',
    CLOSINGS[verdict],
  ].join('\n');
}

function describeCheck(check: Check, meaning: CheckMeaning | undefined, width: number): string[] {
  const texts = textsOf(check, meaning);
  return texts.map((text, index) =>
    index === 0
      ? `${MARKS[check.outcome]} ${check.name.padEnd(width)}  ${shown(text)}`
      : `${' '.repeat(width + 4)}${shown(text)}`,
  );
}

function textsOf({ outcome, detail, problems }: Check, meaning: CheckMeaning | undefined): string[] {
  if (problems !== undefined) return problems.map(describeProblem);
  if (outcome !== 'passed') return [detail ?? ''];
  return detail === undefined ? [meaning?.proves ?? ''] : [meaning?.proves ?? '', detail];
}

/** For a program. */
export function toldAsJson({ kind, verdict, checks, meanings, facts }: Told): string {
  return JSON.stringify({
    kind,
    verdict,
    ...facts,
    checks: checks.map((check) => ({ ...check, proves: meanings[check.name]?.proves })),
  });
}

const MAX_LENGTH = 300;

/** What comes from a file that nobody vouches for must not give orders to the terminal. */
function shown(text: string): string {
  const cut = text.length <= MAX_LENGTH ? text : `${text.slice(0, MAX_LENGTH)}…`;
  return cut.replaceAll(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, (character) => {
    return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
  });
}
