/** One promise, and how it was found broken. */
export interface Check {
  name: string;
  ok: boolean;
  /** How many things were looked at. */
  looked: number;
  /** The first of them, one sentence each. */
  problems: string[];
  /** All of them. */
  problemCount: number;
}

export interface Report {
  ok: boolean;
  checks: Check[];
}

const MAX_PROBLEMS = 20;

/** Gathers the findings of one check. */
export interface Finding {
  /** Counts things that were looked at: one unless told. */
  look(count?: number): void;
  wrong(problem: string): void;
}

/** Checks in the order in which they were begun. */
export function createFindings(): { begin(name: string): Finding; report(): Report } {
  const checks: Check[] = [];
  return {
    begin(name) {
      const check: Check = { name, ok: true, looked: 0, problems: [], problemCount: 0 };
      checks.push(check);
      return {
        look(count = 1) {
          check.looked += count;
        },
        wrong(problem) {
          check.ok = false;
          check.problemCount += 1;
          if (check.problems.length < MAX_PROBLEMS) check.problems.push(problem);
        },
      };
    },
    report: () => ({ ok: checks.every(({ ok }) => ok), checks }),
  };
}

/** For a terminal: a line for each check, its problems below it. */
export function reportText(report: Report): string {
  return report.checks.flatMap(checkLines).join('\n');
}

function checkLines({ name, ok, looked, problems, problemCount }: Check): string[] {
  const more = problemCount - problems.length;
  return [
    `${ok ? '✓' : '✗'} ${name} (${looked.toLocaleString('en')})`,
    ...problems.map((problem) => `    ${problem}`),
    ...(more > 0 ? [`    and ${more.toLocaleString('en')} more`] : []),
  ];
}
