// npm test [-- project… [-- arguments for vitest]]: sets up, then runs the suites one after the other.
import './node-version.mjs';

const { spawn } = await import('node:child_process');
const { mkdtempSync, readFileSync, rmSync } = await import('node:fs');
const { tmpdir } = await import('node:os');
const { join } = await import('node:path');
const { ensureChromium } = await import('./chromium.mjs');
const { exitWith, SetupFailure } = await import('./failure.mjs');
const { ensureLibreOffice, NO_SPREADSHEET_VARIABLE } = await import('./libreoffice.mjs');
const { MODULES, ROOT } = await import('./paths.mjs');
const { createProgress } = await import('./progress.mjs');
const { ensureRadosgw, NO_S3_SERVER_VARIABLE } = await import('./radosgw.mjs');
const { countsLine, judgeSkips, parseTestArgs, suitesOf } = await import('./skips.mjs');
const { setUp } = await import('./steps.mjs');
const { SUMMARY_FILE_VARIABLE } = await import('./summary-reporter.mjs');

const PROJECTS = ['unit', 'integration', 'fault', 'browser'];

const { projects, unknown, vitestArgs } = parseTestArgs(process.argv.slice(2), PROJECTS);
await main().catch(exitWith);

async function main() {
  if (unknown.length > 0) {
    throw new SetupFailure(
      `There is no suite ${unknown.join(', ')}.`,
      `The suites are: ${PROJECTS.join(', ')}. Arguments for vitest go after --.`,
    );
  }
  const progress = createProgress();
  await setUp({ progress });
  const total = { passed: 0, failed: [], skipped: [] };
  for (const project of projects) add(total, await runProject(project, progress));
  report(total);
}

async function runProject(project, progress) {
  if (project === 'browser') {
    const missing = await ensureChromium(progress);
    if (missing !== undefined)
      return { passed: 0, failed: [], skipped: [`the browser suite [needs chromium: ${missing}]`] };
  }
  const missing = project === 'integration' ? await ensureTestPrograms(progress) : {};
  console.log(`\n── ${project} ──`);
  return await runVitest(project, missing);
}

/** Without one, what needs it is skipped, and says why. */
async function ensureTestPrograms(progress) {
  const reasons = {
    [NO_S3_SERVER_VARIABLE]: await ensureRadosgw(progress),
    [NO_SPREADSHEET_VARIABLE]: await ensureLibreOffice(progress),
  };
  return Object.fromEntries(Object.entries(reasons).filter(([, reason]) => reason !== undefined));
}

async function runVitest(project, env) {
  const folder = mkdtempSync(join(tmpdir(), 'immutable-test-'));
  const summaryFile = join(folder, 'summary.json');
  try {
    const code = await inForeground(
      [
        join(MODULES, 'vitest', 'vitest.mjs'),
        'run',
        '--project',
        project,
        '--passWithNoTests',
        '--reporter=default',
        `--reporter=${join(ROOT, 'infra/setup/summary-reporter.mjs')}`,
        ...vitestArgs,
      ],
      { ...process.env, ...env, [SUMMARY_FILE_VARIABLE]: summaryFile },
    );
    const summary = readSummary(summaryFile);
    // Whatever vitest objects to besides its tests (a worker that crashed, for one) is a failure too.
    if (code !== 0 && summary.failed.length === 0)
      summary.failed.push(`vitest ended with ${code} in the suite ${project}`);
    return summary;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function inForeground(args, env) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { cwd: ROOT, env, stdio: 'inherit' });
    // A terminal's Ctrl-C reaches vitest by itself; this process stays to report.
    process.on('SIGINT', () => {});
    process.once('SIGTERM', () => child.kill('SIGTERM'));
    child.on('close', (code) => resolve(code ?? 1));
  });
}

function readSummary(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return { passed: 0, failed: [], skipped: [] };
  }
}

function add(total, summary) {
  total.passed += summary.passed;
  total.failed.push(...summary.failed);
  total.skipped.push(...summary.skipped);
}

function report(total) {
  // With a filter by name most tests count as skipped, which says nothing about the machine.
  const isFiltered = vitestArgs.some((arg) => /^(-t|--testNamePattern)/.test(arg));
  const skipped = isFiltered ? [] : total.skipped;
  const inCi = process.env.CI === 'true';
  const { excused, unexcused } = judgeSkips(skipped, inCi ? readOptional() : {});
  list('Failed:', total.failed);
  for (const reason of new Set(excused.map((skip) => skip.reason))) {
    const names = excused.filter((skip) => skip.reason === reason).map(({ name }) => name);
    list(`Skipped here, and allowed to be by test/optional.json. ${reason}`, suitesOf(names));
  }
  list(inCi ? 'Skipped, which CI does not allow (see test/optional.json):' : 'Skipped:', suitesOf(unexcused));
  const ranNothing = total.passed + total.failed.length + total.skipped.length === 0;
  if (ranNothing) console.log('\nNo test was found, which is not taken for success.');
  console.log(`\n${countsLine(total)}`);
  process.exitCode = ranNothing || total.failed.length > 0 || (inCi && unexcused.length > 0) ? 1 : 0;
}

function readOptional() {
  return JSON.parse(readFileSync(join(ROOT, 'test', 'optional.json'), 'utf8'));
}

function list(title, lines) {
  if (lines.length > 0) console.log(`\n${title}\n${lines.map((line) => `  - ${line}`).join('\n')}`);
}
