/** How anything that is verified is told: check by check, each by its name. */

/** `unknown_signer`: nothing is wrong in itself, but nobody whom the caller trusts vouches for it. */
export type Outcome = 'passed' | 'failed' | 'skipped' | 'unknown_signer';

export interface Check<Name extends string = string> {
  name: Name;
  outcome: Outcome;
  /** Why it failed or was skipped, or what stands out although it passed. */
  detail?: string;
  /** Where a check looks at many events: what is wrong and where, the first twenty. */
  problems?: Problem[];
}

export interface Problem {
  /** Of the event concerned, where there is one. */
  seq?: number;
  detail: string;
}

export type Verdict = 'valid' | 'invalid' | 'unknown_signer';

export interface Report<Name extends string = string> {
  verdict: Verdict;
  /** In the order in which they are told. */
  checks: Check<Name>[];
}

/** What a check means: what follows if it passes, and where that ends. */
export interface CheckMeaning {
  proves: string;
  /** What one could take it for, but must not. */
  not?: string;
  /** The check that shows just that, where it was made and has passed. */
  notUnless?: string;
}

export type CheckMeanings<Name extends string> = Readonly<Record<Name, CheckMeaning>>;

export function verdictOf(checks: readonly Check[]): Verdict {
  if (checks.some((check) => check.outcome === 'failed')) return 'invalid';
  return checks.some((check) => check.outcome === 'unknown_signer') ? 'unknown_signer' : 'valid';
}

const MAX_PROBLEMS = 20;

interface FoundSoFar {
  outcome: Outcome;
  detail: string | undefined;
  problems: Problem[];
  /** Of all problems. */
  count: number;
}

/** Gathers what checks of many events find, in memory that does not grow with them. */
export interface Tally<Name extends string> {
  problem(name: Name, detail: string, seq?: number): void;
  /** Says more of a check, whatever becomes of it. */
  remark(name: Name, detail: string): void;
  /** For a check that could not be made. A problem found nevertheless counts. */
  skip(name: Name, why: string): void;
  /** The outcome of a check that is made in one go. */
  settle(name: Name, outcome: Outcome, detail?: string): void;
  hasProblems(): boolean;
  /** A check of which nothing was said has passed. */
  report(): Report<Name>;
}

export function createTally<Name extends string>(meanings: CheckMeanings<Name>): Tally<Name> {
  const found = new Map<Name, FoundSoFar>();
  for (const name in meanings)
    found.set(name, { outcome: 'passed', detail: undefined, problems: [], count: 0 });

  function of(name: Name) {
    const check = found.get(name);
    if (check === undefined) throw new RangeError(`there is no check ${name}`);
    return check;
  }

  return {
    problem(name, detail, seq) {
      const check = of(name);
      check.outcome = 'failed';
      check.count += 1;
      if (check.problems.length < MAX_PROBLEMS) {
        check.problems.push(seq === undefined ? { detail } : { seq, detail });
      }
    },
    remark(name, detail) {
      of(name).detail = detail;
    },
    skip(name, why) {
      const check = of(name);
      if (check.outcome === 'passed') check.outcome = 'skipped';
      check.detail = why;
    },
    settle(name, outcome, detail) {
      const check = of(name);
      if (check.outcome !== 'failed') check.outcome = outcome;
      check.detail = detail;
    },
    hasProblems: () => [...found.values()].some(({ count }) => count > 0),
    report() {
      const checks = [...found].map(([name, { outcome, detail, problems, count }]): Check<Name> => {
        if (problems.length === 0)
          return detail === undefined ? { name, outcome } : { name, outcome, detail };
        const unlisted = count - problems.length;
        const more = unlisted === 0 ? [] : [{ detail: `and ${unlisted} more` }];
        return { name, outcome, detail: describeProblem(problems[0]), problems: [...problems, ...more] };
      });
      return { verdict: verdictOf(checks), checks };
    },
  };
}

export function describeProblem(problem: Problem | undefined): string {
  if (problem === undefined) return '';
  return problem.seq === undefined ? problem.detail : `event ${problem.seq}: ${problem.detail}`;
}
