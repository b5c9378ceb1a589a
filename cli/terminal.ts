import { ImmutableError } from '../core/errors.ts';

/** What a command says to whoever runs it. Results go to standard output; everything else to standard error. */
export interface Terminal {
  /** One step with the time it took; `✗` when it fails. */
  step<T>(title: string, work: () => Promise<T>): Promise<T>;
  say(sentence: string): void;
  result(text: string): void;
}

export function createTerminal(out = process.stdout, err = process.stderr): Terminal {
  // A terminal that was closed, or a pipe nobody reads any more, must not end what runs.
  for (const stream of [out, err]) stream.on('error', () => {});
  return {
    async step(title, work) {
      const began = performance.now();
      if (err.isTTY) err.write(`… ${title}`);
      const finish = (mark: string) => {
        const seconds = ((performance.now() - began) / 1000).toFixed(1);
        err.write(`${err.isTTY ? '\r\x1b[K' : ''}${mark} ${title}  ${seconds} s\n`);
      };
      try {
        const result = await work();
        finish('✓');
        return result;
      } catch (error) {
        finish('✗');
        throw error;
      }
    },
    say: (sentence) => err.write(`${sentence}\n`),
    result: (text) => out.write(`${text}\n`),
  };
}

/** For who reads it: what is wrong and what to do, without a stack; the whole of it when debugging. */
export function describeFailure(error: unknown, debugging: boolean): string {
  if (error instanceof ImmutableError) {
    const text = error.nextStep === undefined ? error.message : `${error.message}\n${error.nextStep}`;
    return debugging ? `${text}\n\n${withCauses(error)}` : text;
  }
  const text = `Something went wrong that should not: ${error instanceof Error ? error.message : String(error)}`;
  return debugging ? `${text}\n\n${withCauses(error)}` : `${text}\nIMMUTABLE_LOG_LEVEL=debug shows where.`;
}

/** The same for a program: the code and facts of the error. */
export function failureAsJson(error: unknown): string {
  if (!(error instanceof ImmutableError)) {
    return JSON.stringify({
      error: 'internal',
      message: error instanceof Error ? error.message : String(error),
    });
  }
  const { code, message, nextStep, violations } = error;
  return JSON.stringify({ error: code, message, next_step: nextStep, violations });
}

function withCauses(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? '' : `\nCaused by: ${withCauses(error.cause)}`;
  return `${error.stack ?? error.message}${cause}`;
}

/** Rows under headings, columns as wide as their widest value. */
export function table(headings: string[], rows: string[][]): string {
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => (row[column] ?? '').length)),
  );
  return [headings, ...rows]
    .map((row) =>
      row
        .map((value, column) => value.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
