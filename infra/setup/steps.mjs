import { join } from 'node:path';
import { compilation } from './compile.mjs';
import { withLock } from './lock.mjs';
import { natsServer } from './nats-server.mjs';
import { packages } from './packages.mjs';
import { PRIVATE } from './paths.mjs';
import { createProgress } from './progress.mjs';
import { interrupt } from './run.mjs';

const LOCK = join(PRIVATE, 'setup.lock');

/**
 * Installs and builds what is missing, one step after the other. When nothing is, it only looks (well under
 * a second) and prints nothing. Two of them at once in one folder wait for each other.
 * Throws SetupFailure when something is for the user to do.
 */
export async function setUp({ natsNeeded = true, progress = createProgress() } = {}) {
  const steps = [packages, ...(natsNeeded ? [natsServer] : []), compilation];
  if (await allDone(steps)) return;
  const stopListening = interruptOnSignals();
  try {
    await withLock(
      LOCK,
      () => makeMissing(steps, progress),
      () => progress.note('Another set-up is running in this folder; waiting for it.'),
    );
  } finally {
    stopListening();
  }
}

async function allDone(steps) {
  for (const step of steps) if (!(await step.isDone())) return false;
  return true;
}

async function makeMissing(steps, progress) {
  for (const step of steps) {
    if (await step.isDone()) continue;
    await progress.step(step.title, () => step.make(progress));
  }
}

function interruptOnSignals() {
  const onSignal = () => {
    interrupt();
    // In case the present step does not notice.
    setTimeout(() => process.exit(130), 3_000).unref();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return () => {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  };
}
