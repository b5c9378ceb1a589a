import type { Logger } from './log.ts';

/** What must be undone when the process ends, last started first. */
export interface Lifecycle {
  /** `stop` is called once, after everything registered later has stopped. */
  onStop(name: string, stop: () => Promise<void> | void): void;
  /** Stops everything; a step that fails is logged and the rest still stop. Safe to call twice. */
  stop(): Promise<void>;
}

export function createLifecycle(log: Logger): Lifecycle {
  const steps: { name: string; stop: () => Promise<void> | void }[] = [];
  let stopping: Promise<void> | undefined;

  async function stopAll(): Promise<void> {
    for (let step = steps.pop(); step !== undefined; step = steps.pop()) {
      try {
        await step.stop();
      } catch (error) {
        log.error({ err: error, step: step.name }, 'did not stop cleanly');
      }
    }
  }

  return {
    onStop: (name, stop) => steps.push({ name, stop }),
    stop: () => {
      stopping ??= stopAll();
      return stopping;
    },
  };
}

/**
 * Resolves when the process is asked to end: SIGINT, SIGTERM, SIGHUP (its terminal was closed), or the
 * loss of the supervisor's IPC channel (so that no child outlives a supervisor that was killed). Repeats
 * change nothing: a terminal's Ctrl-C reaches npm and us, and npm passes it on.
 */
export function untilAskedToStop(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => resolve(signal));
    }
    process.on('disconnect', () => resolve('the supervisor is gone'));
  });
}
