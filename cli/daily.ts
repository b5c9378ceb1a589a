const HOUR_MS = 3600 * 1000;
const DAY_MS = 24 * HOUR_MS;
/** A timer may not be set for longer, and a machine may sleep: the clock is looked at again. */
const LONGEST_WAIT_MS = HOUR_MS;

/** The next moment of the given hour (UTC) after `nowMs`. */
export function nextDailyRun(nowMs: number, hourUtc: number): number {
  const today = Math.floor(nowMs / DAY_MS) * DAY_MS + hourUtc * HOUR_MS;
  return today > nowMs ? today : today + DAY_MS;
}

/** Runs `work` every day at an hour (UTC) until the signal aborts; what it throws is for `onFailed`. */
export async function runDaily(options: {
  hourUtc: number;
  work: (signal: AbortSignal) => Promise<void>;
  onFailed: (error: unknown) => void;
  signal: AbortSignal;
  now?: () => number;
}): Promise<void> {
  const { hourUtc, work, onFailed, signal, now = Date.now } = options;
  let due = nextDailyRun(now(), hourUtc);
  while (!signal.aborted) {
    await pause(Math.max(0, Math.min(LONGEST_WAIT_MS, due - now())), signal);
    if (signal.aborted || now() < due) continue;
    await work(signal).catch(onFailed);
    due = nextDailyRun(now(), hourUtc);
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
  });
}
