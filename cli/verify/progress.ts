import { SingleBar } from 'cli-progress';

/** What is drawn on standard error while a person waits. */
export interface Progress {
  /** `events` are counted for the rate; `done` of `total` is whatever the work is measured by. */
  at(done: number, total: number, events: number): void;
  stop(): void;
}

const DRAWN_AFTER_MS = 300;

/** Nothing is drawn for short work, nor where standard error is no terminal. */
export function createProgress(isWanted: boolean): Progress {
  if (!isWanted || !process.stderr.isTTY) return { at() {}, stop() {} };
  const began = performance.now();
  const bar = new SingleBar({
    format: '  {bar} {percentage}%  {events} events  {rate}/s  {eta_formatted} left',
    hideCursor: true,
    clearOnComplete: true,
  });
  let isDrawn = false;
  return {
    at(done, total, events) {
      const ms = performance.now() - began;
      if (ms < DRAWN_AFTER_MS) return;
      const figures = {
        events: events.toLocaleString('en'),
        rate: Math.round((events * 1000) / ms).toLocaleString('en'),
      };
      if (!isDrawn) bar.start(total, done, figures);
      else bar.update(done, figures);
      isDrawn = true;
    },
    stop: () => bar.stop(),
  };
}
