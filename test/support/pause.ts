import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const GRACE_MS = 500;

/**
 * Stops a process in the middle of whatever it is doing, and returns when it stands still: a thread that is
 * running on another core may answer once more before the signal reaches it. `SIGCONT` lets it go on.
 */
export async function pauseProcess(pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP');
  const deadline = performance.now() + GRACE_MS;
  while (!standsStill(pid) && performance.now() < deadline) await sleep(5);
}

/** Where there is no /proc, nobody can tell: then the grace is waited out. */
function standsStill(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/task`).every((thread) =>
      /^State:\s+[Tt]/m.test(readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8')),
    );
  } catch {
    return false;
  }
}
