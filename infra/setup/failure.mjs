/** Something the user has to do: printed as one sentence and the next step, without a stack. */
export class SetupFailure extends Error {
  /**
   * @param {string} message
   * @param {string} [nextStep]
   * @param {{ output?: string, exitCode?: number }} [facts] `output`: what a failing program printed
   */
  constructor(message, nextStep, facts = {}) {
    super(message);
    this.nextStep = nextStep;
    this.output = facts.output ?? '';
    this.exitCode = facts.exitCode ?? 1;
  }
}

/** Prints a failure as its receiver needs it, and ends the process. */
export function exitWith(error) {
  if (!(error instanceof SetupFailure)) throw error;
  if (error.output !== '') process.stderr.write(`${error.output.trimEnd()}\n\n`);
  process.stderr.write(`${error.message}\n`);
  if (error.nextStep !== undefined) process.stderr.write(`${error.nextStep}\n`);
  process.exit(error.exitCode);
}
