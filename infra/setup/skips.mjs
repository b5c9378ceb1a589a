/**
 * Pure: a check that this machine cannot run says so in its name: `… [needs <what>: <why it is missing>]`
 * (test/support/requirements.ts writes it).
 */
export function needOf(testName) {
  return /\[needs ([^:\]]+): /.exec(testName)?.[1];
}

/**
 * Pure: splits skipped checks into those that may be skipped in CI, each with the reason, and the rest.
 * `optional` maps a need (`container engine`) or a whole test name to the reason why CI may do without.
 */
export function judgeSkips(skipped, optional) {
  const excused = [];
  const unexcused = [];
  for (const name of skipped) {
    const reason = optional[name] ?? optional[needOf(name) ?? ''];
    if (reason === undefined) unexcused.push(name);
    else excused.push({ name, reason });
  }
  return { excused, unexcused };
}

/** Pure: the checks of one suite that lack the same thing as one line, with their number. */
export function suitesOf(skipped) {
  const counts = new Map();
  for (const name of skipped) {
    const suite = /^.*?\[needs [^\]]+\]/.exec(name)?.[0] ?? name;
    counts.set(suite, (counts.get(suite) ?? 0) + 1);
  }
  return [...counts].map(([suite, count]) => (count === 1 ? suite : `${suite}: ${count} checks`));
}

/** Pure: the line that closes the output of a test run. */
export function countsLine({ passed, failed, skipped }) {
  return `${passed} passed, ${failed.length} failed, ${skipped.length} skipped`;
}

/** Pure: the arguments of test.mjs: project names, and what is for vitest after `--`. */
export function parseTestArgs(args, known) {
  const split = args.indexOf('--');
  const names = split === -1 ? args : args.slice(0, split);
  return {
    projects: names.length === 0 ? known : names,
    unknown: names.filter((name) => !known.includes(name)),
    vitestArgs: split === -1 ? [] : args.slice(split + 1),
  };
}
