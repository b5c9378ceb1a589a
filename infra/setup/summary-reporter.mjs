import { writeFileSync } from 'node:fs';

/** Where the reporter leaves its findings; set by test.mjs, which reads them. */
export const SUMMARY_FILE_VARIABLE = 'TEST_SUMMARY_FILE';

/** A vitest reporter: how many tests passed, and which failed or were skipped, by name. */
export default class SummaryReporter {
  onTestRunEnd(modules, unhandledErrors) {
    const file = process.env[SUMMARY_FILE_VARIABLE];
    if (file !== undefined) writeFileSync(file, JSON.stringify(summaryOf(modules, unhandledErrors)));
  }
}

function summaryOf(modules, unhandledErrors) {
  const tests = modules.flatMap((module) => [...module.children.allTests()]);
  const named = (state) => tests.filter((test) => test.result().state === state).map(nameOf);
  // A file that cannot be loaded has no tests, and must not look like success.
  const broken = modules
    .filter((module) => module.errors().length > 0)
    .map((module) => module.relativeModuleId);
  return {
    passed: named('passed').length,
    failed: [
      ...named('failed'),
      ...broken,
      ...unhandledErrors.map((error) => `unhandled error: ${error.message}`),
    ],
    skipped: named('skipped'),
  };
}

function nameOf(test) {
  return `${test.module.relativeModuleId} > ${test.fullName}`;
}
