import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { FromGenerator, LoadPlan, LoadResult, ToGenerator } from './plan.ts';

/** A load generator at work. */
export interface Load {
  /** Resolves when the warm-up is over. */
  measuring: Promise<void>;
  /** Rejects if any request failed. */
  done: Promise<LoadResult>;
  /** For a plan with `maxBacklog`: how many events are stored by now. */
  stored(events: number): void;
}

export function startLoad(plan: LoadPlan): Load {
  const child = fork(fileURLToPath(new URL('./generator.js', import.meta.url)), { stdio: 'inherit' });
  const measuring = new Promise<void>((resolve) => {
    child.on('message', (message: FromGenerator) => message.kind === 'measuring' && resolve());
    child.on('exit', () => resolve());
  });
  send(child, { kind: 'run', plan });
  return {
    measuring,
    done: outcome(child).finally(() => child.disconnect()),
    stored: (events) => {
      if (child.connected) send(child, { kind: 'stored', events });
    },
  };
}

export async function runLoad(plan: LoadPlan): Promise<LoadResult> {
  return await startLoad(plan).done;
}

function outcome(child: ChildProcess): Promise<LoadResult> {
  return new Promise((resolve, reject) => {
    child.on('message', (message: FromGenerator) => {
      if (message.kind === 'done') resolve(message.result);
      if (message.kind === 'failed') reject(new Error(`the load failed: ${message.reason}`));
    });
    child.on('error', reject);
    child.on('exit', (code) => reject(new Error(`the load generator ended with code ${code}`)));
  });
}

function send(child: ChildProcess, message: ToGenerator): void {
  child.send(message);
}
