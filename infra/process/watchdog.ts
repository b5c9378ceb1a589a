import { spawn } from 'node:child_process';

/**
 * Ends programs that know nothing of their supervisor (nats-server) when the supervisor is killed in a
 * way it cannot react to. It is a shell that reads process ids from a pipe whose other end only we hold:
 * the pipe closes with our death, whatever its kind.
 */
export interface Watchdog {
  /** The ids to end from now on, instead of those named before. */
  guard(pids: number[]): void;
  /** Call when everything guarded has ended. */
  dismiss(): void;
}

/** Programs of ours drain first when their supervisor is gone, and need NATS for it. */
const GRACE_SECONDS = 3;

const SCRIPT = `while read -r pids; do guarded=$pids; done
[ -n "$guarded" ] || exit 0
sleep ${GRACE_SECONDS}
kill $guarded 2>/dev/null`;

export function startWatchdog(): Watchdog {
  const shell = spawn('/bin/sh', ['-c', SCRIPT], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
  shell.on('error', () => {}); // No shell: an orphan is then ended by the next start instead.
  shell.stdin.on('error', () => {});
  shell.unref();
  return {
    guard: (pids) => shell.stdin.write(`${pids.join(' ')}\n`),
    dismiss: () => shell.stdin.end('\n'),
  };
}
